// A trapped VM fails closed, and is replaced. The module of this test panics on request.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { NAVIGATION } from './client.mjs';
import { mint } from './tokens.mjs';
import { ROOT, World } from './world.mjs';

const TRAP = { 'x-vestibule-trap': '1' };

describe('a module that traps', () => {
  let world;
  before(async () => { world = await World.start({ module: path.join(ROOT, '.build/vestibule-test-trap.wasm') }); });
  after(() => world?.stop());

  test('refuses the request, protected or public, and then recovers', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/before`);
    for (let round = 0; round < 3; round += 1) {
      for (const path of ['/private', '/public/page']) {
        world.upstream.requests.length = 0;
        const answer = await browser.request(`${world.site}${path}`, { headers: { ...NAVIGATION, ...TRAP } });
        assert.ok(answer.status >= 500, `status ${answer.status}`);
        assert.deepEqual(world.upstream.requests, []);
        // The new VM first fetches the provider's documents; until then it responds 503.
        await world.ready();
        assert.equal((await browser.request(`${world.site}/private`)).status, 200, 'the session is known again');
      }
    }
  });

  // Envoy never notifies them that their VM is gone: its own time limit ends them.
  test('ends requests that wait for a provider no later than `stream_idle_timeout`', { timeout: 60_000 }, async () => {
    const limited = await World.start({
      module: path.join(ROOT, '.build/vestibule-test-trap.wasm'),
      concurrency: 1,
      alter: ({ static_resources: { listeners: [listener] } }) => {
        listener.filter_chains[0].filters[0].typed_config.stream_idle_timeout = '3s';
      },
    });
    try {
      const requested = new Promise((resolve) => {
        limited.provider.intercept = (request) => (request.url.startsWith('/jwks') ? new Promise(() => resolve()) : false);
      });
      limited.provider.rotateKeys();
      limited.upstream.requests.length = 0;
      const waiting = limited.send('/api/orders', { headers: { authorization: `Bearer ${mint(limited.provider)}` } });
      await requested;
      await limited.send('/private', { headers: { ...NAVIGATION, ...TRAP } });
      const { status } = await waiting;
      assert.ok([408, 503, 504].includes(status), `status ${status}`);
      assert.deepEqual(limited.upstream.requests, []);
    } finally {
      await limited.stop();
    }
  });

  test('admits nobody in the meantime', async () => {
    for (let round = 0; round < 5; round += 1) {
      await world.send('/private', { headers: { ...NAVIGATION, ...TRAP } });
      world.upstream.requests.length = 0;
      for (const headers of [NAVIGATION, { accept: 'application/json' }]) await world.send('/private', { headers });
      assert.deepEqual(world.upstream.requests, []);
      await world.ready();
    }
  });
});
