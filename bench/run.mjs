// `make bench`: what a request costs Envoy in CPU time, with and without the filter. All contenders run in
// one go and take turns, so that disturbances of the machine affect all of them. Every response is a
// `direct_response` of Envoy itself, so no upstream adds noise. Nothing is asserted about speed; that the
// contenders do what their names say is checked before the first round.

import { execFileSync, fork } from 'node:child_process';
import { createPublicKey, randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { API, startProvider } from '../envoy/provider/provider.mjs';
import { Browser, send } from '../wasm-test/client.mjs';
import { mint } from '../wasm-test/tokens.mjs';
import { Envoy, MODULE, ROOT, ROUTER, envoyBootstrap, filterConfiguration, freePort, until, wasmFilter } from '../wasm-test/world.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7);
const REQUESTS = Number(process.env.BENCH_REQUESTS ?? 20_000);
/** Each token is verified, so there are fewer of them, and none is used in two rounds. */
const FRESH_TOKENS = Number(process.env.BENCH_FRESH_TOKENS ?? 4_000);
const CONNECTIONS = 16;
const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** CPU time of a process so far in microseconds: utime and stime, fields 14 and 15 of proc(5) stat. */
function cpuTime(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the program's name in parentheses and may contain spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1e6) / TICKS_PER_SECOND;
}

const request = (port, where, headers = {}) => `GET ${where} HTTP/1.1\r\nhost: localhost:${port}\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;

const jwtAuthn = (issuer, jwks, cache) => ({
  name: 'envoy.filters.http.jwt_authn',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
    providers: {
      demo: {
        issuer, audiences: [API], local_jwks: { inline_string: JSON.stringify(jwks) },
        claim_to_headers: [{ header_name: 'x-auth-sub', claim_name: 'sub' }],
        ...(cache && { jwt_cache_config: { jwt_cache_size: 1_000 } }),
      },
    },
    rules: [{ match: { prefix: '/' }, requires: { provider_name: 'demo' } }],
  },
});

/** An Envoy whose only route responds by itself; `filters` come before the router. */
async function startEnvoy(port, filters, providerPort) {
  return Envoy.start(envoyBootstrap({
    port,
    adminPort: await freePort(),
    accessLog: false,
    filters: [...filters, ROUTER],
    routes: [{ match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'ok' } } }],
    clusters: [{
      name: 'provider',
      connect_timeout: '2s',
      load_assignment: { cluster_name: 'provider', endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: providerPort } } } }] }] },
    }],
  }), { concurrency: 1 });
}

/** A browser with a session, which stores new cookies as browsers do: a session in use is extended every minute. */
async function sessionCookies(site, port) {
  await until('the filter knows its provider', async () => (await send(port, '/page', { headers: { accept: 'text/html' } })).status !== 503);
  const browser = new Browser();
  const page = await browser.login(`${site}/page`);
  if (page.status !== 200) throw new Error(`the login failed: ${page.status} ${page.text.slice(0, 300)}`);
  return async () => {
    await browser.get(`${site}/page`);
    return { cookie: browser.cookiesOf(port).map(({ name, value }) => `${name}=${value}`).join('; ') };
  };
}

async function contenders(running) {
  const ports = { plain: await freePort(), noop: await freePort(), vestibule: await freePort(), jwt: await freePort(), jwtCache: await freePort() };
  const site = `http://localhost:${ports.vestibule}`;
  const providerPort = await freePort();
  const secrets = { CLIENT_SECRET: randomBytes(32).toString('base64url'), SESSION_KEY: randomBytes(32).toString('base64url') };
  const provider = await startProvider({ port: providerPort, site, clientSecret: secrets.CLIENT_SECRET });
  running.push(provider);
  const { kid } = provider.signingKey();
  const jwks = { keys: [{ ...createPublicKey({ key: provider.signingKey(), format: 'jwk' }).export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' }] };
  const start = async (port, filters) => {
    const envoy = await startEnvoy(port, filters, providerPort);
    running.push(envoy);
    if (envoy.exit) throw new Error(`Envoy has ended:\n${envoy.stderr.slice(-3_000)}`);
    return envoy.child.pid;
  };

  const plain = await start(ports.plain, []);
  const noop = await start(ports.noop, [wasmFilter(path.join(ROOT, '.build/noop.wasm'), {})]);
  const vestibule = await start(ports.vestibule, [wasmFilter(MODULE, filterConfiguration({ site, issuer: provider.issuer }), secrets)]);
  const jwt = await start(ports.jwt, [jwtAuthn(provider.issuer, jwks, false)]);
  const jwtCache = await start(ports.jwtCache, [jwtAuthn(provider.issuer, jwks, true)]);

  const lifetime = { exp: Math.floor(Date.now() / 1000) + 3600 };
  const token = mint(provider, lifetime);
  const authorization = { authorization: `Bearer ${token}` };
  const cookies = await sessionCookies(site, ports.vestibule);
  console.log(`Signing ${(ROUNDS + 1) * FRESH_TOKENS} tokens ...`);
  const fresh = Array.from({ length: ROUNDS + 1 }, () => Array.from({ length: FRESH_TOKENS },
    () => request(ports.vestibule, '/api/orders', { authorization: `Bearer ${mint(provider, lifetime)}` })));

  const same = (port, where, headers) => () => [request(port, where, headers)];
  return [
    { name: 'Envoy alone', pid: plain, port: ports.plain, requests: same(ports.plain, '/page'), open: true },
    { name: 'a filter that does nothing', pid: noop, port: ports.noop, requests: same(ports.noop, '/page'), open: true },
    { name: 'Vestibule, a session', pid: vestibule, port: ports.vestibule, where: '/page', headers: await cookies(), requests: async () => [request(ports.vestibule, '/page', await cookies())] },
    { name: 'Vestibule, a token it knows', pid: vestibule, port: ports.vestibule, where: '/api/orders', headers: authorization, requests: same(ports.vestibule, '/api/orders', authorization) },
    { name: 'Vestibule, tokens it has not seen', pid: vestibule, port: ports.vestibule, where: '/api/orders', headers: authorization, requests: (round) => fresh[round], count: FRESH_TOKENS },
    { name: 'jwt_authn, the same token', pid: jwt, port: ports.jwt, where: '/api/orders', headers: authorization, requests: same(ports.jwt, '/api/orders', authorization), reference: true },
    { name: 'jwt_authn with its cache', pid: jwtCache, port: ports.jwtCache, where: '/api/orders', headers: authorization, requests: same(ports.jwtCache, '/api/orders', authorization) },
  ];
}

/** A contender that lets every request through, or none, would be fast and meaningless. */
async function check({ name, port, where, headers, open }) {
  if (open) return;
  const [good, bad] = [await send(port, where, { headers }), await send(port, where, {})];
  if (good.status !== 200 || bad.status === 200) throw new Error(`${name} does not protect: ${good.status} with credentials, ${bad.status} without`);
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

function table(results) {
  const alone = median(results[0].times);
  const reference = median(results.find(({ reference: is }) => is).times);
  const rows = results.map(({ name, times }) => [
    name, median(times).toFixed(1), `${Math.min(...times).toFixed(1)} to ${Math.max(...times).toFixed(1)}`,
    `${(median(times) / alone).toFixed(2)}`, `${(median(times) / reference).toFixed(2)}`,
  ]);
  const all = [['', 'us/request', 'range', 'x Envoy alone', 'x jwt_authn'], ...rows];
  const widths = all[0].map((_cell, column) => Math.max(...all.map((row) => row[column].length)));
  return all.map((row) => row.map((cell, column) => (column ? cell.padStart(widths[column]) : cell.padEnd(widths[column]))).join('   ')).join('\n');
}

async function main() {
  const running = [];
  const load = fork(path.join(ROOT, 'bench/load.mjs'));
  const drive = (order) => new Promise((resolve, reject) => {
    load.once('message', (reply) => (reply.error ? reject(new Error(reply.error)) : resolve(reply.statuses)));
    load.send(order);
  });
  try {
    const all = await contenders(running);
    for (const contender of all) await check(contender);
    const results = all.map((contender) => ({ ...contender, times: [] }));
    // The first round warms up: V8 compiles hot functions a second time.
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const contender of results) {
        const count = contender.count ?? REQUESTS;
        const requests = await contender.requests(round);
        const before = cpuTime(contender.pid);
        const statuses = await drive({ port: contender.port, connections: CONNECTIONS, requests, count });
        const spent = cpuTime(contender.pid) - before;
        if (statuses[200] !== count) throw new Error(`${contender.name}: ${JSON.stringify(statuses)} instead of ${count} times 200`);
        if (round > 0) contender.times.push(spent / count);
      }
      console.log(round ? `round ${round} of ${ROUNDS}` : 'warmed up');
    }
    console.log(`\nCPU time of Envoy per request, median of ${ROUNDS} rounds of ${REQUESTS} requests (${FRESH_TOKENS} for unseen tokens):\n`);
    console.log(table(results));
    console.log(`\nThe module is ${statSync(MODULE).size} bytes; the one that does nothing ${statSync(path.join(ROOT, '.build/noop.wasm')).size}.`);
  } finally {
    load.disconnect();
    for (const one of running) await one.stop();
  }
}

await main();
