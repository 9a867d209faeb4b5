// An unreachable provider, rotated keys, and wrong responses.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { NAVIGATION } from './client.mjs';
import { flipped, mint, strangersKey } from './tokens.mjs';
import { until, World } from './world.mjs';

test('a provider that is unreachable at the start: 503 with Retry-After, then recovery', async () => {
  const world = await World.start({ providerUp: false });
  try {
    // Only the provider's keys can show that it is forged.
    const key = { ...strangersKey(), kid: 'unseen' };
    const token = mint({ issuer: world.issuer, signingKey: () => key });
    for (const [path, headers] of [['/page', NAVIGATION], ['/api/orders', { authorization: `Bearer ${token}` }], ['/oidc/login', NAVIGATION]]) {
      const answer = await world.send(path, { headers });
      assert.equal(answer.status, 503, path);
      assert.match(answer.header('retry-after'), /^\d+$/);
      assert.match(answer.header('cache-control'), /no-store/);
    }
    assert.equal(world.upstream.requests.length, 0);
    assert.equal((await world.send('/public/', { headers: NAVIGATION })).status, 200, 'a public path needs no provider');
    await world.startProvider();
    await world.ready();
    const page = await world.browser().login(`${world.site}/orders?x=1`);
    assert.equal(page.url, `${world.site}/orders?x=1`);
    assert.equal(page.status, 200);
  } finally {
    await world.stop();
  }
});

test('a provider whose document names another issuer is never used', async () => {
  const world = await World.start({ providerUp: false });
  try {
    await world.startProvider();
    world.provider.intercept = (request, response) => {
      if (!request.url.startsWith('/.well-known/')) return false;
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({
        issuer: `${world.issuer}/`, authorization_endpoint: `${world.issuer}/auth`, token_endpoint: `${world.issuer}/token`,
        jwks_uri: `${world.issuer}/jwks`, response_types_supported: ['code'], subject_types_supported: ['public'], id_token_signing_alg_values_supported: ['RS256'],
      }));
      return true;
    };
    await until('the filter has fetched', () => world.provider.requests['/.well-known/openid-configuration'] > 0);
    for (let i = 0; i < 3; i += 1) assert.equal((await world.send('/page', { headers: NAVIGATION })).status, 503);
    assert.equal(world.upstream.requests.length, 0);
    assert.match(world.envoy.stderr, /issuer/, 'the log says which rule');
    world.provider.intercept = undefined;
    await world.ready();
  } finally {
    await world.stop();
  }
});

test('a request waits for a callout of the background instead of repeating it', async () => {
  const world = await World.start({ providerUp: false });
  try {
    await world.startProvider();
    const held = [];
    world.provider.intercept = (request) => (request.url === '/jwks' ? new Promise((resolve) => { held.push(() => resolve(false)); }) : false);
    await until('the keys are fetched', () => held.length > 0);
    const answers = Array.from({ length: 9 }, () => world.send('/page', { headers: NAVIGATION }));
    await until('the requests wait', async () => await world.inFlight() === answers.length);
    world.provider.intercept = undefined;
    held.forEach((release) => release());
    assert.deepEqual(new Set((await Promise.all(answers)).map(({ status }) => status)), new Set([302]));
    assert.equal(world.provider.requests['/jwks'], 1, 'one of all workers and the main thread');
  } finally {
    await world.stop();
  }
});

/** Requests that wait for the held responses of the provider; requests that are refused are sent again. */
async function waiting(world, count) {
  const held = [];
  world.provider.intercept = (request) => (request.url.startsWith('/.well-known/') ? new Promise((resolve) => { held.push(() => resolve(false)); }) : false);
  const requests = [];
  await until(`${count} requests wait`, async () => {
    for (let i = 0; i < count; i += 1) {
      if (requests[i] && requests[i].status !== 503) continue;
      const entry = {};
      entry.answer = new Promise((resolve) => {
        entry.request = http.get({ port: world.port, path: `/page${i}`, headers: NAVIGATION, agent: false }, (response) => {
          entry.status = response.statusCode;
          response.resume();
          resolve(response.statusCode);
        });
        entry.request.on('error', () => resolve('gone'));
      });
      requests[i] = entry;
    }
    await pause(50);
    return held.length > 0 && requests.every(({ status }) => status === undefined);
  });
  return { requests, release: () => { world.provider.intercept = undefined; held.forEach((answer) => answer()); } };
}

