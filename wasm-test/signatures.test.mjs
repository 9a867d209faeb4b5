// Tokens of every algorithm in Envoy: with Envoy's verifier, and with `verify_in_module`.

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import { World } from './world.mjs';

/** How `node:crypto` makes a key of an algorithm and signs with it. */
const ALGORITHMS = {
  RS256: ['rsa', { modulusLength: 2048 }, 'sha256', {}],
  RS512: ['rsa', { modulusLength: 3072 }, 'sha512', {}],
  PS256: ['rsa', { modulusLength: 2048 }, 'sha256', { padding: 6, saltLength: 32 }],
  ES256: ['ec', { namedCurve: 'P-256' }, 'sha256', { dsaEncoding: 'ieee-p1363' }],
  ES384: ['ec', { namedCurve: 'P-384' }, 'sha384', { dsaEncoding: 'ieee-p1363' }],
  ES512: ['ec', { namedCurve: 'P-521' }, 'sha512', { dsaEncoding: 'ieee-p1363' }],
  EdDSA: ['ed25519', {}, null, {}],
};

const pair = (algorithm) => generateKeyPairSync(ALGORITHMS[algorithm][0], ALGORITHMS[algorithm][1]);
const KEYS = Object.fromEntries(Object.keys(ALGORITHMS).map((algorithm) => [algorithm, pair(algorithm)]));
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token, signed with the key of the provider unless told otherwise. `spoil` changes the signature. */
function token(world, algorithm, { key = KEYS[algorithm].privateKey, spoil = (bytes) => bytes } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: world.issuer, aud: 'https://api.demo.example', sub: 'orders-machine', client_id: 'orders-machine',
    scope: 'orders.read', iat: now, exp: now + 300, jti: `${Math.random()}`,
  };
  const text = `${encode({ alg: algorithm, typ: 'at+jwt', kid: algorithm })}.${encode(claims)}`;
  const [, , hash, options] = ALGORITHMS[algorithm];
  return `${text}.${spoil(sign(hash, Buffer.from(text), { key, ...options })).toString('base64url')}`;
}

const flip = (at) => (bytes) => { bytes[at < 0 ? bytes.length + at : at] ^= 1; return bytes; };

for (const verifyInModule of [false, true]) {
  describe(`tokens verified ${verifyInModule ? 'by the module alone' : 'by Envoy where possible'}`, () => {
    let world;
    before(async () => {
      world = await World.start({
        trace: true,
        providerUp: false,
        configure: (configuration) => ({ ...configuration, verify_in_module: verifyInModule }),
      });
      await world.startProvider();
      world.provider.intercept = (request, response) => {
        if (!request.url.startsWith('/jwks')) return false;
        const keys = Object.entries(KEYS).map(([kid, { publicKey }]) => ({ ...publicKey.export({ format: 'jwk' }), kid, alg: kid, use: 'sig' }));
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ keys }));
        return true;
      };
      await world.ready();
    });
    after(() => world?.stop());
    beforeEach(() => { world.upstream.requests.length = 0; });

    const send = (text) => world.send('/api/orders', { headers: { accept: 'application/json', authorization: `Bearer ${text}` } });

    for (const algorithm of Object.keys(ALGORITHMS)) {
      test(`${algorithm}: valid tokens pass`, async () => {
        for (let round = 0; round < 3; round += 1) {
          const answer = await send(token(world, algorithm));
          assert.equal(answer.status, 200, answer.text);
        }
        assert.equal(world.upstream.requests.length, 3);
      });

      test(`${algorithm}: forged tokens are refused`, async () => {
        const forged = [
          token(world, algorithm, { key: pair(algorithm).privateKey }),
          token(world, algorithm, { spoil: flip(0) }),
          token(world, algorithm, { spoil: flip(-1) }),
          token(world, algorithm, { spoil: (bytes) => bytes.subarray(1) }),
          token(world, algorithm, { spoil: (bytes) => Buffer.concat([bytes, Buffer.of(0)]) }),
          token(world, algorithm, { spoil: (bytes) => Buffer.alloc(bytes.length) }),
          token(world, algorithm, { spoil: (bytes) => Buffer.alloc(bytes.length, 0xff) }),
        ];
        for (const [number, text] of forged.entries()) {
          const answer = await send(text);
          assert.equal(answer.status, 401, `${number}: ${answer.text}`);
          assert.equal(answer.json().code, 'jws_signature', `${number}`);
        }
        assert.equal(world.upstream.requests.length, 0);
      });
    }

    test('Envoy is used only if the configuration allows it', () => {
      const calls = world.envoy.stderr.match(/proxy_call_foreign_function/g)?.length ?? 0;
      if (verifyInModule) assert.equal(calls, 0);
      else assert.ok(calls >= 15, `${calls} calls`);
    });
  });
}
