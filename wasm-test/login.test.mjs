// A person logs in, the upstream gets the identity, and the person logs out.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { Browser, NAVIGATION, send2 } from './client.mjs';
import { World, receivedAll, until } from './world.mjs';

const SPOOFED = [['x-auth-sub', 'mallory'], ['X_Auth_Sub', 'mallory'], ['x.auth.sub', 'mallory'], ['X-AUTH-ROLES', 'admin'], ['x-auth_email', 'm@evil.example']];

describe('a person', () => {
  let world;
  before(async () => { world = await World.start(); });
  after(() => world?.stop());
  beforeEach(() => {
    world.provider.intercept = undefined;
    world.upstream.requests.length = 0;
  });

  for (const requested of ['/', '/orders?from=2024&to=2025', '/a%252fb?x=%2520&y=//', '/caf%C3%A9/%7Euser?q=a+b&q=%26', '/x?return_to=https://evil.example/', '/?', '/long?'.padEnd(1500, 'q')]) {
    test(`returns to the requested address: ${requested.slice(0, 40)}`, async () => {
      const browser = world.browser();
      const page = await browser.login(`${world.site}${requested}`);
      assert.equal(page.status, 200, page.text.slice(0, 500));
      assert.equal(page.url, `${world.site}${requested}`);
      assert.equal(world.received().path, requested);
      assert.equal(world.upstream.requests.length, 1, 'nothing but the requested page reached the upstream');
    });
  }

  test('reaches the upstream with an identity', async () => {
    await world.browser().login(`${world.site}/orders`);
    const request = world.received();
    assert.deepEqual(receivedAll(request, 'x-auth-sub'), ['alice']);
    assert.deepEqual(receivedAll(request, 'x-auth-email'), ['alice@demo.example']);
    assert.deepEqual(receivedAll(request, 'x-auth-name'), ['Alice Example']);
    const [roles, ...more] = receivedAll(request, 'x-auth-roles');
    assert.match(roles, /admin.*user/);
    assert.deepEqual(more, []);
  });

  test('needs one login for many requests', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/one`);
    const logins = world.provider.requests['/token'];
    for (const path of ['/two', '/three?x=1']) assert.equal((await browser.request(`${world.site}${path}`)).status, 200);
    assert.equal(world.provider.requests['/token'], logins);
  });

  test('with a session at the provider logs in without a prompt', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`);
    for (const { name } of browser.cookiesOf(world.port)) browser.cookies = browser.cookies.filter((cookie) => cookie.name !== name);
    assert.equal((await browser.get(`${world.site}/again`)).url, `${world.site}/again`);
  });

  test('has cookies that scripts cannot read and other sites cannot use', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`);
    const ours = browser.cookiesOf(world.port);
    assert.ok(ours.length > 0);
    for (const { line } of ours) {
      assert.match(line, /; *HttpOnly/i);
      assert.match(line, /; *SameSite=Lax/i);
      assert.match(line, /; *Path=\//i);
      assert.doesNotMatch(line, /; *Domain=/i);
    }
  });

  test('leaves no login cookie behind', async () => {
    const browser = world.browser();
    const during = new Set();
    await browser.get(`${world.site}/`);
    for (const { name } of browser.cookiesOf(world.port)) during.add(name);
    assert.equal(during.size, 1, 'one cookie for one login in flight');
    await browser.login(`${world.site}/`);
    const left = browser.cookiesOf(world.port).filter(({ name }) => during.has(name));
    assert.ok(left.length <= 1, 'a finished login leaves no cookie; the abandoned one may stay until its end');
  });

  test('keeps foreign cookies, and none of ours reaches the upstream', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`);
    const ours = browser.cookiesOf(world.port);
    for (const path of ['/private', '/public/page']) {
      await world.send(path, { headers: { ...NAVIGATION, cookie: `first=1; ${ours.map(({ name, value }) => `${name}=${value}`).join('; ')}; q="x y"; last=a==b` } });
      const cookies = receivedAll(world.received(), 'cookie').join('; ');
      assert.equal(world.received().path, path);
      assert.equal(cookies, 'first=1; q="x y"; last=a==b');
    }
    for (const { name, value } of ours) {
      await world.send('/public/', { headers: { ...NAVIGATION, cookie: `${name}=${value}` } });
    }
    const text = JSON.stringify(world.upstream.requests);
    for (const { name, value } of ours) assert.ok(!text.includes(`${name}=`) && !text.includes(value));
  });

  test('is recognised by a session in several HTTP/2 cookie fields', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`);
    const crumbs = ['a=1', ...browser.cookiesOf(world.port).map(({ name, value }) => `${name}=${value}`), 'b=2'];
    const answer = await send2(world.port, '/crumbs', { headers: { ...NAVIGATION, accept: 'application/json', cookie: crumbs } });
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(receivedAll(world.received(), 'x-auth-sub'), ['alice']);
    assert.equal(receivedAll(world.received(), 'cookie').join('; '), 'a=1; b=2');
  });

  test('cannot pretend to be somebody else', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`, 'bob');
    const answer = await browser.request(`${world.site}/orders`, { headers: [...Object.entries(NAVIGATION), ...SPOOFED, ...SPOOFED] });
    assert.equal(answer.status, 200);
    const request = world.received();
    assert.deepEqual(receivedAll(request, 'x-auth-sub'), ['bob']);
    assert.deepEqual(receivedAll(request, 'x-auth-email'), ['bob@demo.example']);
    assert.deepEqual(receivedAll(request, 'x-auth-roles').length, 1);
    assert.ok(!JSON.stringify(request).includes('mallory'));
  });

  test('sends no identity on a public path, whatever the client claims', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`);
    for (const client of [browser, world.browser()]) {
      const answer = await client.request(`${world.site}/public/page?x=1`, { headers: [...Object.entries(NAVIGATION), ...SPOOFED] });
      assert.equal(answer.status, 200);
      assert.equal(world.received().path, '/public/page?x=1');
      for (const name of ['x-auth-sub', 'x-auth-email', 'x-auth-name', 'x-auth-roles']) assert.deepEqual(receivedAll(world.received(), name), []);
    }
  });

  test('without the right role gets 403, and with it the page', async () => {
    const [alice, bob] = [world.browser(), world.browser()];
    assert.equal((await alice.login(`${world.site}/admin`, 'alice')).status, 200);
    world.upstream.requests.length = 0;
    assert.equal((await bob.login(`${world.site}/admin`, 'bob')).status, 403);
    assert.equal((await bob.request(`${world.site}/admin/users`)).status, 403);
    assert.equal(world.upstream.requests.length, 0);
  });

  test('completes five logins in any order', async () => {
    const browser = world.browser();
    const tabs = [];
    for (const tab of [1, 2, 3, 4, 5]) tabs.push({ address: `/tab/${tab}?n=${tab}`, page: await browser.get(`${world.site}/tab/${tab}?n=${tab}`) });
    for (const index of [2, 0, 4, 1, 3]) {
      const { address, page } = tabs[index];
      const last = await browser.submit(page, { login: 'alice', password: 'x' });
      assert.equal(last.status, 200, `${address}: ${last.text.slice(0, 300)}`);
      assert.equal(last.url, `${world.site}${address}`);
    }
  });

  test('who cancels at the provider sees a page and is not redirected again', async () => {
    const browser = world.browser();
    const form = await browser.get(`${world.site}/orders`);
    const page = await browser.submit(form, {}, { action: /formaction="([^"]*)"/.exec(form.text)[1] });
    assert.ok([401, 403].includes(page.status), `status ${page.status}`);
    assert.match(page.url, /\/oidc\/callback\?/);
    assert.match(page.header('content-type'), /^text\/html/);
    assert.match(page.header('cache-control'), /no-store/);
    assert.match(page.header('content-security-policy'), /default-src 'none'/);
    assert.match(page.header('content-security-policy'), /frame-ancestors 'none'/);
    assert.equal(page.header('x-content-type-options'), 'nosniff');
    assert.doesNotMatch(page.text, /<script/i);
    assert.equal(world.upstream.requests.length, 0);
  });

  test('whose browser drops the session cookie is refused after at most three attempts', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/first`);
    const sessionNames = new Set(browser.cookiesOf(world.port).map(({ name }) => name));
    const keep = browser.keep.bind(browser);
    browser.keep = (port, line) => (port === world.port && sessionNames.has(line.split('=')[0]) ? undefined : keep(port, line));
    browser.cookies = browser.cookies.filter(({ name }) => !sessionNames.has(name));
    browser.visited.length = 0;
    world.upstream.requests.length = 0;
    const page = await browser.get(`${world.site}/loop`);
    assert.ok(page.status >= 400 && page.status < 500, `status ${page.status}`);
    assert.match(page.header('content-type'), /^text\/html/);
    assert.ok(browser.visited.filter(({ url }) => url.includes('/oidc/callback')).length <= 3);
    assert.equal(world.upstream.requests.length, 0);
  });

  test('whose browser keeps no cookie at all is refused at the first callback', async () => {
    const browser = world.browser();
    const keep = browser.keep.bind(browser);
    browser.keep = (port, line) => (port === world.port ? undefined : keep(port, line));
    const page = await browser.login(`${world.site}/loop`);
    assert.equal(page.status, 400);
    assert.match(page.url, /\/oidc\/callback\?/);
    assert.equal(world.upstream.requests.length, 0);
  });

  test('with a session that was changed in any part has none', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`);
    const ours = browser.cookiesOf(world.port);
    world.upstream.requests.length = 0;
    for (const [index, { name, value }] of ours.entries()) {
      for (let at = 0; at < value.length; at += Math.max(1, Math.floor(value.length / 40))) {
        const changed = value.slice(0, at) + (value[at] === 'A' ? 'B' : 'A') + value.slice(at + 1);
        const cookie = ours.map((one, i) => `${one.name}=${i === index ? changed : one.value}`).join('; ');
        const answer = await world.send('/private', { headers: { ...NAVIGATION, cookie } });
        assert.ok([302, 303].includes(answer.status), `${name} changed at ${at}: ${answer.status}`);
        assert.ok(answer.header('location').startsWith(`${world.issuer}/auth?`));
      }
    }
    assert.equal(world.upstream.requests.length, 0);
  });

  /** Status and reason of a path in the access log, and the last of them when `count` lines are there. */
  const reasons = (path) => world.accessLog().filter((line) => line.path === path).map(({ status, reason }) => [status, reason]);
  const logged = (path, count) => until('the access log is written', () => reasons(path).length === count && reasons(path).at(-1), 5_000);

  test('logs out here and at the provider, and then needs a new login', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`);
    const before = browser.cookiesOf(world.port).map(({ name }) => name);
    const [left, shown] = ['/oidc/logout', '/oidc/logged-out'].map((path) => reasons(path).length);
    const page = await browser.logout(world.site);
    assert.equal(page.url.split('?')[0], `${world.site}/oidc/logged-out`, page.text.slice(0, 300));
    assert.equal(page.status, 200);
    assert.match(page.text, /You are logged out/);
    assert.doesNotMatch(page.text, /may still be logged in/);
    const parameters = new URL(browser.visited.find(({ url }) => url.startsWith(`${world.issuer}/session/end?`)).url).searchParams;
    assert.ok(parameters.get('state').length >= 20);
    assert.deepEqual(new URL(page.url).searchParams.getAll('state'), [parameters.get('state')]);
    assert.equal(parameters.get('post_logout_redirect_uri'), `${world.site}/oidc/logged-out`);
    assert.equal(JSON.parse(Buffer.from(parameters.get('id_token_hint').split('.')[1], 'base64url')).sub, 'alice');
    assert.deepEqual(await logged('/oidc/logout', left + 1), [303, 'logged_out']);
    assert.deepEqual(await logged('/oidc/logged-out', shown + 1), [200, 'logged_out_page']);
    assert.deepEqual(browser.cookiesOf(world.port), [], `nothing is left of ${before}`);
    world.upstream.requests.length = 0;
    assert.match((await browser.get(`${world.site}/`)).text, /Log in to the demo provider/);
    assert.equal(world.upstream.requests.length, 0);
  });

  for (const [what, change, code] of [
    ['another state', (state) => ({ state: `${state}x` }), 'logout_state'],
    ['no state', () => ({}), 'logout_state_missing'],
  ]) {
    test(`who comes back from the logout with ${what} is logged out, and sees that the provider may not have logged out`, async () => {
      const browser = world.browser();
      await browser.login(`${world.site}/`);
      const out = await browser.request(`${world.site}/oidc/logout`, { headers: { ...NAVIGATION, 'sec-fetch-site': 'same-origin' } });
      const state = new URL(out.header('location')).searchParams.get('state');
      const shown = reasons('/oidc/logged-out').length;
      const page = await browser.request(`${world.site}/oidc/logged-out?${new URLSearchParams(change(state))}`);
      assert.equal(page.status, 200);
      assert.match(page.text, /You may still be logged in at the login service/);
      assert.deepEqual(await logged('/oidc/logged-out', shown + 1), [200, code]);
      assert.deepEqual(browser.cookiesOf(world.port), []);
    });
  }

  test('is not logged out by an image on another site', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`);
    const image = { accept: 'image/*', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image', 'sec-fetch-site': 'cross-site', referer: 'https://evil.example/' };
    await browser.request(`${world.site}/oidc/logout`, { headers: image });
    assert.equal((await browser.request(`${world.site}/still`)).status, 200);
  });

  test('is redirected to the provider with all parameters of a login, and nothing of the request', async () => {
    const answer = await world.send('/app?scope=evil&prompt=none&client_id=x', { headers: NAVIGATION });
    assert.match(answer.header('cache-control'), /no-store/);
    const location = new URL(answer.header('location'));
    const parameter = (name) => {
      assert.equal(location.searchParams.getAll(name).length, 1, name);
      return location.searchParams.get(name);
    };
    assert.equal(`${location.origin}${location.pathname}`, `${world.issuer}/auth`);
    assert.equal(parameter('response_type'), 'code');
    assert.equal(parameter('client_id'), 'vestibule-demo');
    assert.equal(parameter('redirect_uri'), `${world.site}/oidc/callback`);
    assert.deepEqual(parameter('scope').split(' ').sort(), ['email', 'openid', 'profile']);
    assert.equal(parameter('code_challenge_method'), 'S256');
    assert.match(parameter('code_challenge'), /^[\w-]{43}$/);
    assert.ok(parameter('state').length >= 20);
    assert.ok(parameter('nonce').length >= 20);
    assert.equal(location.searchParams.get('prompt'), null);
    const again = new URL((await world.send('/app', { headers: NAVIGATION })).header('location'));
    for (const name of ['state', 'nonce', 'code_challenge']) assert.notEqual(again.searchParams.get(name), location.searchParams.get(name));
  });
});

describe('a provider without end_session_endpoint', () => {
  let world;
  before(async () => {
    world = await World.start({ provider: { alter: (configuration) => { configuration.features.rpInitiatedLogout = { enabled: false }; } } });
  });
  after(() => world?.stop());

  test('is not visited at logout: the person is logged out here', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`);
    const page = await browser.logout(world.site);
    assert.equal(page.url.split('?')[0], `${world.site}/oidc/logged-out`);
    const next = await browser.request(`${world.site}/`);
    assert.ok(Browser.target(next).startsWith(`${world.issuer}/auth?`));
  });
});