// One worker in the next two stories: with more, some requests would wait for a callout of their own.
test('requests that wait for the callout of another one are all answered', { timeout: 30_000 }, async () => {
  const world = await World.start({ providerUp: false, concurrency: 1 });
  try {
    await world.startProvider();
    const { requests, release } = await waiting(world, 5);
    release();
    // After the metadata each of them needs the keys.
    assert.deepEqual(await Promise.all(requests.map(({ answer }) => answer)), [302, 302, 302, 302, 302]);
  } finally {
    await world.stop();
  }
});

test('requests that wait for the callout of an abandoned one are all answered', { timeout: 30_000 }, async () => {
  const world = await World.start({ providerUp: false, concurrency: 1 });
  try {
    await world.startProvider();
    const { requests, release } = await waiting(world, 5);
    requests[0].request.destroy();
    assert.equal(await requests[0].answer, 'gone');
    release();
    assert.deepEqual(await Promise.all(requests.slice(1).map(({ answer }) => answer)), [302, 302, 302, 302]);
    assert.equal((await world.send('/later', { headers: NAVIGATION })).status, 302);
  } finally {
    await world.stop();
  }
});

// In its own world: fetches of keys are limited, and another story may have used them up.
test('the new keys of a provider that rotates in the middle of a login are fetched', async () => {
  const world = await World.start();
  try {
    const browser = world.browser();
    const callback = await browser.untilCallback(`${world.site}/rotated`);
    world.provider.rotateKeys();
    const page = await browser.get(callback);
    assert.equal(page.status, 200, page.text.slice(0, 400));
    assert.equal(page.url, `${world.site}/rotated`);
    assert.equal((await world.send('/api/orders', { headers: { authorization: `Bearer ${await world.token()}` } })).status, 200);
  } finally {
    await world.stop();
  }
});

for (const allowed of [false, true]) {
  test(`a body does not overtake the decision (allow_on_headers_stop_iteration: ${allowed})`, { timeout: 30_000 }, async () => {
    const world = await World.start({ plugin: { allow_on_headers_stop_iteration: allowed } });
    try {
      world.provider.rotateKeys();
      let release;
      let questions = 0;
      const requested = new Promise((resolve) => {
        world.provider.intercept = (request) => (request.url.startsWith('/jwks') ? new Promise((answer) => { questions += 1; release = () => answer(false); resolve(); }) : false);
      });
      const token = mint(world.provider);
      const body = 'x'.repeat(50_000);
      const answer = world.send('/api/orders', { method: 'POST', headers: { authorization: `Bearer ${token}` }, body });
      await requested;
      // When other requests have passed, Envoy has done whatever it does with the body.
      for (let i = 0; i < 3; i += 1) assert.equal((await world.send('/public/', { method: 'POST', body })).status, 200);
      assert.deepEqual(world.upstream.requests.filter(({ path }) => path === '/api/orders'), []);
      release();
      assert.equal((await answer).status, 200);
      assert.equal(world.received().body, body);
      assert.equal(questions, 1);
    } finally {
      await world.stop();
    }
  });
}

