// The stories of kong/ in a real nginx with ngx_wasm_module: `NGINX=/path/to/nginx make nginx`. Without the
// program they are skipped.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { NAVIGATION, send2 } from './client.mjs';
import { Connection, NGINX, NginxWorld, sendInPieces } from './nginx.mjs';
import { flipped } from './tokens.mjs';
import { receivedAll, ROOT, until } from './world.mjs';

const skip = NGINX ? false : 'NGINX names no nginx with ngx_wasm_module';
const REQUESTS = 20;
const LIFETIMES = 3;
const SPOOFED = ['x-auth-sub', 'X_Auth_Sub', 'x.auth.sub', 'X-AUTH-ROLES', 'x-auth_email'];
const bearer = (token) => ({ authorization: `Bearer ${token}` });

/** Without the guard of `proxy_pass`: only the filter itself holds requests back. */
const withoutLock = (text) => text.replaceAll('proxy_pass http://$backend;', 'proxy_pass http://app;');
/** `proxy_pass` as Kong has it. */
const asInKong = (text) => text.replaceAll('proxy_pass http://$backend;', 'proxy_pass $upstream_scheme://app;')
  .replaceAll('set $vestibule undecided;', 'set $upstream_scheme http; set $vestibule undecided;');

/** A token of the provider whose header names a key that it does not publish. */
function withUnknownKey(token) {
  const [header, ...rest] = token.split('.');
  const changed = { ...JSON.parse(Buffer.from(header, 'base64url')), kid: `unknown-${Math.random()}` };
  return [Buffer.from(JSON.stringify(changed)).toString('base64url'), ...rest].join('.');
}

