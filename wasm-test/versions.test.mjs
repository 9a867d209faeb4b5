// Every supported Envoy loads the module and lets a login and an API call through.
// `make e2e-versions` installs them; ENVOY_VERSIONS names them.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { NAVIGATION } from './client.mjs';
import { ROOT, until, World } from './world.mjs';

const versions = (process.env.ENVOY_VERSIONS ?? '').split(' ').filter(Boolean);

test('there are versions to try', () => assert.ok(versions.length > 0, 'ENVOY_VERSIONS is empty: run `make e2e-versions`'));

for (const version of versions) {
  test(`Envoy ${version}`, async () => {
    const world = await World.start({ program: path.join(ROOT, `.build/envoy-${version}/envoy/_bin/envoy`), concurrency: 2 });
    try {
      const browser = world.browser();
      const page = await browser.login(`${world.site}/a%252fb?x=%2520&y=//`);
      assert.equal(page.status, 200, page.text.slice(0, 300));
      assert.equal(page.url, `${world.site}/a%252fb?x=%2520&y=//`);
      const token = await world.token();
      assert.equal((await world.send('/api/orders', { headers: { authorization: `Bearer ${token}` } })).status, 200);
      assert.equal((await world.send('/api/orders', { headers: { authorization: 'Bearer wrong' } })).status, 401);
      assert.equal((await world.send('/public/../admin', { headers: NAVIGATION })).status >= 300, true);
      await until('the reason is in the access log', () => world.accessLog().some(({ status, reason }) => status === 401 && reason !== '-'), 5_000);
    } finally {
      await world.stop();
    }
  });
}
