// Parameters of the authorization request, and pages that require a certain kind of login or a recent one,
// with a provider that honours this or does not.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { API, TWO_FACTORS } from '../envoy/provider/provider.mjs';
import { NAVIGATION } from './client.mjs';
import { until, World } from './world.mjs';

const WORKERS = 2;
const MAX_AGE_SECONDS = 10;
const SCRIPT = { accept: '*/*', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin' };

/** The parameters of the authorization request in a response. */
function authorizationRequest(answer) {
  assert.equal(answer.status, 302, answer.text.slice(0, 300));
  return new URL(answer.header('location')).searchParams;
}

describe('step-up', () => {
  let world;
  before(async () => {
    world = await World.start({
      concurrency: WORKERS,
      configure: (configuration) => {
        Object.assign(configuration.providers.demo, {
          leeway_seconds: 0,
          parameters_from_request: { login_hint: { pattern: '[a-z]{1,32}' }, prompt: ['login'] },
        });
        // With this endpoint a worker checks at each request whether the session has ended.
        configuration.endpoints = { backchannel_logout: '/oidc/backchannel-logout' };
        configuration.rules.unshift(
          { name: 'pay', path_prefix: '/pay', authentication: { acr_values: [TWO_FACTORS] } },
          { name: 'recent', path_prefix: '/recent', authentication: { max_age_seconds: MAX_AGE_SECONDS } },
        );
      },
      provider: {
        alter: (configuration) => {
          // The scope of the machine's request selects whose authentication its token has.
          configuration.formats = {
            customizers: {
              jwt: (_ctx, token, { payload }) => {
                if (token.scope?.includes('orders.write')) payload.acr = TWO_FACTORS;
                payload.auth_time = payload.iat;
              },
            },
          };
        },
      },
    });
  });
  after(() => world?.stop());

  const sessionOf = (browser) => browser.cookies.find(({ name }) => name === 'vestibule')?.value;

  test('a person needs the second factor, and returns to the page', async () => {
    const browser = world.browser();
    assert.equal((await browser.login(`${world.site}/orders`)).status, 200);
    const page = await browser.get(`${world.site}/pay/now?to=bob`);
    assert.ok(page.url.startsWith(world.issuer), page.url);
    assert.match(page.text, /name="code"/);
    const paid = await browser.submit(page, { login: 'alice', password: 'x', code: '123456' });
    assert.deepEqual([paid.status, paid.url], [200, `${world.site}/pay/now?to=bob`], paid.text.slice(0, 300));
    const answers = await Promise.all(Array.from({ length: 12 }, () => world.send('/pay', { headers: { ...NAVIGATION, cookie: browser.cookieHeader('/') } })));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]), 'every worker knows');
  });

  test('without the second factor a page says so, and the session stays as it was', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/orders`);
    const session = sessionOf(browser);
    const refused = await browser.submit(await browser.get(`${world.site}/pay`), { login: 'alice', password: 'x' });
    assert.deepEqual([refused.status, refused.header('x-vestibule-code')], [403, 'step_up_not_met'], refused.text.slice(0, 300));
    assert.equal(sessionOf(browser), session);
    assert.equal((await browser.get(`${world.site}/orders`)).status, 200);
    // There is no loop: the next attempt is the person's own.
    const again = await browser.submit(await browser.get(`${world.site}/pay`), { login: 'alice', password: 'x', code: '1' });
    assert.deepEqual([again.status, again.url], [200, `${world.site}/pay`]);
  });

  test('a cancelled step-up keeps the session', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/orders`);
    const session = sessionOf(browser);
    const page = await browser.get(`${world.site}/pay`);
    const cancelled = await browser.submit(page, {}, { action: `${/action="([^"]*)\/login"/.exec(page.text)[1]}/cancel` });
    assert.deepEqual([cancelled.status, cancelled.header('x-vestibule-code')], [403, 'authorization_refused']);
    assert.equal(sessionOf(browser), session);
  });

  test('another person gets their own session', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/orders`, 'alice');
    const alice = browser.cookieHeader('/');
    // Alice has logged out at the provider.
    browser.cookies = browser.cookiesOf(world.port);
    const page = await browser.submit(await browser.get(`${world.site}/pay`), { login: 'bob', password: 'x', code: '1' });
    assert.deepEqual([page.status, page.url], [200, `${world.site}/pay`], page.text.slice(0, 300));
    assert.equal(Object.fromEntries(world.received().headers)['x-auth-sub'], 'bob');
    const old = await world.send('/orders', { headers: { ...SCRIPT, cookie: alice } });
    assert.deepEqual([old.status, old.header('x-vestibule-code')], [401, 'session_logged_out']);
  });

  test('a script gets the challenge and the address of the step-up', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/orders`);
    const answer = await browser.request(`${world.site}/pay`, { headers: SCRIPT });
    assert.equal(answer.status, 401);
    assert.match(answer.header('www-authenticate'), /error="insufficient_user_authentication".*acr_values="urn:demo:two-factors"/);
    const { code, login } = answer.json();
    assert.equal(code, 'authentication_acr');
    const page = await browser.get(`${world.site}${login}&return_to=/orders`);
    const back = await browser.submit(page, { login: 'alice', password: 'x', code: '1' });
    assert.deepEqual([back.status, back.url], [200, `${world.site}/orders`]);
    assert.equal((await browser.request(`${world.site}/pay`, { headers: SCRIPT })).status, 200);
  });

  test('a page that needs a recent login requests one when it is no longer recent', async () => {
    const browser = world.browser();
    // The first login is the recent one.
    assert.equal((await browser.login(`${world.site}/recent`)).status, 200);
    let answer;
    await until('the login is old', async () => {
      answer = await browser.request(`${world.site}/recent`);
      return answer.status !== 200;
    });
    assert.equal(authorizationRequest(answer).get('max_age'), String(MAX_AGE_SECONDS));
    assert.equal((await browser.request(`${world.site}/orders`)).status, 200, 'elsewhere it counts');
    const page = await browser.follow(answer);
    assert.ok(page.url.startsWith(world.issuer), 'the provider shows its form again');
    assert.equal((await browser.submit(page, { login: 'alice', password: 'x' })).url, `${world.site}/recent`);
  });

  test('a token is checked for the same authentication', async () => {
    const request = async (scope) => {
      const token = await world.token({ scope });
      return world.send('/pay', { headers: { authorization: `Bearer ${token}` } });
    };
    const refused = await request('orders.read');
    assert.equal(refused.status, 401);
    assert.match(refused.header('www-authenticate'), /error="insufficient_user_authentication"/);
    assert.equal((await request('orders.read orders.write')).status, 200);
  });

  test('a websocket with an insufficient session gets 401', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/orders`);
    const headers = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version': '13' };
    const answer = await browser.request(`${world.site}/pay`, { headers });
    assert.deepEqual([answer.status, answer.header('x-vestibule-code')], [401, 'authentication_acr']);
  });

  test('the login address forwards listed parameters, and nothing else', async () => {
    const query = 'return_to=/orders&login_hint=alice&prompt=login&ui_locales=de&client_id=evil&redirect_uri=https://evil.example&state=evil&scope=admin&max_age=0';
    const parameters = authorizationRequest(await world.send(`/oidc/login?${query}`, { headers: NAVIGATION }));
    assert.deepEqual([parameters.get('login_hint'), parameters.get('prompt')], ['alice', 'login']);
    assert.deepEqual([parameters.get('ui_locales'), parameters.get('max_age')], [null, null]);
    assert.equal(parameters.get('client_id'), 'vestibule-demo');
    assert.equal(parameters.get('redirect_uri'), `${world.site}/oidc/callback`);
    for (const name of ['client_id', 'redirect_uri', 'state', 'scope']) {
      assert.equal(parameters.getAll(name).length, 1);
      assert.notEqual(parameters.get(name), 'evil');
    }
    // With `prompt=login` the provider shows its form even to a known person.
    const browser = world.browser();
    await browser.login(`${world.site}/orders`);
    const page = await browser.get(`${world.site}/oidc/login?return_to=/orders&prompt=login`);
    assert.match(page.text, /name="password"/);
    assert.equal((await browser.get(`${world.site}/oidc/login?return_to=/orders`)).url, `${world.site}/orders`);
  });
});

describe('the parameters of every login', () => {
  let world;
  before(async () => {
    world = await World.start({
      concurrency: WORKERS,
      configure: (configuration) => {
        const { demo } = configuration.providers;
        Object.assign(demo, {
          authorization_parameters: { resource: API, audience: API },
          parameters_from_request: { ui_locales: ['de', 'en'] },
          max_age_seconds: 0,
        });
        demo.scopes.push('orders.read');
        configuration.identity.access_token_header = 'x-access-token';
        configuration.identity.headers['x-auth-time'] = 'auth_time';
      },
    });
  });
  after(() => world?.stop());

  const forwarded = (name) => Object.fromEntries(world.received().headers)[name];

  test('a resource makes the access token one for the API', async () => {
    const browser = world.browser();
    assert.equal((await browser.login(`${world.site}/orders`)).status, 200);
    const token = forwarded('x-access-token');
    const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
    assert.equal(claims.aud, API);
    const answer = await world.send('/api/orders', { headers: { authorization: `Bearer ${token}` } });
    assert.equal(answer.status, 200, answer.text);
  });

  test('the provider receives the audience, and a language that the person may choose', async () => {
    for (const [query, locales] of [['', []], ['&ui_locales=de', ['de']], ['&ui_locales=fr', []]]) {
      world.provider.received.length = 0;
      const page = await world.browser().login(`${world.site}/oidc/login?return_to=/orders${query}`);
      assert.deepEqual([page.status, page.url], [200, `${world.site}/orders`]);
      const [{ url }, ...more] = world.provider.received.filter((request) => request.url.startsWith('/auth?'));
      const parameters = new URL(url, world.issuer).searchParams;
      assert.deepEqual(more, []);
      assert.deepEqual(['audience', 'ui_locales', 'max_age'].map((name) => parameters.getAll(name)), [[API], locales, ['0']]);
    }
  });

  test('with max_age 0 the provider authenticates a known person again, and says when', async () => {
    const browser = world.browser();
    const page = await browser.login(`${world.site}/orders`);
    assert.equal(page.status, 200, page.text.slice(0, 300));
    const first = Number(forwarded('x-auth-time'));
    assert.ok(first > 0);
    browser.cookies = browser.cookies.filter(({ port }) => port !== world.port);
    const question = await browser.get(`${world.site}/orders?again=1`);
    assert.match(question.text, /name="password"/);
    const again = await browser.submit(question, { login: 'alice', password: 'x' });
    assert.deepEqual([again.status, again.url], [200, `${world.site}/orders?again=1`]);
    assert.ok(Number(forwarded('x-auth-time')) >= first);
  });
});
