// Two workers of one Envoy share nothing but the configuration and the host's shared data.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { NAVIGATION } from './client.mjs';
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

  // Envoy runs one more VM than it has workers, on its main thread.
  test('each VM fetches from the provider once, not once for every request', () => {
    const { '/.well-known/openid-configuration': discovery, '/jwks': keys } = world.provider.requests;
    assert.ok(discovery <= WORKERS + 1 && keys <= WORKERS + 1, `${discovery} discoveries, ${keys} fetches of keys`);
  });

  test('tokens are accepted by both', async () => {
    const token = await world.token();
    const answers = await Promise.all(Array.from({ length: 30 }, () => world.send('/api/orders', { headers: { authorization: `Bearer ${token}` } })));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  });
});
