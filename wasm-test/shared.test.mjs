// One login for several hosts and several filters, cookies for frames, and long streams.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Browser, NAVIGATION, send } from './client.mjs';
import { World } from './world.mjs';

const WORKERS = 2;
const APP = 'app.example.test';
const API = 'api.app.example.test';
const WEBSOCKET = {
  connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version': '13',
};
const STREAM_SECONDS = 2;

/** Stores the cookies of a response as `{name: value}`, and returns its `Set-Cookie` fields. */
function keep(cookies, answer) {
  const lines = answer.all('set-cookie');
  for (const line of lines) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    if (/; Max-Age=0;/.test(line)) delete cookies[name];
    else cookies[name] = value;
  }
  return lines;
}

const header = (cookies) => Object.entries(cookies).map(([name, value]) => `${name}=${value}`).join('; ');

describe('two hosts that share their cookies', () => {
  let world;
  let other;
  const origin = (host) => `http://${host}:${world.port}`;
  const request = (host, path, cookies = {}, headers = NAVIGATION) =>
    world.send(path, { headers: { ...headers, host: `${host}:${world.port}`, cookie: header(cookies) } });

  before(async () => {
    world = await World.start({
      concurrency: WORKERS,
      configure: (configuration, { port }) => {
        Object.assign(configuration.session, { domain: APP, hosts: [APP, API].map((host) => `${host}:${port}`) });
      },
      provider: {
        alter: (configuration) => {
          const [client] = configuration.clients;
          client.redirect_uris = [APP, API].map((host) => client.redirect_uris[0].replace('localhost', host));
        },
      },
      routes: [{
        match: { prefix: '/short' },
        route: { cluster: 'upstream', timeout: '0s', max_stream_duration: { max_stream_duration: `${STREAM_SECONDS}s` } },
      }],
    });
    // The same keys with another client.
    other = await World.start({
      configure: (configuration, { port }) => {
        Object.assign(configuration.session, { domain: APP, hosts: [`${APP}:${port}`], keys: [world.secrets.SESSION_KEY] });
        configuration.providers.demo.client_id = 'somebody-else';
      },
    });
  });
  after(async () => { await world?.stop(); await other?.stop(); });

  /** Logs in, beginning with a page of `host`: the response to the callback, and every `Set-Cookie`. */
  async function login(host, path, cookies) {
    const begun = await request(host, path, cookies);
    assert.equal(begun.status, 302, begun.text.slice(0, 300));
    const lines = keep(cookies, begun);
    const provider = new Browser();
    const page = await provider.get(begun.header('location'));
    let answer = await provider.submit(page, { login: 'alice', password: 'x' }, { follow: false });
    while (!answer.header('location').includes('/oidc/callback')) answer = await provider.request(Browser.target(answer));
    const callback = new URL(answer.header('location'));
    assert.equal(callback.origin, origin(host));
    const done = await request(host, callback.pathname + callback.search, cookies);
    assert.equal(done.status, 302, done.text.slice(0, 300));
    lines.push(...keep(cookies, done));
    return { done, lines };
  }

  test('have one login, on every worker', async () => {
    for (const [first, second] of [[APP, API], [API, APP]]) {
      const cookies = {};
      const { done, lines } = await login(first, '/orders', cookies);
      assert.equal(done.header('location'), '/orders');
      assert.ok(lines.length >= 3 && lines.every((line) => line.includes(`; Domain=${APP};`)), lines.join('\n'));
      const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => request(i % 2 ? first : second, '/orders', cookies)));
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    }
  });

  test('return to one another, and to no other host', async () => {
    const { done } = await login(APP, `/oidc/login?return_to=${encodeURIComponent(`${origin(API)}/orders?a=1`)}`, {});
    assert.equal(done.header('location'), `${origin(API)}/orders?a=1`);
    for (const wanted of [`http://evil.example/`, `http://${API}.evil.example:${world.port}/`, `http://other.${APP}:${world.port}/`]) {
      const answer = await login(APP, `/oidc/login?return_to=${encodeURIComponent(wanted)}`, {});
      assert.equal(answer.done.header('location'), '/', wanted);
    }
  });

  test('log out together', async () => {
    const cookies = {};
    await login(APP, '/orders', cookies);
    const out = await request(API, '/oidc/logout', cookies, { ...NAVIGATION, 'sec-fetch-site': 'same-origin' });
    assert.equal(out.status, 303);
    assert.ok(out.all('set-cookie').some((line) => /^vestibule=;.*; Domain=app\.example\.test;.*Max-Age=0/.test(line)), out.all('set-cookie').join('\n'));
    keep(cookies, out);
    assert.equal((await request(APP, '/orders', cookies)).status, 302);
  });

  test('share nothing with another client that has the same keys', async () => {
    const cookies = {};
    await login(APP, '/orders', cookies);
    const headers = { accept: 'application/json', host: `${APP}:${other.port}`, cookie: header(cookies) };
    const answer = await send(other.port, '/orders', { headers });
    assert.deepEqual([answer.status, answer.header('x-vestibule-code')], [401, 'session_unreadable']);
  });

  test('a stream is decided at its start, and ends by the limit of the proxy', async () => {
    const cookies = {};
    await login(APP, '/orders', cookies);
    const streams = [WEBSOCKET, { accept: 'text/event-stream' }];
    for (const headers of streams) {
      for (const [sent, code] of [[{}, 'not_logged_in'], [{ vestibule: '1.AAAA' }, 'session_unreadable']]) {
        const answer = await request(APP, '/short', sent, headers);
        assert.deepEqual([answer.status, answer.header('x-vestibule-code'), answer.header('location')], [401, code, undefined]);
        assert.deepEqual(answer.all('set-cookie'), [], 'no login begins');
      }
    }
    // The upstream keeps both open; only Envoy closes them.
    const opened = await request(APP, '/short/open', cookies, WEBSOCKET);
    assert.deepEqual([opened.status, opened.text.includes('hello')], [101, true]);
    await assert.rejects(request(APP, '/short/open', cookies, { accept: 'text/event-stream' }), { code: 'ECONNRESET' });
  });
});

test('for frames of other sites every cookie is partitioned', { timeout: 60_000 }, async () => {
  const world = await World.start({
    configure: (configuration) => {
      Object.assign(configuration.session, { same_site: 'None', partitioned: true, insecure_allow_http: undefined });
    },
  });
  try {
    const answer = await world.send('/orders', { headers: NAVIGATION });
    assert.equal(answer.status, 302, answer.text);
    const [login] = answer.all('set-cookie');
    assert.match(login, /^__Host-vestibule-login-[\w-]+=[\w-]+; Path=\/; Secure; HttpOnly; SameSite=None; Partitioned; Max-Age=600$/);
    const out = await world.send('/oidc/logout', { headers: { ...NAVIGATION, 'sec-fetch-site': 'same-origin' } });
    assert.match(out.all('set-cookie')[0], /SameSite=None; Partitioned; Max-Age=0/);
  } finally {
    await world.stop();
  }
});

test('cookies that browsers would drop are refused with a reason', { timeout: 60_000 }, async () => {
  const world = await World.start({
    providerUp: false,
    expectRefusal: true,
    configure: (configuration) => { Object.assign(configuration.session, { domain: 'com', partitioned: true }); },
  });
  try {
    await world.envoy.ended;
    assert.match(world.envoy.stderr, /session\.partitioned: must not be true with insecure_allow_http/);
    assert.match(world.envoy.stderr, /session\.domain: must not be a top-level domain/);
  } finally {
    await world.stop();
  }
});