describe('a provider', () => {
  let world;
  before(async () => { world = await World.start(); });
  after(() => world?.stop());
  beforeEach(() => {
    world.provider.intercept = undefined;
    world.upstream.requests.length = 0;
  });

  /** Answers the token request itself, with changed claims of the provider. */
  const tokenAnswer = (make) => {
    let nonce;
    world.provider.intercept = (request, response) => {
      const url = new URL(request.url, world.issuer);
      if (url.pathname === '/auth') nonce = url.searchParams.get('nonce');
      if (url.pathname !== '/token') return false;
      request.resume();
      // With every claim that is needed: the userinfo endpoint would not accept the access token.
      const { status = 200, body } = make((claims, options) => mint(world.provider, {
        aud: 'vestibule-demo', sub: 'alice', email: 'alice@demo.example', name: 'Alice', roles: [], nonce, scope: undefined, client_id: undefined, jti: undefined, ...claims,
      }, { ...options, header: { typ: 'JWT', ...options?.header } }));
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(typeof body === 'string' ? body : JSON.stringify({ access_token: 'opaque', token_type: 'Bearer', expires_in: 300, ...body }));
      return true;
    };
  };

  test('that answers correctly with unusual values is accepted, so the forgeries below fail only for their fault', async () => {
    tokenAnswer((idToken) => ({ body: { id_token: idToken() } }));
    assert.equal((await world.browser().login(`${world.site}/page`)).status, 200);
  });

  const now = () => Math.floor(Date.now() / 1000);
  const forgeries = {
    'another nonce': (idToken) => ({ body: { id_token: idToken({ nonce: 'x' }) } }),
    'no nonce': (idToken) => ({ body: { id_token: idToken({ nonce: undefined }) } }),
    'another client': (idToken) => ({ body: { id_token: idToken({ aud: 'other' }) } }),
    'another authorized party': (idToken) => ({ body: { id_token: idToken({ azp: 'other' }) } }),
    'another issuer': (idToken) => ({ body: { id_token: idToken({ iss: 'https://evil.example' }) } }),
    'an expired ID token': (idToken) => ({ body: { id_token: idToken({ exp: now() - 3600 }) } }),
    'an ID token without iat': (idToken) => ({ body: { id_token: idToken({ iat: undefined }) } }),
    'a wrong at_hash': (idToken) => ({ body: { id_token: idToken({ at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' }) } }),
    'a signature with one bit turned': (idToken) => ({ body: { id_token: flipped(idToken()) } }),
    'the type of an access token': (idToken) => ({ body: { id_token: idToken({}, { header: { typ: 'at+jwt' } }) } }),
    'no ID token': () => ({ body: {} }),
    'another token type': (idToken) => ({ body: { id_token: idToken(), token_type: 'DPoP' } }),
    'two access tokens': (idToken) => ({ body: `{"access_token":"a","access_token":"b","token_type":"Bearer","id_token":"${idToken()}"}` }),
    'an error': () => ({ status: 400, body: '{"error":"invalid_grant","error_description":"<script>alert(1)</script>"}' }),
    'no JSON': () => ({ body: '<html>' }),
    'an answer of two megabytes': (idToken) => ({ body: { id_token: idToken(), more: 'x'.repeat(2_000_000) } }),
    'a failure': () => ({ status: 500, body: 'oops' }),
  };
  for (const [what, make] of Object.entries(forgeries)) {
    test(`that answers with ${what} admits nobody`, async () => {
      tokenAnswer(make);
      const browser = world.browser();
      const page = await browser.login(`${world.site}/page`);
      assert.ok(page.status >= 400, `status ${page.status}`);
      assert.match(page.url, /\/oidc\/callback\?/, 'no loop');
      assert.match(page.header('cache-control'), /no-store/);
      assert.doesNotMatch(page.text, /<script/i);
      assert.deepEqual(browser.cookiesOf(world.port).map(({ name }) => name), [], 'no session, and no login left');
      assert.equal(world.upstream.requests.length, 0);
    });
  }

  test('that does not answer the token request: the person gets an answer, the code is redeemed once', async () => {
    let requests = 0;
    world.provider.intercept = (request, response) => {
      if (request.url !== '/token') return false;
      requests += 1;
      response.destroy();
      return true;
    };
    const page = await world.browser().login(`${world.site}/page`);
    assert.ok([502, 503, 504].includes(page.status), `status ${page.status}`);
    assert.equal(requests, 1);
    assert.equal(world.upstream.requests.length, 0);
  });

  test('never sees cookies or credentials of the client', async () => {
    world.provider.received.length = 0;
    const browser = world.browser();
    browser.keep(1, 'foreign=canary-cookie; Path=/oidc');
    await browser.login(`${world.site}/page`);
    const calls = world.provider.received.filter(({ url }) => url === '/token');
    assert.equal(calls.length, 1);
    assert.equal(calls[0].headers.cookie, undefined);
    assert.match(calls[0].headers.authorization, /^Basic /);
  });

  test('that becomes unreachable later affects no session', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/page`);
    const token = await world.token();
    assert.equal((await world.send('/api/orders', { headers: { authorization: `Bearer ${token}` } })).status, 200);
    await world.provider.stop();
    assert.equal((await browser.request(`${world.site}/page`)).status, 200);
    assert.equal((await world.send('/api/orders', { headers: { authorization: `Bearer ${token}` } })).status, 200);
    assert.ok([302, 303].includes((await world.send('/page', { headers: NAVIGATION })).status));
    await world.startProvider();
  });
});
