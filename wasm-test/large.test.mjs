// Sessions that are larger than a cookie, with two workers: each is restored whole, or not written at all.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { NAVIGATION } from './client.mjs';
import { receivedAll, until, World } from './world.mjs';

/** Names of groups as Entra ID has them: they hardly compress. */
const groups = (count) => Array.from({ length: count }, (_, i) => createHash('sha256').update(String(i)).digest('hex').slice(0, 32));

describe('a person with many groups', () => {
  let world;
  let count;

  before(async () => {
    world = await World.start({
      concurrency: 2,
      configure: (configuration) => {
        configuration.identity.headers['x-groups'] = 'groups';
        configuration.session.max_cookies = 2;
      },
      provider: {
        alter: (configuration) => {
          configuration.claims.profile.push('groups');
          configuration.issueRefreshToken = async () => true;
          const { findAccount } = configuration;
          configuration.findAccount = async (ctx, id) => {
            const account = await findAccount(ctx, id);
            return account && { ...account, claims: () => ({ ...account.claims(), groups: groups(count) }) };
          };
        },
      },
    });
  });
  after(() => world?.stop());

  const sessionCookies = (browser) => browser.cookiesOf(world.port).filter(({ name }) => /^vestibule(\.\d)?$/.test(name));
  const shortened = async (without) => (await world.metrics())[`vestibule_sessions_shortened_without_${without}_provider_demo{}`] ?? 0;

  test('has a session in several cookies, which both workers read', async () => {
    count = 60;
    const browser = world.browser();
    assert.equal((await browser.login(`${world.site}/orders`)).status, 200);
    const cookies = sessionCookies(browser);
    assert.equal(cookies.length, 2);
    assert.deepEqual(receivedAll(world.received(), 'x-groups'), [groups(60).join()]);
    assert.ok(!world.received().headers.some(([name, value]) => name.toLowerCase() === 'cookie' && /vestibule/.test(value)));
    const cookie = browser.cookieHeader('/');
    const answers = await Promise.all(Array.from({ length: 20 }, () => world.send('/page', { headers: { ...NAVIGATION, cookie } })));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    const lost = cookies.slice(0, -1).map(({ name, value }) => `${name}=${value}`).join('; ');
    assert.equal((await world.send('/page', { headers: { ...NAVIGATION, cookie: lost } })).status, 302);
  });

  test('with more groups has one without the ID token', async () => {
    count = 200;
    const browser = world.browser();
    assert.equal((await browser.login(`${world.site}/orders`)).status, 200);
    assert.equal(sessionCookies(browser).length, 2);
    await until('it is counted', async () => (await shortened('id_token')) === 1, 5_000);
    assert.equal(await shortened('refresh_token'), 0);
    assert.equal((await browser.get(`${world.site}/page`)).status, 200);
  });

  test('with too many groups has none, and sees the reason', async () => {
    count = 310;
    const browser = world.browser();
    // The second time the provider knows the person.
    for (const open of [() => browser.login(`${world.site}/orders`), () => browser.get(`${world.site}/orders`)]) {
      const page = await open();
      assert.equal(page.status, 500);
      assert.equal(page.header('x-vestibule-code'), 'session_too_large');
      assert.match(page.text, /does not fit into the browser/);
      assert.deepEqual(sessionCookies(browser), []);
    }
  });
});
