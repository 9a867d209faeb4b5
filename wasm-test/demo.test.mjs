// `make demo` as a user runs it: it starts, it can be used, and it leaves nothing behind.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';
import { ENVOY_ENVIRONMENT, PORTS } from '../envoy/demo.mjs';
import { send } from './client.mjs';
import { freePort, ROOT, until, World } from './world.mjs';

const read = (file) => readFileSync(path.join(ROOT, file), 'utf8');

/** Processes that `pid` has started. */
const childrenOf = (pid) => execFileSync('ps', ['-A', '-o', 'pid=', '-o', 'ppid=', '-o', 'args='], { encoding: 'utf8' }).split('\n')
  .map((line) => line.trim().split(/\s+/)).filter(([, parent]) => Number(parent) === pid)
  .filter(([, , program]) => program !== 'ps').map(([child, , ...args]) => ({ pid: Number(child), args: args.join(' ') }));

const alive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

const listens = (port) => new Promise((resolve) => {
  const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
  socket.on('error', () => resolve(false));
});

/** The demo on free ports. */
async function startDemo(environment) {
  const ports = { site: await freePort(), provider: await freePort(), upstream: await freePort() };
  const child = spawn(process.execPath, [path.join(ROOT, 'envoy/demo.mjs')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env, DEMO_PORT: ports.site, DEMO_PROVIDER_PORT: ports.provider, DEMO_UPSTREAM_PORT: ports.upstream, ...environment(ports),
    },
  });
  const demo = { child, ports, output: '', site: `http://localhost:${ports.site}` };
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { demo.output += chunk; });
  demo.ended = new Promise((resolve) => {
    child.once('close', (code) => {
      demo.code = code;
      resolve();
    });
  });
  await until('the demo has started or given up', () => demo.output.includes('Ctrl-C') || demo.code !== undefined);
  return demo;
}

async function leavesNothing(demo, children) {
  await until('the demo has ended', () => demo.code !== undefined, 15_000);
  await until('its programs have ended', () => children.every(({ pid }) => !alive(pid)), 5_000);
  for (const port of Object.values(demo.ports)) assert.equal(await listens(port), false, `port ${port}`);
}

describe('the demo', () => {
  test('works as described, and Ctrl-C ends all of it', async () => {
    const demo = await startDemo(() => ({}));
    try {
      const address = /Open\s+(\S+)/.exec(demo.output)?.[1];
      assert.ok(address, demo.output);
      const browser = new World().browser();
      const page = await browser.login(address);
      assert.equal(page.url, address);
      assert.match(page.text, /x-auth-sub<\/td><td>alice/);
      assert.match(page.text, /Log out/);

      // The lines to paste, unchanged.
      const lines = demo.output.slice(demo.output.indexOf('  TOKEN='), demo.output.indexOf('Logs are in'));
      const answers = execFileSync('bash', ['-c', lines], { encoding: 'utf8' });
      const [right, wrong] = answers.split(/(?=HTTP\/1\.1 )/).slice(-2);
      assert.match(right, /^HTTP\/1\.1 200/);
      assert.match(right, /orders-machine/);
      assert.match(wrong, /^HTTP\/1\.1 401/);
      assert.match(wrong, /invalid_token/);
    } finally {
      const children = childrenOf(demo.child.pid);
      assert.equal(children.length, 3, JSON.stringify(children));
      demo.child.kill('SIGINT');
      await leavesNothing(demo, children);
    }
    assert.equal(demo.code, 0, demo.output);
  });

  for (const program of ['provider/main.mjs', 'upstream.mjs', '_bin/envoy']) {
    test(`ends as a whole when ${program} ends`, async () => {
      const demo = await startDemo(() => ({}));
      const children = childrenOf(demo.child.pid);
      process.kill(children.find(({ args }) => args.includes(program)).pid, 'SIGKILL');
      await leavesNothing(demo, children);
      assert.equal(demo.code, 1);
      assert.match(demo.output, /has ended \(SIGKILL\)/);
    });
  }

  test('says which port is in use, and how to use another', async () => {
    const server = net.createServer();
    await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
    const { port } = server.address();
    try {
      const demo = await startDemo(() => ({ DEMO_PORT: port }));
      assert.equal(demo.code, 1);
      assert.match(demo.output, new RegExp(`port ${port} is in use \\(set DEMO_PORT=`));
      assert.equal(await listens(demo.ports.provider), false);
    } finally {
      server.close();
    }
  });

  test('refuses an invalid port', async () => {
    const demo = await startDemo(() => ({ DEMO_PORT: '80000' }));
    assert.equal(demo.code, 1);
    assert.match(demo.output, /DEMO_PORT must be a port from 1 to 65535, got 80000/);
  });
});

