// A wrong configuration does not start, and every problem of it is logged.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { rootCertificates } from 'node:tls';
import { NAVIGATION } from './client.mjs';
import { MODULE, ROOT, until, World } from './world.mjs';

async function refusal(configure, check) {
  const world = await World.start({ configure, providerUp: false, expectRefusal: true });
  try {
    if (!world.envoy.exit) {
      // If Envoy starts nevertheless, nothing may pass.
      assert.ok((await world.send('/public/', { headers: NAVIGATION })).status >= 500);
      assert.deepEqual(world.upstream.requests, []);
      assert.fail('Envoy accepted the configuration');
    }
    assert.notEqual(world.envoy.exit.code, 0);
    check(world.envoy.stderr, world);
  } finally {
    await world.stop();
  }
}

test('the configuration may be JSON text as well as YAML', async () => {
  const world = await World.start({ configure: (configuration) => JSON.stringify(configuration, null, 2) });
  try {
    assert.equal((await world.send('/public/')).status, 200);
    assert.equal((await world.send('/orders', { headers: NAVIGATION })).status, 302);
  } finally {
    await world.stop();
  }
});

test('all problems are in the log at once, each with its place', () => refusal((configuration) => {
  configuration.providers.demo.isuer = configuration.providers.demo.issuer;
  configuration.session.keys = ['changeme'];
  configuration.session.absolute_lifetime_seconds = -1;
  configuration.rules[0].accept = 'publik';
}, (log) => {
  for (const place of [/providers\.demo.*isuer.*issuer/, /session\.keys\[0\]/, /session\.absolute_lifetime_seconds/, /rules\[0\]\.accept/]) assert.match(log, place);
  assert.doesNotMatch(log, /changeme/, 'a secret that is too short is a secret still');
}));

test('a variable that is not set is named, and no secret is shown', () => refusal((configuration) => {
  configuration.providers.demo.client_secret = '${CLIENT_SECRTE}';
}, (log, world) => {
  assert.match(log, /CLIENT_SECRTE/);
  for (const secret of Object.values(world.secrets)) assert.ok(!log.includes(secret));
}));

test('plain HTTP is refused without its switch', () => refusal((configuration) => {
  delete configuration.providers.demo.insecure_allow_http;
}, (log) => assert.match(log, /providers\.demo\.issuer/)));

test('a rule that makes everything public is refused', () => refusal((configuration) => {
  configuration.rules.unshift({ name: 'all', path_prefix: '/', accept: 'public' });
}, (log) => assert.match(log, /rules\[0\]/)));

test('WASM-08 an empty configuration is refused', () => refusal(() => ({}), (log) => assert.match(log, /configuration: is empty/)));

describe('the module that is shipped', () => {
  let world;
  before(async () => { world = await World.start(); });
  after(() => world?.stop());

  test('unwise settings give a warning at every start, once', async () => {
    await until('the warnings are logged', () => /insecure_allow_http/.test(world.envoy.stderr), 5_000);
    // By now every worker has started, and one of them has logged it.
    for (const said of [/vestibule \S+ starts: providers demo; \d+ rules/g, /session\.keys by name/g, /configuration: session\.insecure_allow_http/g]) {
      assert.equal(world.envoy.stderr.match(said).length, 1, said);
    }
  });

  test('the module that is shipped does not trap on request', async () => {
    assert.equal((await world.send('/public/page', { headers: { 'x-vestibule-trap': '1' } })).status, 200);
  });
});

test('one provider, one key and nothing else is complete', async () => {
  const world = await World.start({
    configure: ({ providers: { demo } }) => ({
      providers: { demo: { issuer: demo.issuer, callout: demo.callout, client_id: demo.client_id, client_secret: demo.client_secret, insecure_allow_http: true } },
      session: { keys: ['${SESSION_KEY}'], insecure_allow_http: true },
    }),
  });
  try {
    assert.equal((await world.browser().login(`${world.site}/orders`)).status, 200);
    for (const where of ['/public', '/api/orders']) assert.ok([302, 303].includes((await world.send(where, { headers: NAVIGATION })).status));
  } finally {
    await world.stop();
  }
});

test('envoy.yaml is a configuration that Envoy accepts', () => {
  execFileSync(process.env.ENVOY, ['--mode', 'validate', '--config-path', path.join(ROOT, 'envoy/envoy.yaml')], {
    cwd: ROOT, stdio: 'pipe', env: { PATH: process.env.PATH, CLIENT_SECRET: randomBytes(32).toString('hex'), SESSION_KEY: randomBytes(32).toString('hex') },
  });
});

/** A YAML block with more indentation. */
const indented = (block, by) => block.replace(/^(?=.)/gm, ' '.repeat(by));

test('the example of the README is a configuration that Envoy accepts', () => {
  const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  const [filter, cluster] = [...readme.matchAll(/\n```yaml\n(.*?)\n```/gs)].map(([, block]) => block);
  const directory = mkdtempSync(path.join(os.tmpdir(), 'vestibule-'));
  try {
    const authorities = path.join(directory, 'authorities.pem');
    writeFileSync(authorities, rootCertificates.join('\n'));
    const bootstrap = `
static_resources:
  listeners:
  - name: site
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: site
          route_config: {virtual_hosts: [{name: site, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200}}]}]}
          http_filters:
${indented(filter, 10)}
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
${indented(cluster, 2)}
`.replace('/etc/envoy/vestibule.wasm', MODULE).replace('/etc/ssl/certs/ca-certificates.crt', authorities);
    const file = path.join(directory, 'envoy.yaml');
    const validate = (text) => {
      writeFileSync(file, text);
      return spawnSync(process.env.ENVOY, ['--mode', 'validate', '--config-path', file], {
        encoding: 'utf8', env: { PATH: process.env.PATH, CLIENT_SECRET: randomBytes(32).toString('hex'), SESSION_KEY: randomBytes(32).toString('base64') },
      });
    };
    const good = validate(bootstrap);
    assert.equal(good.status, 0, good.stderr);
    // The filter's own part is checked too.
    const bad = validate(bootstrap.replace('client_id:', 'client_idd:'));
    assert.notEqual(bad.status, 0);
    assert.match(bad.stderr, /providers\.main\.client_idd: is not a known key \(did you mean client_id\?\)/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('LOG-10 the module imports nothing but the proxy and six functions of WASI', () => {
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(MODULE)));
  const wasi = new Set(['random_get', 'environ_get', 'environ_sizes_get', 'clock_time_get', 'fd_write', 'proc_exit']);
  for (const { module, name } of imports) {
    if (module === 'env') assert.match(name, /^proxy_/);
    else assert.ok(module === 'wasi_snapshot_preview1' && wasi.has(name), `${module}.${name}`);
  }
});