/** Truncated responses. */
const BROKEN = {
  'a body shorter than its length': (response) => { response.socket.end('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"a":'); },
  'a chunk that is cut': (response) => { response.socket.end('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n100\r\n{"a":'); },
  'no last chunk': (response) => { response.socket.end('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"a":\r\n'); },
  'a body that stalls': (response) => { response.socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"a":'); },
  'a reset': (response) => { response.socket.resetAndDestroy(); },
  'a closed connection': (response) => { response.socket.end(); },
  'no body': (response) => { response.socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'); },
  'an error without a body': (response) => { response.socket.end('HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n'); },
  'half a header field': (response) => { response.socket.end('HTTP/1.1 200 OK\r\ncontent-ty'); },
  'no HTTP': (response) => { response.socket.end('hello\r\n'); },
  silence: () => undefined,
};

/** Holds after every story. */
function survives(world, workers) {
  assert.deepEqual(world.disasters(), []);
  assert.deepEqual(world.workers(), workers, 'the workers are those that began');
}

for (const [name, alter] of Object.entries({ 'as kong/nginx.conf says': (text) => text, 'without a lock': withoutLock, 'as in Kong': asInKong })) {
  describe(`nginx, ${name}`, { skip }, () => {
    let world;
    let workers;
    before(async () => {
      world = await NginxWorld.start({
        alter,
        configure: (configuration) => { configuration.providers.demo.callout_timeout_seconds = 2; },
      });
      workers = world.workers();
    });
    after(() => world?.stop());
    beforeEach(() => {
      world.provider.intercept = undefined;
      world.upstream.requests.length = 0;
    });

    test('a person logs in, reaches the upstream with an identity, and logs out', async () => {
      const browser = world.browser();
      for (const address of ['/', '/orders?from=2024&to=2025', '/a%252fb?x=%2520&y=//', '/caf%C3%A9/%7Euser?q=a+b&q=%26']) {
        const page = await browser.login(`${world.site}${address}`).catch(() => browser.get(`${world.site}${address}`));
        assert.deepEqual([page.status, page.url], [200, `${world.site}${address}`]);
        assert.equal(world.received().path, address);
        assert.deepEqual(receivedAll(world.received(), 'x-auth-sub'), ['alice']);
      }
      const ours = browser.cookiesOf(world.port).map(({ name: of }) => of);
      const cookies = receivedAll(world.received(), 'cookie').join('; ');
      assert.ok(ours.length > 0 && ours.every((of) => !cookies.includes(of)), cookies);
      await browser.logout(world.site);
      assert.equal((await browser.request(`${world.site}/orders`)).status, 302);
      survives(world, workers);
    });

    test('a token is accepted, and one that was tampered with is not', async () => {
      const token = await world.token();
      assert.equal((await world.send('/api/orders', { headers: bearer(token) })).status, 200);
      assert.deepEqual(receivedAll(world.received(), 'x-auth-sub'), ['orders-machine']);
      world.upstream.requests.length = 0;
      for (const bad of [flipped(token), withUnknownKey(token), 'a.b.c', `${token}x`]) {
        assert.equal((await world.send('/api/orders', { headers: bearer(bad) })).status, 401);
      }
      assert.deepEqual(world.upstream.requests, []);
      survives(world, workers);
    });

    test('identity headers of clients are refused', async () => {
      const browser = world.browser();
      await browser.login(`${world.site}/`, 'bob');
      world.upstream.requests.length = 0;
      for (const spoofed of SPOOFED) {
        for (const at of ['/orders', '/public/x']) {
          const answer = await browser.request(`${world.site}${at}`, { headers: [...Object.entries(NAVIGATION), [spoofed, 'mallory'], [spoofed, 'mallory']] });
          assert.ok([200, 400].includes(answer.status), `${spoofed} ${at}: ${answer.status}`);
        }
      }
      assert.ok(!JSON.stringify(world.upstream.requests).includes('mallory'));
      survives(world, workers);
    });

    for (const [how, answer] of Object.entries(BROKEN)) {
      test(`an answer with ${how} admits nobody, and every client gets an answer`, async () => {
        const token = await world.token();
        const back = await world.browser().untilCallback(`${world.site}/orders`);
        const before = world.provider.requests['/token'];
        world.provider.intercept = (request, response) => {
          if (!['/token', '/jwks'].includes(request.url)) return false;
          answer(response);
          return true;
        };
        world.upstream.requests.length = 0;
        const seen = [];
        for (let i = 0; i < 4; i += 1) {
          seen.push(await world.send('/api/orders', { headers: { ...bearer(withUnknownKey(token)), 'x-auth_sub': 'mallory' } }));
          seen.push(await world.send('/api/orders', { headers: bearer(withUnknownKey(token)) }));
        }
        const callback = await world.send(back.slice(world.site.length), { headers: NAVIGATION });
        assert.ok(callback.status >= 400);
        const person = world.browser();
        const began = await person.untilCallback(`${world.site}/orders`);
        const ended = await person.request(began);
        assert.ok(ended.status >= 500, `${ended.status}`);
        assert.match(ended.header('x-vestibule-code'), /./);
        assert.ok(seen.every(({ status }) => status >= 400), seen.map(({ status }) => status).join());
        assert.ok(world.provider.requests['/token'] > before, 'the provider got a request');
        assert.deepEqual(world.upstream.requests, []);
        world.provider.intercept = undefined;
        assert.equal((await world.browser().login(`${world.site}/after`)).status, 200);
        survives(world, workers);
      });
    }

    test('pages, logins and forms on one connection that is kept alive', async () => {
      const connection = new Connection(world.port);
      try {
        for (let round = 0; round < 10; round += 1) {
          const browser = world.browser();
          const back = await browser.untilCallback(`${world.site}/orders`);
          assert.equal((await connection.send('/public/x')).status, 200, 'it reaches the upstream');
          const cookie = browser.cookieHeader('/oidc/callback');
          const answer = await connection.send(back.slice(world.site.length), { headers: { ...NAVIGATION, cookie } });
          assert.deepEqual([answer.status, answer.header('location')], [302, '/orders'], `round ${round}`);
          const session = answer.cookies.map((line) => line.split(';')[0]).join('; ');
          const body = 'x'.repeat(1_000_000);
          for (let i = 0; i < 3; i += 1) {
            assert.equal((await connection.send('/orders', { headers: { cookie: session } })).status, 200);
            assert.equal((await connection.send('/orders', { method: 'POST', headers: { cookie: session, 'content-length': body.length }, body })).status, 200);
          }
        }
      } finally {
        connection.close();
      }
      survives(world, workers);
    });

    test('data on a connection while a request waits changes nothing', async () => {
      let requests = 0;
      world.provider.intercept = async (request) => {
        if (request.url !== '/token') return false;
        requests += 1;
        await pause(500);
        return false;
      };
      const request = (at, headers = '') => `GET ${at} HTTP/1.1\r\nhost: localhost:${world.port}\r\n${headers}\r\n`;
      for (const rest of [[], ['G'], ['G', 'E', 'T', ' ', '/'], [request('/public/y')], ['\r\n', '\r\n']]) {
        for (const first of [[], [request('/public/x')], [request('/public/x'), request('/public/z')]]) {
          const browser = world.browser();
          const back = await browser.untilCallback(`${world.site}/orders`);
          const waiting = request(back.slice(world.site.length), `cookie: ${browser.cookieHeader('/oidc/callback')}\r\nsec-fetch-mode: navigate\r\n`);
          const [status] = (await sendInPieces(world.port, [...first, waiting], rest)).slice(-1);
          assert.equal(status, 302, 'the login is completed');
        }
      }
      assert.equal(requests, 15);
      assert.ok(world.upstream.requests.every(({ path: at }) => at.startsWith('/public/')));
      survives(world, workers);
    });

    test(`${REQUESTS} requests at once on a new key fetch it once or get 503`, async () => {
      const token = await world.token();
      const unknown = withUnknownKey(token);
      const answers = await Promise.all(Array.from({ length: REQUESTS }, () => world.send('/api/orders', { headers: bearer(unknown) })));
      assert.ok(answers.every(({ status }) => [401, 503].includes(status)), answers.map(({ status }) => status).join());
      assert.deepEqual(world.upstream.requests, []);
      survives(world, workers);
    });

    test('an unreachable provider', async () => {
      const token = await world.token();
      await world.provider.stop();
      try {
        world.upstream.requests.length = 0;
        assert.equal((await world.send('/api/orders', { headers: bearer(withUnknownKey(token)) })).status >= 400, true);
        assert.equal((await world.send('/api/orders', { headers: bearer(token) })).status, 200, 'what is known is enough');
        assert.equal((await world.send('/public/x')).status, 200);
      } finally {
        await world.startProvider();
      }
      survives(world, workers);
    });

    test('every request is in the access log with the reason', async () => {
      await world.send('/public/x');
      await world.send('/orders');
      await world.send('/orders', { headers: NAVIGATION });
      await until('they are written', () => world.accessLog().length > 2);
      for (const line of world.accessLog()) assert.notEqual(line.reason, '', JSON.stringify(line));
      const refused = world.accessLog().filter(({ upstream, status }) => upstream === '-' && status === 200);
      assert.deepEqual(refused.filter(({ path: at }) => !at.startsWith('/oidc/')), []);
      assert.ok(!/using uninitialized/.test(world.log()));
    });
  });
}

describe('nginx, where it forgets that a request waits', { skip }, () => {
  for (const [name, alter] of Object.entries({ 'as kong/nginx.conf says': (text) => text, 'as in Kong': asInKong })) {
    test(`the request has no upstream, ${name}`, async () => {
      // The phase in which nginx loses that a request waits. The fate of the worker is not checked here.
      const world = await NginxWorld.start({ alter: (text) => alter(text).replace('proxy_wasm_request_headers_in_access on;', '') });
      try {
        world.provider.intercept = async (request) => {
          if (request.url === '/token') await pause(600);
          return false;
        };
        const browser = world.browser();
        const back = await browser.untilCallback(`${world.site}/orders`);
        const request = (at, headers = '') => `GET ${at} HTTP/1.1\r\nhost: localhost:${world.port}\r\n${headers}\r\n`;
        const waiting = request(back.slice(world.site.length), `cookie: ${browser.cookieHeader('/oidc/callback')}\r\nsec-fetch-mode: navigate\r\n`);
        assert.deepEqual(await sendInPieces(world.port, [request('/public/x'), waiting]), [200, 500]);
        assert.deepEqual(world.upstream.requests.map(({ path: at }) => at), ['/public/x']);
      } finally {
        await world.stop();
      }
    });
  }
});

describe('nginx, when a module traps', { skip }, () => {
  let world;
  before(async () => { world = await NginxWorld.start({ module: path.join(ROOT, '.build/vestibule-test-trap.wasm'), alter: withoutLock }); });
  after(() => world?.stop());

  test('requests that wait for the provider are refused, or the connection is closed', async () => {
    const closed = () => ({ status: 0 });
    const token = await world.token();
    world.provider.intercept = async (request) => {
      if (request.url === '/jwks') await pause(1_000);
      return false;
    };
    for (let round = 0; round < 3; round += 1) {
      world.upstream.requests.length = 0;
      // A worker has one callout for keys in flight; a second request gets 503.
      const waiting = Array.from({ length: 6 }, () => world.send('/api/orders', { headers: { ...bearer(withUnknownKey(token)), 'x-auth_sub': 'mallory' } }).catch(closed));
      await pause(300);
      for (let i = 0; i < 6; i += 1) {
        const { status } = await world.send('/public/x', { headers: { 'x-vestibule-trap': '1' } }).catch(closed);
        assert.ok(status === 500 || status === 0, `${status}`);
      }
      const seen = (await Promise.all(waiting)).map(({ status }) => status);
      assert.ok(seen.every((status) => status === 0 || status >= 400), seen.join());
      assert.deepEqual(world.upstream.requests, []);
      await world.ready();
    }
  });
});

describe('nginx, with sessions that are refreshed', { skip }, () => {
  let world;
  let workers;
  let refreshes = 0;
  before(async () => {
    world = await NginxWorld.start({
      configure: (configuration) => { configuration.identity.access_token_header = 'x-access-token'; },
      provider: {
        accessTokenTtl: 11,
        alter: (configuration) => {
          configuration.issueRefreshToken = async () => true;
          configuration.rotateRefreshToken = () => { refreshes += 1; return true; };
        },
      },
    });
    workers = world.workers();
  });
  after(() => world?.stop());

  test(`${REQUESTS} requests at once refresh a session once, and nobody is logged out`, async () => {
    for (let round = 0; round < 2; round += 1) {
      const browser = world.browser();
      assert.equal((await browser.login(`${world.site}/orders`)).status, 200);
      const over = Date.now() + 11_000;
      await until('the access token is over', () => Date.now() > over);
      const before = refreshes;
      const cookie = browser.cookieHeader('/');
      const answers = await Promise.all(Array.from({ length: REQUESTS }, (_, i) => world.send(`/many/${i}`, { headers: { ...NAVIGATION, cookie } })));
      assert.equal(refreshes - before, 1);
      assert.ok(answers.every(({ status }) => [200, 503].includes(status)), answers.map(({ status }) => status).join());
      assert.ok(answers.some(({ status }) => status === 200));
      assert.equal((await world.send('/late', { headers: { ...NAVIGATION, cookie } })).status, 200);
    }
    survives(world, workers);
  });
});

test('a secret may have any character', { skip }, async () => {
  const secret = `a'b"c\\d$e{f}#;`;
  const head = readFileSync(path.join(ROOT, 'kong/nginx.conf'), 'utf8');
  const escaped = head.split('\n').find((line) => line.includes('escaped() {')).replace('#', '');
  const { stdout } = spawnSync('sh', ['-c', `${escaped}\nescaped "$SECRET"`], { env: { PATH: process.env.PATH, SECRET: secret }, encoding: 'utf8' });
  assert.ok(!/["']/.test(stdout) && stdout.startsWith('a'), stdout);
  const world = await NginxWorld.start({
    secret,
    configure: (configuration) => { configuration.providers.demo.client_secret = 'SECRET'; },
    // Exactly as the shell function prints it.
    document: (text) => text.replace('SECRET', () => stdout),
  });
  try {
    assert.equal((await world.browser().login(`${world.site}/orders`)).status, 200);
  } finally {
    await world.stop();
  }
});

test('the first requests behave as kong/README.md says', { skip }, async () => {
  const page = readFileSync(path.join(ROOT, 'kong/README.md'), 'utf8');
  const lines = [...page.matchAll(/^ +curl -i (.*?)http:\/\/localhost:8000(\S*) +# (.*)$/gm)];
  assert.equal(lines.length, 4);
  const world = await NginxWorld.start();
  try {
    for (const [, options, at, said] of lines) {
      const headers = Object.fromEntries([...options.matchAll(/-H '([^:]*): ([^']*)'/g)].map(([, of, value]) => [of, value]));
      const answer = await world.send(at, { headers });
      const status = Number(/^\d{3}/.exec(said)?.[0] ?? 200);
      assert.equal(answer.status, status, said);
      if (status === 400) assert.equal(answer.header('x-vestibule-code'), 'protected_header');
    }
  } finally {
    await world.stop();
  }
});

test('refusals of nginx itself have a reason in the access log', { skip }, async () => {
  const world = await NginxWorld.start();
  try {
    await world.send('/', { headers: { 'x-long': 'x'.repeat(100_000) } }).catch(() => undefined);
    await sendInPieces(world.port, ['nonsense\r\n\r\n']);
    await until('it is logged', () => world.accessLog().some(({ reason }) => reason === 'nginx'));
    assert.ok(!/using uninitialized/.test(world.log()));
  } finally {
    await world.stop();
  }
});

test(`an idle nginx lives through ${LIFETIMES} lifetimes of its documents`, { skip }, async () => {
  // The shortest lifetime that the filter accepts is a minute.
  const world = await NginxWorld.start({
    intercept: (_request, response) => { response.setHeader('cache-control', 'max-age=60'); return false; },
  });
  try {
    const workers = world.workers();
    const requestsTo = (at) => world.provider.requests[at] ?? 0;
    const [metadata, keys] = [requestsTo('/.well-known/openid-configuration') + LIFETIMES, requestsTo('/jwks') + LIFETIMES];
    await until('metadata and keys are fetched again', () => {
      survives(world, workers);
      return requestsTo('/.well-known/openid-configuration') >= metadata && requestsTo('/jwks') >= keys;
    }, (LIFETIMES + 1) * 60_000);
    assert.equal((await world.browser().login(`${world.site}/after`)).status, 200);
    survives(world, workers);
  } finally {
    await world.stop();
  }
});
