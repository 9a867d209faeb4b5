// A session outlives its access token, with a provider that takes a second use of a refresh token for
// a theft, and with four workers that must agree.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { NAVIGATION } from './client.mjs';
import { until, World } from './world.mjs';

const WORKERS = 4;
const REQUESTS = 20;
/** Longer than the filter's shortest time between two renewals. */
const TOKEN_SECONDS = 11;

describe('a session whose access token is over', () => {
  let world;
  let browser;
  let renewals = 0;

  before(async () => {
    world = await World.start({
      concurrency: WORKERS,
      configure: (configuration) => { configuration.identity.access_token_header = 'x-access-token'; },
      provider: {
        accessTokenTtl: TOKEN_SECONDS,
        alter: (configuration) => {
          configuration.issueRefreshToken = async () => true;
          configuration.rotateRefreshToken = () => { renewals += 1; return true; };
        },
      },
    });
    browser = world.browser();
    const page = await browser.login(`${world.site}/orders`);
    assert.equal(page.status, 200);
  });
  after(() => world?.stop());

  /** Besides the one that redeemed the code. */
  const tokenRequests = () => world.provider.requests['/token'] - 1;

  const token = () => world.received().headers.find(([name]) => name.toLowerCase() === 'x-access-token')[1];

  async function overToken() {
    const end = Date.now() + TOKEN_SECONDS * 1_000;
    await until('the access token is over', () => Date.now() > end);
  }

  for (const round of [1, 2]) {
    test(`is renewed once for ${REQUESTS} requests on ${WORKERS} workers (${round})`, async () => {
      await browser.get(`${world.site}/before`);
      const first = token();
      await overToken();
      const cookie = browser.cookieHeader('/');
      world.upstream.requests.length = 0;
      const answers = await Promise.all(Array.from({ length: REQUESTS }, (_, i) => world.send(`/many/${i}`, { headers: { ...NAVIGATION, cookie } })));
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
      assert.deepEqual([renewals, tokenRequests()], [round, round]);
      const told = new Set(world.upstream.requests.map(({ headers }) => headers.find(([name]) => name.toLowerCase() === 'x-access-token')[1]));
      assert.equal(told.size, 1, 'all go on with the same token');
      assert.ok(!told.has(first), 'and with a new one');
      const late = await world.send('/late', { headers: { ...NAVIGATION, cookie } });
      assert.equal(late.status, 200);
      assert.match(late.all('set-cookie').join(), /vestibule/, 'who comes late gets the new session too');
      assert.deepEqual([renewals, tokenRequests()], [round, round]);
      assert.equal((await browser.get(`${world.site}/after`)).status, 200);
    });
  }

  test('that the provider has ended leads to a login, once', async () => {
    await overToken();
    world.provider.intercept = (request, response) => {
      if (request.url !== '/token') return false;
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: 'invalid_grant' }));
      return true;
    };
    const cookie = browser.cookieHeader('/');
    const script = await world.send('/data', { headers: { 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'same-origin', cookie } });
    assert.equal(script.status, 401);
    assert.equal(script.header('x-vestibule-code'), 'session_not_renewed');
    const page = await world.send('/page', { headers: { ...NAVIGATION, cookie } });
    assert.equal(page.status, 302);
    world.provider.intercept = undefined;
    // The provider still knows the person, so nobody is asked for a password.
    const again = await browser.get(`${world.site}/orders?again=1`);
    assert.equal(again.url, `${world.site}/orders?again=1`);
  });
});
