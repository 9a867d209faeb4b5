// A session outlives its access token, with a provider that treats a second use of a refresh token as theft,
// and with four workers that must agree.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { NAVIGATION } from './client.mjs';
import { receivedAll, until, World } from './world.mjs';

const WORKERS = 4;
const REQUESTS = 20;
const SESSIONS = 100;
const ROUNDS = 10;
const SHORT_TOKEN_SECONDS = 2;
/** Long enough that a refreshed token is still valid while the test checks it. */
const TOKEN_SECONDS = 11;

describe('a session whose access token has expired', () => {
  let world;
  let browser;
  let watched;
  let loggedInAt;
  let refreshes = 0;

  before(async () => {
    world = await World.start({
      concurrency: WORKERS,
      configure: (configuration) => { configuration.identity.access_token_header = 'x-access-token'; },
      provider: {
        accessTokenTtl: TOKEN_SECONDS,
        alter: (configuration) => {
          configuration.issueRefreshToken = async () => true;
          configuration.rotateRefreshToken = () => { refreshes += 1; return true; };
        },
      },
    });
    [browser, watched] = [world.browser(), world.browser()];
    for (const person of [browser, watched]) assert.equal((await person.login(`${world.site}/orders`)).status, 200);
    loggedInAt = Date.now();
  });
  after(() => world?.stop());

  const tokenOf = (request) => receivedAll(request, 'x-access-token')[0];
  const token = () => tokenOf(world.received());

  async function overToken(since = Date.now()) {
    const end = since + TOKEN_SECONDS * 1_000;
    await until('the access token is over', () => Date.now() > end);
  }

  test(`is refreshed once for ${REQUESTS} requests on ${WORKERS} workers, ${SESSIONS} sessions in a row`, async () => {
    const sessions = [];
    for (let i = 0; i < SESSIONS; i += 1) {
      const person = world.browser();
      assert.equal((await person.login(`${world.site}/orders`)).status, 200);
      sessions.push({ person, first: token() });
    }
    await overToken();
    for (const [i, { person, first }] of sessions.entries()) {
      const [refreshedBefore, requestsBefore] = [refreshes, world.provider.requests['/token']];
      const cookie = person.cookieHeader('/');
      world.upstream.requests.length = 0;
      const answers = await Promise.all(Array.from({ length: REQUESTS }, (_, n) => world.send(`/many/${n}`, { headers: { ...NAVIGATION, cookie } })));
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]), `session ${i}`);
      const tokens = new Set(world.upstream.requests.map(tokenOf));
      assert.equal(tokens.size, 1, `session ${i}: all go on with the same token`);
      assert.ok(!tokens.has(first), `session ${i}: and with a new one`);
      const late = await world.send('/late', { headers: { ...NAVIGATION, cookie } });
      assert.equal(late.status, 200);
      assert.match(late.all('set-cookie').join(), /vestibule/, 'who comes late gets the new session too');
      assert.ok(tokens.has(token()));
      assert.deepEqual([refreshes - refreshedBefore, world.provider.requests['/token'] - requestsBefore], [1, 1], `session ${i}`);
    }
    // Every session goes on, with the cookie of the last response.
    for (const { person } of sessions) assert.equal((await person.request(`${world.site}/after`)).status, 200);
  });

  test(`is refreshed ${ROUNDS} times in a row, and nobody is logged out`, async () => {
    world.alterTokens((answer) => ({ ...answer, expires_in: SHORT_TOKEN_SECONDS }));
    const person = world.browser();
    assert.equal((await person.login(`${world.site}/orders`)).status, 200);
    const before = refreshes;
    let last = token();
    for (let round = 1; round <= ROUNDS; round += 1) {
      const since = Date.now();
      // The filter counts whole seconds.
      await until('the access token is over', () => Date.now() > since + (SHORT_TOKEN_SECONDS + 1) * 1_000);
      world.upstream.requests.length = 0;
      const answers = await Promise.all(Array.from({ length: REQUESTS }, (_, n) => person.request(`${world.site}/round/${round}/${n}`)));
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]), `round ${round}`);
      assert.ok(world.upstream.requests.every((request) => tokenOf(request) !== last), `round ${round}`);
      last = token();
    }
    world.provider.intercept = undefined;
    // On a slow machine a round may need two refreshes. A second use of a token would have ended everything.
    assert.ok(refreshes - before >= ROUNDS, `${refreshes - before}`);
    assert.equal((await person.request(`${world.site}/after`)).status, 200);
  });

  test(`is refreshed once by ${REQUESTS} requests of a script for session information`, async () => {
    await overToken(loggedInAt);
    const requestsBefore = world.provider.requests['/token'];
    const headers = { accept: '*/*', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin' };
    const before = watched.cookieHeader('/');
    world.upstream.requests.length = 0;
    const answers = await Promise.all(Array.from({ length: REQUESTS }, () => watched.request(`${world.site}/oidc/session`, { headers })));
    for (const answer of answers) {
      assert.deepEqual([answer.status, answer.json().claims], [200, { sub: 'alice' }]);
      assert.match(answer.all('set-cookie').join(), /vestibule=/);
    }
    assert.notEqual(watched.cookieHeader('/'), before);
    assert.equal(world.provider.requests['/token'] - requestsBefore, 1);
    assert.deepEqual(world.upstream.requests, []);
    // The page of the script continues with the new session, without another refresh.
    assert.equal((await watched.request(`${world.site}/page`)).status, 200);
    assert.equal(world.provider.requests['/token'] - requestsBefore, 1);
  });

  test('that the provider has ended leads to a login, once', async () => {
    await overToken(loggedInAt);
    world.provider.intercept = (request, response) => {
      if (request.url !== '/token') return false;
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: 'invalid_grant' }));
      return true;
    };
    const cookie = browser.cookieHeader('/');
    const script = await world.send('/data', { headers: { 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'same-origin', cookie } });
    assert.equal(script.status, 401);
    assert.equal(script.header('x-vestibule-code'), 'session_not_refreshed');
    const page = await world.send('/page', { headers: { ...NAVIGATION, cookie } });
    assert.equal(page.status, 302);
    world.provider.intercept = undefined;
    // The provider still knows the person, so there is no prompt.
    const again = await browser.get(`${world.site}/orders?again=1`);
    assert.equal(again.url, `${world.site}/orders?again=1`);
  });
});
