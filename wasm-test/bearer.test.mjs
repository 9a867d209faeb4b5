// An API call with an access token of the provider.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { until, World, receivedAll } from './world.mjs';
import { flipped, mint, strangersKey } from './tokens.mjs';

const bearer = (token) => ({ headers: { accept: 'application/json', authorization: `Bearer ${token}` } });

describe('an API call', () => {
  let world;
  before(async () => { world = await World.start(); });
  after(() => world?.stop());
  beforeEach(() => { world.upstream.requests.length = 0; });

  test('with a token of the provider passes, and the upstream gets the identity', async () => {
    const token = await world.token();
    const answer = await world.send('/api/orders/7?x=%2520', bearer(token));
    assert.equal(answer.status, 200, answer.text);
    assert.equal(world.received().path, '/api/orders/7?x=%2520');
    assert.deepEqual(receivedAll(world.received(), 'x-auth-sub'), ['orders-machine']);
    for (let again = 0; again < 3; again += 1) assert.equal((await world.send('/api/orders', bearer(token))).status, 200);
  });

  test('with any method and a body passes', async () => {
    const token = await world.token();
    const answer = await world.send('/api/orders', { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: '{"a":1}' });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(world.received().body, '{"a":1}');
  });

  test('without a token gets 401 with a challenge', async () => {
    const answer = await world.send('/api/orders', { headers: { accept: 'application/json' } });
    assert.equal(answer.status, 401);
    assert.match(answer.header('www-authenticate'), /^Bearer/);
    assert.doesNotMatch(answer.header('www-authenticate'), /error=/);
    assert.equal(world.upstream.requests.length, 0);
  });

  test('whose token lacks the scope gets 403 insufficient_scope', async () => {
    const answer = await world.send('/api/orders', bearer(await world.token({ scope: 'orders.write' })));
    assert.equal(answer.status, 403);
    assert.match(answer.header('www-authenticate'), /^Bearer .*error="insufficient_scope"/);
    assert.match(answer.header('www-authenticate'), /scope="orders\.read"/);
    assert.equal(world.upstream.requests.length, 0);
  });

  test('with an invalid token gets 401, a reason and a stable code', async () => {
    const answer = await world.send('/api/orders', bearer('wrong'));
    assert.equal(answer.status, 401);
    assert.match(answer.header('www-authenticate'), /^Bearer .*error="invalid_token"/);
    assert.match(answer.header('content-type'), /json/);
    assert.match(answer.json().code, /^[a-z][a-z0-9_]+$/);
    assert.match(answer.header('cache-control'), /no-store/);
    await until('the access log has the reason', () => world.accessLog().some(({ status, reason }) => status === 401 && reason === answer.json().code), 5_000);
  });

  test('gets its own code for each reason, also in the access log', async () => {
    const codes = new Set();
    const now = Math.floor(Date.now() / 1000);
    for (const claims of [{ exp: now - 3600 }, { iss: 'https://evil.example' }, { aud: 'https://other.example' }, { exp: undefined }]) {
      const answer = await world.send('/api/orders', bearer(mint(world.provider, claims)));
      assert.equal(answer.status, 401);
      codes.add(answer.json().code);
    }
    assert.equal(codes.size, 4, [...codes].join(' '));
  });

  test('with a fresh token of the same key passes, so the forgeries below fail only for their fault', async () => {
    assert.equal((await world.send('/api/orders', bearer(mint(world.provider)))).status, 200);
  });

  // Forgeries that involve the host, which verifies signatures and hands over the header. All others are the
  // same in every host: see tests/stories/attacks.
  const forgeries = [
    ['JWS-11', 'another algorithm than the key is for', (provider) => mint(provider, {}, { header: { alg: 'PS256' } })],
    ['JWS-54', 'a signature with one bit turned', (provider) => flipped(mint(provider))],
    ['JWS-54', "a stranger's signature", (provider) => mint(provider, {}, { key: strangersKey() })],
    ['JWS-55', 'no signature', (provider) => mint(provider).replace(/[^.]*$/, '')],
    ['RS-08', 'quotes and encoded line breaks', () => 'a"b%0d%0aX: y'],
  ];
  for (const [id, what, forge] of forgeries) {
    test(`${id} is refused: ${what}`, async () => {
      const answer = await world.send('/api/orders', bearer(forge(world.provider)));
      assert.equal(answer.status, 401, answer.text);
      assert.match(answer.header('www-authenticate'), /^Bearer/);
      assert.equal(world.upstream.requests.length, 0);
    });
  }

  test('with the token of another API, issued by the same provider, is refused', async () => {
    const token = await world.token({ resource: 'https://other.demo.example' });
    assert.equal((await world.send('/api/orders', bearer(token))).status, 401);
    assert.equal(world.upstream.requests.length, 0);
  });

  test('JWK-05 with unknown keys causes one fetch from the provider, not a hundred', async () => {
    const before = world.provider.requests['/jwks'];
    for (let i = 0; i < 100; i += 1) await world.send('/api/orders', bearer(mint(world.provider, {}, { header: { kid: `flood-${i}` } })));
    assert.ok(world.provider.requests['/jwks'] - before <= 2, `${world.provider.requests['/jwks'] - before} fetches`);
    assert.equal((await world.send('/api/orders', bearer(await world.token()))).status, 200);
  });
});
