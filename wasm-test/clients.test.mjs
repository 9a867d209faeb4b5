// Clients without a session: each gets a response that it understands.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { NAVIGATION, send2 } from './client.mjs';
import { World, receivedAll } from './world.mjs';

const WEBSOCKET = {
  connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version': '13',
};

describe('a client without a session', () => {
  let world;
  before(async () => { world = await World.start(); });
  after(() => world?.stop());
  beforeEach(() => { world.upstream.requests.length = 0; });

  const refused = (answer) => {
    assert.equal(answer.status, 401, answer.text);
    assert.equal(answer.header('location'), undefined);
    assert.deepEqual(answer.all('set-cookie'), []);
    assert.match(answer.header('cache-control'), /no-store/);
    assert.equal(world.upstream.requests.length, 0);
  };

  test('that navigates is sent to the provider', async () => {
    for (const headers of [NAVIGATION, { accept: 'text/html' }]) {
      const answer = await world.send('/page', { headers });
      assert.ok([302, 303].includes(answer.status));
      assert.ok(answer.header('location').startsWith(`${world.issuer}/auth?`));
      assert.match(answer.header('cache-control'), /no-store/);
    }
    assert.equal(world.upstream.requests.length, 0);
  });

  test('that sends HEAD is answered as for GET, without a body', async () => {
    const answer = await world.send('/page', { method: 'HEAD', headers: NAVIGATION });
    assert.ok([302, 303].includes(answer.status), `status ${answer.status}`);
    assert.equal(answer.text, '');
    assert.equal(world.upstream.requests.length, 0);
  });

  const programs = {
    'fetch': { headers: { accept: '*/*', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin' } },
    'fetch that asks for HTML': { headers: { accept: 'text/html', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin' } },
    'XMLHttpRequest': { headers: { accept: 'text/html, */*', 'x-requested-with': 'XMLHttpRequest' } },
    'a client of JSON': { headers: { accept: 'application/json' } },
    'a form': { method: 'POST', headers: { ...NAVIGATION, 'content-type': 'application/x-www-form-urlencoded' }, body: 'password=1' },
    'PUT': { method: 'PUT', headers: NAVIGATION, body: 'x' },
    'DELETE': { method: 'DELETE', headers: { accept: 'application/json' } },
    'an image': { headers: { accept: 'image/*', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' } },
    'an event stream': { headers: { accept: 'text/event-stream' } },
    'a WebSocket': { headers: { ...WEBSOCKET, accept: 'text/html' } },
    'OPTIONS that is no preflight': { method: 'OPTIONS', headers: { origin: 'https://app.example' } },
  };
  for (const [name, request] of Object.entries(programs)) {
    test(`that is ${name} gets 401 and no redirect`, async () => refused(await world.send('/page', request)));
  }

  test('that is a program gets the login address in JSON', async () => {
    const answer = await world.send('/page', programs.fetch);
    assert.match(answer.header('content-type'), /json/);
    assert.match(JSON.stringify(answer.json()), /\/oidc\/login/);
    assert.match(answer.json().code, /^[a-z][a-z0-9_]+$/);
  });

  test('that speaks gRPC gets status 16', async () => {
    const answer = await send2(world.port, '/orders.Orders/List', {
      method: 'POST', headers: { 'content-type': 'application/grpc', te: 'trailers' }, body: Buffer.alloc(5),
    });
    assert.equal(answer.status, 200);
    assert.equal(answer.header('grpc-status'), '16');
    assert.match(answer.header('content-type'), /^application\/grpc/);
    assert.equal(world.upstream.requests.length, 0);
  });

  test('that prefetches gets no login cookie', async () => {
    for (const hint of [{ 'sec-purpose': 'prefetch' }, { purpose: 'prefetch' }, { 'sec-purpose': 'prefetch;prerender' }]) {
      const answer = await world.send('/page', { headers: { ...NAVIGATION, ...hint } });
      assert.ok([302, 303, 401].includes(answer.status), `status ${answer.status}`);
      assert.deepEqual(answer.all('set-cookie'), []);
    }
    assert.equal(world.upstream.requests.length, 0);
  });

  test('may send a preflight, which passes without an identity', async () => {
    const answer = await world.send('/api/orders', {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST', 'x-auth-sub': 'mallory', X_Auth_Sub: 'mallory' },
    });
    assert.equal(answer.status, 200);
    assert.equal(world.upstream.requests.length, 1);
    assert.deepEqual(receivedAll(world.received(), 'x-auth-sub'), []);
  });

  test('is admitted with a session: WebSocket and event stream', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`);
    const socket = await browser.request(`${world.site}/socket`, { headers: WEBSOCKET });
    assert.equal(socket.status, 101);
    assert.match(socket.text, /hello/);
    assert.deepEqual(receivedAll(world.received(), 'x-auth-sub'), ['alice']);
    const stream = await browser.request(`${world.site}/events`, { headers: { accept: 'text/event-stream' } });
    assert.equal(stream.text, 'data: one\n\ndata: two\n\n');
  });
});