describe('docker-compose.yaml', () => {
  const compose = read('envoy/docker-compose.yaml');
  const service = (name) => new RegExp(`^  ${name}:\\n((?:    .*\\n|\\n)*)`, 'm').exec(compose)[1];

  test('runs the Envoy that the demo runs', () => {
    const version = /^ENVOY_VERSION := (\S+)$/m.exec(read('Makefile'))[1];
    assert.match(service('envoy'), new RegExp(`image: envoyproxy/envoy:v${version.replaceAll('.', '\\.')}\n`));
  });

  test('publishes site and provider on the ports of the demo, on this machine only', () => {
    const published = [...service('envoy').matchAll(/- "(.*)"/g)].map(([, mapping]) => mapping);
    assert.deepEqual(published, [PORTS.site, PORTS.provider].map(({ port }) => `127.0.0.1:${port}:${port}`));
    assert.match(service('provider'), new RegExp(`PROVIDER_PORT: "${PORTS.provider.port}"`));
    assert.match(service('provider'), new RegExp(`SITE: http://localhost:${PORTS.site.port}\n`));
    assert.match(service('upstream'), new RegExp(`UPSTREAM_PORT: "${PORTS.upstream.port}"`));
  });

  test('gives Envoy the variables that envoy.yaml needs', () => {
    const names = /host_env_keys: \[(.*)\]/.exec(read('envoy/envoy.yaml'))[1].split(', ');
    assert.deepEqual(names, ENVOY_ENVIRONMENT);
    for (const name of names) assert.match(service('envoy'), new RegExp(`^      ${name}: \\$\\{${name}:\\?`, 'm'));
  });

  test('mounts only what there is, and all that the programs import', () => {
    for (const [, source] of compose.matchAll(/- (\.\.?\/\S+?):\/demo/g)) {
      if (!source.includes('.build/')) assert.ok(read(path.join('envoy', source)).length > 0, source);
    }
    for (const name of ['provider', 'upstream']) {
      const mounted = [...service(name).matchAll(/- \.\/(\S+?\.mjs):/g)].map(([, file]) => file);
      for (const file of mounted) {
        for (const [, imported] of read(`envoy/${file}`).matchAll(/from '(\.[^']+)'/g)) {
          assert.ok(mounted.includes(path.join(path.dirname(file), imported)), `${name}: ${imported}`);
        }
      }
    }
  });
});

test('envoy.yaml has the ports of the demo', () => {
  const ports = [...read('envoy/envoy.yaml').matchAll(/port_value: (\d+)/g)].map(([, port]) => Number(port)).sort();
  assert.deepEqual(ports, Object.values(PORTS).map(({ port }) => port).sort());
});

test('the upstream answers whom it may', async () => {
  // The page of the upstream is HTML made of request headers: they must not become markup.
  const { startUpstream } = await import('../envoy/upstream.mjs');
  const upstream = await startUpstream();
  try {
    const page = await send(upstream.port, '/<script>', { headers: { accept: 'text/html', 'x-auth-name': '<script>alert(1)</script>' } });
    assert.doesNotMatch(page.text, /<script/);
  } finally {
    await upstream.stop();
  }
});
