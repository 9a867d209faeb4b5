// Faults during refreshes: strange lifetimes, clients that disconnect, another person, and an unreachable
// provider. Two workers.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';
import { NAVIGATION } from './client.mjs';
import { mint } from './tokens.mjs';
import { receivedAll, until, World } from './world.mjs';

const REQUESTS = 20;
/** Long enough that a refreshed token is still valid while the test checks it. */
const TOKEN_SECONDS = 11;
/** In its last quarter the token is refreshed although it is still valid. */
const LONG_TOKEN_SECONDS = 20;
const SCRIPT = { accept: '*/*', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin' };

describe('a refresh', () => {
  let world;
  const people = {};

  /** Holds the responses of the token endpoint. */
  function holdTokens() {
    const held = [];
    world.provider.intercept = (request) => (request.url === '/token' ? new Promise((resolve) => { held.push(() => resolve(false)); }) : false);
    return { held, release: () => { world.provider.intercept = undefined; held.forEach((answer) => answer()); } };
  }

  const LIFETIMES = {
    early: { expires_in: LONG_TOKEN_SECONDS }, silent: { expires_in: undefined }, hasty: { expires_in: 0 },
  };

  before(async () => {
    const kept = {};
    world = await World.start({
      configure: (configuration) => {
        configuration.identity.access_token_header = 'x-access-token';
        configuration.providers.demo.default_expires_in_seconds = TOKEN_SECONDS;
      },
      provider: {
        accessTokenTtl: TOKEN_SECONDS,
        alter: (configuration) => {
          configuration.issueRefreshToken = async () => true;
          configuration.rotateRefreshToken = () => true;
          // What the provider stored survives its restart.
          for (const name of ['adapter', 'jwks']) configuration[name] = kept[name] ??= configuration[name];
        },
      },
    });
    for (const name of ['early', 'silent', 'hasty', 'leaving', 'same', 'other', 'patient']) {
      world.alterTokens((answer) => ({ ...answer, ...LIFETIMES[name] }));
      const browser = world.browser();
      assert.equal((await browser.login(`${world.site}/orders`)).status, 200);
      people[name] = { browser, cookie: browser.cookieHeader('/'), first: token(), end: Date.now() + TOKEN_SECONDS * 1_000 };
    }
  });
  after(() => world?.stop());
  beforeEach(() => {
    world.provider.intercept = undefined;
    world.upstream.requests.length = 0;
  });

  const token = (request = world.received()) => receivedAll(request, 'x-access-token')[0];
  const tokenRequests = () => world.provider.requests['/token'] ?? 0;
  const request = ({ cookie }, headers = NAVIGATION) => world.send('/page', { headers: { ...headers, cookie } });
  const over = ({ end }) => until('the access token is over', () => Date.now() > end);

  /** Many requests at once, all let through: the access tokens that the upstream got. */
  async function forwardedTokens(person, cookie = person.cookie) {
    world.upstream.requests.length = 0;
    const answers = await Promise.all(Array.from({ length: REQUESTS }, () => request({ cookie })));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    return [...new Set(world.upstream.requests.map((request) => token(request)))];
  }

  // First, because the tokens of the others expire in the meantime.
  test('is made before the token expires, and no request waits for it', async () => {
    const { early } = people;
    const before = tokenRequests();
    const { held, release } = holdTokens();
    await until('the token is refreshed', async () => {
      assert.equal((await request(early)).status, 200);
      return held.length > 0;
    });
    assert.deepEqual(await forwardedTokens(early), [early.first]);
    release();
    await until('the new token is there', async () => {
      assert.equal((await request(early)).status, 200);
      return token() !== early.first;
    });
    assert.equal(tokenRequests() - before, 1);
  });

  test('is due in time where the provider gives no lifetimes', async () => {
    const { silent } = people;
    await over(silent);
    const before = tokenRequests();
    const tokens = await forwardedTokens(silent);
    assert.equal(tokens.length, 1);
    assert.notEqual(tokens[0], silent.first);
    assert.equal(tokenRequests() - before, 1);
  });

  test('of a token that expires at once is one for many requests, and is not repeated at once', async () => {
    const { hasty } = people;
    await over(hasty);
    world.alterTokens((answer) => ({ ...answer, ...LIFETIMES.hasty }));
    const before = tokenRequests();
    const tokens = await forwardedTokens(hasty);
    assert.equal(tokens.length, 1);
    assert.notEqual(tokens[0], hasty.first);
    assert.equal((await hasty.browser.request(`${world.site}/page`)).status, 200);
    assert.notEqual(hasty.browser.cookieHeader('/'), hasty.cookie);
    assert.deepEqual(await forwardedTokens(hasty, hasty.browser.cookieHeader('/')), tokens);
    assert.equal(tokenRequests() - before, 1);
  });

  test('is not lost with the client that waited for it', async () => {
    const { leaving } = people;
    await over(leaving);
    const before = tokenRequests();
    const { held, release } = holdTokens();
    const request = http.get({ port: world.port, path: '/page', headers: { ...NAVIGATION, cookie: leaving.cookie }, agent: false });
    request.on('error', () => undefined);
    await until('the provider gets the request', () => held.length > 0);
    request.destroy();
    await until('Envoy knows that the client has left', async () => await world.inFlight() === 0);
    release();
    const tokens = await forwardedTokens(leaving);
    assert.equal(tokens.length, 1);
    assert.notEqual(tokens[0], leaving.first);
    assert.equal(tokenRequests() - before, 1, 'the refresh token is not used a second time');
  });

  /** Makes the ID token of a refresh name this person, signed by the provider. */
  const refreshedAbout = (sub) => world.alterTokens((answer) => {
    const claims = JSON.parse(Buffer.from(answer.id_token.split('.')[1], 'base64url'));
    const nothingElse = { scope: undefined, client_id: undefined, jti: undefined };
    return { ...answer, id_token: mint(world.provider, { ...nothingElse, ...claims, sub }, { header: { typ: 'JWT' } }) };
  });

  test('with an ID token about the same person keeps the session', async () => {
    const { same } = people;
    await over(same);
    refreshedAbout('alice');
    assert.equal((await request(same, SCRIPT)).status, 200);
    assert.deepEqual(receivedAll(world.received(), 'x-auth-sub'), ['alice']);
    assert.notEqual(token(), same.first);
  });

  test('with an ID token about another person ends the session, on every worker', async () => {
    const { other } = people;
    await over(other);
    refreshedAbout('bob');
    const answer = await request(other, SCRIPT);
    assert.deepEqual([answer.status, answer.header('x-vestibule-code')], [401, 'session_not_refreshed']);
    const again = await Promise.all(Array.from({ length: REQUESTS }, () => request(other)));
    assert.deepEqual(new Set(again.map(({ status }) => status)), new Set([302]));
    assert.deepEqual(world.upstream.requests, []);
  });

  // Last, because refreshes stop for a while afterwards.
  test('waits for an unreachable provider, without an effect on requests', async () => {
    const { patient } = people;
    await over(patient);
    await world.provider.stop();
    for (let round = 0; round < 3; round += 1) assert.deepEqual(await forwardedTokens(patient), [patient.first]);
    await world.startProvider();
    await until('the token is refreshed', async () => {
      assert.equal((await request(patient)).status, 200);
      return token() !== patient.first;
    });
    assert.equal((await forwardedTokens(patient)).length, 1);
    assert.equal(tokenRequests(), 1);
    assert.equal((await patient.browser.request(`${world.site}/after`)).status, 200);
  });
});
