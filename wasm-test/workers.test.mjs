// Two workers of one Envoy share nothing but the configuration and the host's shared data.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { NAVIGATION } from './client.mjs';
import { mint, strangersKey } from './tokens.mjs';
import { World } from './world.mjs';

const WORKERS = 2;
const ROUNDS = 12;

describe('with two workers', () => {
  let world;
  before(async () => { world = await World.start({ concurrency: WORKERS }); });
  after(() => world?.stop());

  // Every request has its own connection, so the kernel spreads them over both workers.
  test('a login may begin on one and end on the other', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const browser = world.browser();
      const page = await browser.login(`${world.site}/round/${round}?n=${round}`);
      assert.equal(page.status, 200, page.text.slice(0, 300));
      assert.equal(page.url, `${world.site}/round/${round}?n=${round}`);
      const cookie = browser.cookieHeader('/');
      const answers = await Promise.all(Array.from({ length: 10 }, () => world.send('/many', { headers: { ...NAVIGATION, cookie } })));
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    }
  });

  test('tokens are accepted by both', async () => {
    const token = await world.token();
    const answers = await Promise.all(Array.from({ length: 30 }, () => world.send('/api/orders', { headers: { authorization: `Bearer ${token}` } })));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  });
});

const METADATA = '/.well-known/openid-configuration';
/** On separate connections, so that the kernel spreads them over the workers. */
const REQUESTS_PER_WORKER = 20;

// Envoy runs one more VM than it has workers, on its main thread.
for (const concurrency of [1, 2, 8]) {
  test(`of ${concurrency} workers one fetches for all: at the start, and for a new key`, async () => {
    const world = await World.start({ concurrency });
    try {
      const statuses = async (path, headers) => {
        const answers = Array.from({ length: concurrency * REQUESTS_PER_WORKER }, () => world.send(path, { headers }));
        return new Set((await Promise.all(answers)).map(({ status }) => status));
      };
      assert.deepEqual(await statuses('/page', NAVIGATION), new Set([302]));
      const { requests } = world.provider;
      assert.deepEqual([requests[METADATA], requests['/jwks']], [1, 1], 'at the start');
      world.provider.rotateKeys();
      const authorization = `Bearer ${await world.token()}`;
      assert.deepEqual(await statuses('/api/orders', { authorization }), new Set([200]));
      assert.deepEqual([requests[METADATA], requests['/jwks']], [1, 2], 'for a new key');
      const unknown = mint({ issuer: world.issuer, signingKey: () => ({ ...strangersKey(), kid: 'unknown' }) });
      assert.deepEqual(await statuses('/api/orders', { authorization: `Bearer ${unknown}` }), new Set([401]));
      assert.deepEqual([requests[METADATA], requests['/jwks']], [1, 2], 'so soon after the last fetch');
    } finally {
      await world.stop();
    }
  });
}
