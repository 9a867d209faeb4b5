// The life of a session with a second real provider: login, refresh, and logout from either side.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Browser, NAVIGATION } from './client.mjs';
import { issuerOn, missing, PERSON, Person, startGlewlwyd } from './glewlwyd.mjs';
import { receivedAll, until, World } from './world.mjs';

/** Longer than the filter's minimum between two refreshes. */
const TOKEN_SECONDS = 11;
const REQUESTS = 20;
const SAME_ORIGIN = { ...NAVIGATION, 'sec-fetch-site': 'same-origin' };

describe('with Glewlwyd as the provider', { skip: missing() }, () => {
  let world;

  before(async () => {
    world = await World.start({
      start: startGlewlwyd,
      issuerOn,
      provider: { accessTokenTtl: TOKEN_SECONDS },
      concurrency: 2,
      plugin: { allow_on_headers_stop_iteration: true },
      configure: ({ providers, identity, ...configuration }) => {
        providers.demo.scopes = ['openid'];
        identity.access_token_header = 'x-access-token';
        identity.headers['x-auth-sid'] = 'sid';
        return { ...configuration, providers, identity, endpoints: { backchannel_logout: '/oidc/backchannel-logout' } };
      },
    });
  });
  after(() => world?.stop());

  /** A browser with a session, and the person at the provider's pages. */
  async function loggedIn(place) {
    const browser = world.browser();
    const person = new Person(world);
    const begun = await browser.request(`${world.site}${place}`);
    assert.equal(begun.status, 302);
    const page = await person.logIn(browser, Browser.target(begun));
    assert.deepEqual([page.status, page.url], [200, `${world.site}${place}`]);
    return { browser, person };
  }

  const token = (request = world.received()) => receivedAll(request, 'x-access-token')[0];

  test('a person logs in and comes back to where they were', async () => {
    await loggedIn('/orders?page=3');
    const request = world.received();
    assert.equal(request.path, '/orders?page=3');
    assert.deepEqual(receivedAll(request, 'x-auth-email'), [PERSON.email]);
    assert.deepEqual(receivedAll(request, 'x-auth-name'), [PERSON.name]);
  });

  test(`a session whose access token has expired is refreshed once for ${REQUESTS} requests on two workers, again and again`, async () => {
    const { browser } = await loggedIn('/orders');
    for (const round of [1, 2]) {
      const first = token();
      const end = Date.now() + TOKEN_SECONDS * 1_000;
      await until('the access token is over', () => Date.now() > end);
      const cookie = browser.cookieHeader('/');
      world.upstream.requests.length = 0;
      const answers = await Promise.all(Array.from({ length: REQUESTS }, (_, i) => world.send(`/many/${i}`, { headers: { ...NAVIGATION, cookie } })));
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
      const tokens = new Set(world.upstream.requests.map(token));
      assert.equal(tokens.size, 1, `round ${round}: all go on with the same token`);
      assert.ok(!tokens.has(first), `round ${round}: and with a new one`);
      // The browser has got none of these responses: a late request with the old cookie gets the same token.
      assert.equal((await browser.get(`${world.site}/late`)).status, 200);
      assert.ok(tokens.has(token()));
    }
  });

  test('a logout here is one there, and the cookie from before is worthless', async () => {
    const { browser, person } = await loggedIn('/orders');
    const cookie = browser.cookieHeader('/');
    const out = await browser.request(`${world.site}/oidc/logout`, { headers: SAME_ORIGIN });
    assert.equal(out.status, 303);
    const back = await person.logOut(Browser.target(out));
    assert.ok(back, 'the provider sends the browser back');
    const page = await browser.get(back);
    assert.equal(page.status, 200);
    assert.equal(page.url.split('?')[0], `${world.site}/oidc/logged-out`);
    const copy = await world.send('/orders', { headers: { accept: 'application/json', cookie } });
    assert.equal(copy.status, 401);
  });

  test('a logout there ends the session here, on every worker', async () => {
    const { browser, person } = await loggedIn('/orders');
    await person.endSession(receivedAll(world.received(), 'x-auth-sid')[0]);
    const cookie = browser.cookieHeader('/');
    const request = () => world.send('/orders', { headers: { accept: 'application/json', cookie } });
    await until('the provider has notified the filter', async () => (await request()).status === 401);
    const answers = await Promise.all(Array.from({ length: 8 }, request));
    assert.deepEqual(new Set(answers.map((answer) => answer.header('x-vestibule-code'))), new Set(['session_revoked']));
  });
});
