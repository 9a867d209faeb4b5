// What Envoy shows of the filter's metrics, with the tags of docs/metrics.md, and with two workers.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { NAVIGATION, send } from './client.mjs';
import { ROOT, until, World } from './world.mjs';

/** Longer than the interval of the filter's ticks. */
const TICK_MS = 300;

/** The example of the page. */
const TAGS = [...readFileSync(path.join(ROOT, 'docs/metrics.md'), 'utf8').matchAll(/^ {2}- \{tag_name: (\w+), regex: '(.*)'\}$/gm)]
  .map(([, name, regex]) => ({ tag_name: name, regex }));

describe('the metrics, seen by Prometheus', () => {
  let world;

  before(async () => {
    world = await World.start({
      concurrency: 2,
      alter: (bootstrap) => { bootstrap.stats_config = { stats_tags: TAGS }; },
    });
  });
  after(() => world?.stop());

  /** Every change since `from` without zeros, once `count` decisions are reported. */
  async function since(from, count) {
    return until(`${count} decisions`, async () => {
      const entries = Object.entries(await world.metrics()).map(([name, value]) => [name, value - (from[name] ?? 0)]);
      const decisions = entries.filter(([name]) => name.startsWith('vestibule_decisions')).reduce((sum, [, value]) => sum + value, 0);
      assert.ok(decisions <= count, `${decisions} of ${count} decisions`);
      return decisions === count && Object.fromEntries(entries.filter(([, value]) => value !== 0));
    }, 5_000);
  }

  /** All metrics, once they no longer change. */
  async function settled() {
    let before;
    return until('the workers have reported all', async () => {
      await pause(TICK_MS);
      const [earlier, now] = [before, await world.metrics()];
      before = now;
      return JSON.stringify(earlier) === JSON.stringify(now) && now;
    });
  }

  test('LOG-05 have one series for each code, for any request', async () => {
    const from = await settled();
    for (let i = 0; i < 40; i += 1) {
      await world.send(`/orders/canary-${i}`, { headers: { 'x-canary': `canary-${i}`, cookie: `vestibule=1.canary${i}` } });
      await world.send(`/api/orders?canary=${i}`, { headers: { authorization: `Bearer canary-${i}` } });
    }
    assert.deepEqual(await since(from, 80), {
      'vestibule_decisions{vestibule_code="jws_part_count",vestibule_outcome="refused"}': 40,
      'vestibule_decisions{vestibule_code="session_unreadable",vestibule_outcome="refused"}': 40,
    });
    const { text } = await send(world.adminPort, '/stats?filter=canary');
    assert.equal(text, '');
  });

  test('count a login, the pages after it and the logout, over both workers', async () => {
    const from = await settled();
    const browser = world.browser();
    assert.equal((await browser.login(`${world.site}/orders`)).status, 200);
    const cookie = browser.cookieHeader('/');
    await Promise.all(Array.from({ length: 49 }, () => world.send('/orders', { headers: { ...NAVIGATION, cookie } })));
    await world.send('/oidc/logout', { headers: { ...NAVIGATION, cookie } });
    const of = (outcome, code) => `vestibule_decisions{vestibule_code="${code}",vestibule_outcome="${outcome}",vestibule_provider="demo"}`;
    const counted = await since(from, 53);
    assert.equal(counted[of('admitted', 'session')], 50);
    for (const code of ['login_begins', 'login_completed', 'logged_out']) assert.equal(counted[of('answered', code)], 1, code);
    assert.equal(counted['vestibule_callouts{vestibule_endpoint="token",vestibule_outcome="ok",vestibule_provider="demo"}'], 1);
  });

  test('count every callout, also of the VM on the main thread, which sees no request', async () => {
    const { '/.well-known/openid-configuration': metadata, '/jwks': keys } = world.provider.requests;
    const of = (endpoint) => `vestibule_callouts{vestibule_endpoint="${endpoint}",vestibule_outcome="ok",vestibule_provider="demo"}`;
    await until('all are counted', async () => {
      const metrics = await world.metrics();
      return metrics[of('metadata')] === metadata && metrics[of('keys')] === keys;
    }, 5_000);
  });
});
