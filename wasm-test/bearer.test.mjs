// An API call with an access token of the provider.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { until, World, receivedAll } from './world.mjs';
import { flipped, macWithPublicKey, mint, reheaded, strangersKey } from './tokens.mjs';

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

  const now = () => Math.floor(Date.now() / 1000);
  const forgeries = [
    ['JWS-01', 'alg none, no signature', (provider) => reheaded(mint(provider), { alg: 'none', typ: 'at+jwt' }, () => '')],
    ['JWS-01', 'alg none, a signature', (provider) => reheaded(mint(provider), { alg: 'none', typ: 'at+jwt' })],
    ['JWS-04', 'an unknown algorithm', (provider) => mint(provider, {}, { header: { alg: 'RS1' } })],
    ['JWS-06', 'a MAC with the public key', (provider) => macWithPublicKey(provider, mint(provider))],
    ['JWS-11', 'another algorithm than the key is for', (provider) => mint(provider, {}, { header: { alg: 'PS256' } })],
    ['JWS-29', 'a critical header nobody knows', (provider) => mint(provider, {}, { header: { crit: ['exp'], exp: 1 } })],
    ['JWS-31', 'an unencoded payload', (provider) => mint(provider, {}, { header: { b64: false, crit: ['b64'] } })],
    ['JWS-32', 'a key in the header', (provider) => {
      const key = strangersKey();
      return mint(provider, {}, { key, header: { jwk: { kty: key.kty, n: key.n, e: key.e } } });
    }],
    ['JWS-33', 'a key at an address in the header', (provider) => mint(provider, {}, { key: strangersKey(), header: { jku: `${provider.issuer}/evil` } })],
    ['JWS-35', 'a kid of another world', (provider) => mint(provider, {}, { header: { kid: '../../dev/null' } })],
    ['JWS-39', 'the type of a logout token', (provider) => mint(provider, {}, { header: { typ: 'logout+jwt' } })],
    ['JWS-44', 'too many parts', (provider) => `${mint(provider)}.x`],
    ['JWS-45', 'padding', (provider) => `${mint(provider)}==`],
    ['JWS-54', 'a signature with one bit turned', (provider) => flipped(mint(provider))],
    ['JWS-54', "a stranger's signature", (provider) => mint(provider, {}, { key: strangersKey() })],
    ['JWS-55', 'no signature', (provider) => mint(provider).replace(/[^.]*$/, '')],
    ['CLM-05', 'an API of somebody else', (provider) => mint(provider, { aud: ['https://other.demo.example'] })],
    ['CLM-15', 'expired', (provider) => mint(provider, { exp: now() - 301 })],
    ['CLM-17', 'expiry as text', (provider) => mint(provider, { exp: '9999999999' })],
    ['CLM-21', 'not valid yet', (provider) => mint(provider, { nbf: now() + 3600 })],
    ['RS-11', 'no audience', (provider) => mint(provider, { aud: undefined })],
    ['RS-11', 'no issuer', (provider) => mint(provider, { iss: undefined })],
    ['RS-11', 'no expiry', (provider) => mint(provider, { exp: undefined })],
    ['RS-15', 'an issuer that is not configured', (provider) => mint(provider, { iss: `${provider.issuer}/` })],
    ['RS-27', 'bound to a key that nobody proved', (provider) => mint(provider, { cnf: { jkt: 'x' } })],
    ['RS-08', 'quotes and encoded line breaks', () => 'a"b%0d%0aX: y'],
  ];
  for (const [id, what, forge] of forgeries) {
    test(`${id} is refused: ${what}`, async () => {
      const answer = await world.send('/api/orders', bearer(forge(world.provider)));
      assert.equal(answer.status, 401, answer.text);
      assert.match(answer.header('www-authenticate'), /^Bearer/);
      assert.equal(world.upstream.requests.length, 0);
      assert.equal(world.provider.requests['/evil'], undefined);
    });
  }

  test('RS-09 with an ID token is refused', async () => {
    const idToken = mint(world.provider, { aud: 'vestibule-demo', sub: 'alice', nonce: 'n', scope: undefined }, { header: { typ: 'JWT' } });
    assert.equal((await world.send('/api/orders', bearer(idToken))).status, 401);
    assert.equal(world.upstream.requests.length, 0);
  });

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
