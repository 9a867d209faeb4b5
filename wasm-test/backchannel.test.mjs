// Logouts that the provider begins, in an Envoy with several workers.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CLIENT_ID } from '../envoy/provider/provider.mjs';
import { NAVIGATION, send } from './client.mjs';
import { flipped, mint, reheaded } from './tokens.mjs';
import { until, World } from './world.mjs';

const ENDPOINT = '/oidc/backchannel-logout';
const EVENT = 'http://schemas.openid.net/event/backchannel-logout';
const WORKERS = 3;
/** So many connections that each worker gets some. */
const REQUESTS = 40;

const configure = (configuration) => ({
  ...configuration,
  endpoints: { backchannel_logout: ENDPOINT, frontchannel_logout: '/oidc/frontchannel-logout' },
  identity: { headers: { 'x-auth-sub': 'sub', 'x-auth-sid': 'sid' } },
});

/** The responses of all workers to a session: the set of status and code. */
async function everywhere(world, cookie) {
  const answers = await Promise.all(Array.from({ length: REQUESTS }, () => world.send('/orders', { headers: { cookie } })));
  return [...new Set(answers.map((answer) => `${answer.status} ${answer.status === 200 ? '' : answer.json().code}`.trim()))];
}

async function loggedIn(world, user) {
  const browser = world.browser();
  const page = await browser.login(`${world.site}/orders`, user);
  assert.equal(page.status, 200, page.text.slice(0, 300));
  const cookie = browser.cookieHeader('/orders');
  assert.deepEqual(await everywhere(world, cookie), ['200']);
  return { browser, cookie };
}

const logoutToken = (world, claims = {}, header = {}) => mint(world.provider,
  { aud: CLIENT_ID, sub: 'alice', client_id: undefined, scope: undefined, events: { [EVENT]: {} }, ...claims },
  { header: { typ: 'logout+jwt', ...header } });

const bring = (world, token, headers = {}) => world.send(ENDPOINT, {
  method: 'POST',
  headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
  body: new URLSearchParams({ logout_token: token }).toString(),
});

describe('a provider that ends sessions', () => {
  let world;
  before(async () => {
    world = await World.start({ concurrency: WORKERS, configure, plugin: { allow_on_headers_stop_iteration: true } });
  });
  after(() => world?.stop());

  test('a logout at the provider ends the session in every worker', async () => {
    const { browser, cookie } = await loggedIn(world);
    const other = await loggedIn(world);
    const question = await browser.get(`${world.issuer}/session/end`);
    await browser.submit(question, { logout: 'yes' });
    assert.deepEqual(await everywhere(world, cookie), ['401 session_revoked']);
    assert.deepEqual(await everywhere(world, other.cookie), ['200'], 'of the same person, but another session of the provider');
    const page = await browser.request(`${world.site}/orders`);
    assert.equal(page.status, 302, 'the browser is sent to the login');
    await until('the access log is written', () => world.accessLog().some(({ path, reason, status }) => path === ENDPOINT && reason === 'logged_out_by_provider' && status === 200), 5_000);
  });

  test('a logout here ends the session for every copy of its cookie', async () => {
    const { browser, cookie } = await loggedIn(world);
    const page = await browser.logout(world.site);
    assert.equal(page.url.split('?')[0], `${world.site}/oidc/logged-out`);
    const [answer] = await everywhere(world, cookie);
    assert.match(answer, /^401 session_(logged_out|revoked)$/);
  });

  test('a token without sid ends all sessions of the person, once', async () => {
    const [first, second] = [await loggedIn(world, 'bob'), await loggedIn(world, 'bob')];
    const token = logoutToken(world, { sub: 'bob' });
    const answer = await bring(world, token);
    assert.equal(answer.status, 200, answer.text);
    assert.match(answer.header('cache-control'), /no-store/);
    for (const { cookie } of [first, second]) assert.deepEqual(await everywhere(world, cookie), ['401 session_revoked']);
    const again = await Promise.all(Array.from({ length: 12 }, () => bring(world, token)));
    assert.deepEqual(new Set(again.map((refusal) => `${refusal.status} ${refusal.json().code}`)), new Set(['400 logout_token_replayed']));
  });

  test('anything but a logout token of the provider ends nothing', async () => {
    const { cookie } = await loggedIn(world);
    const good = logoutToken(world);
    for (const [token, code] of [
      [reheaded(good, { alg: 'none' }), 'jws_algorithm_unknown'],
      [flipped(good), 'jws_signature'],
      [logoutToken(world, { aud: 'other' }), 'logout_token_audience'],
      [logoutToken(world, { iss: 'https://wrong.example' }), 'issuer_unknown'],
      [logoutToken(world, { events: undefined }), 'logout_token_event'],
      [logoutToken(world, { nonce: 'n' }), 'logout_token_nonce'],
      [logoutToken(world, {}, { typ: 'at+jwt' }), 'logout_token_header_type'],
      ['', 'logout_token_missing'],
    ]) {
      const answer = await bring(world, token);
      assert.equal(answer.status, 400, code);
      assert.deepEqual([answer.json().error, answer.json().code], ['invalid_request', code]);
      assert.match(answer.header('cache-control'), /no-store/);
    }
    assert.equal((await bring(world, good, { 'content-type': 'application/json' })).status, 400);
    const long = await world.send(ENDPOINT, { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'x'.repeat(1_000_000) });
    assert.equal(long.status, 413);
    const read = await world.send(`${ENDPOINT}?logout_token=${good}`);
    assert.deepEqual([read.status, read.header('allow')], [405, 'POST']);
    assert.deepEqual(await everywhere(world, cookie), ['200']);
    assert.equal(world.upstream.requests.filter(({ path }) => path.startsWith(ENDPOINT)).length, 0);
  });

  test('a frame of the provider ends only the session of the cookie in its request', async () => {
    const { cookie } = await loggedIn(world);
    const other = await loggedIn(world);
    await world.send('/orders', { headers: { cookie } });
    const [, sid] = world.received().headers.find(([name]) => name === 'x-auth-sid');
    const at = (sid, headers) => world.send(`/oidc/frontchannel-logout?${new URLSearchParams({ iss: world.issuer, sid })}`, { headers: { ...NAVIGATION, 'sec-fetch-dest': 'iframe', ...headers } });
    for (const answer of [await at('of-somebody-else', { cookie }), await at(sid), await at(sid, { cookie: other.cookie })]) {
      assert.equal(answer.status, 200);
      assert.deepEqual(answer.all('set-cookie'), []);
      assert.match(answer.header('content-security-policy'), new RegExp(`frame-ancestors ${world.issuer}$`));
    }
    for (const session of [cookie, other.cookie]) assert.deepEqual(await everywhere(world, session), ['200']);
    const answer = await at(sid, { cookie });
    assert.match(answer.header('set-cookie'), /^vestibule=;.*Max-Age=0/);
    assert.deepEqual(await everywhere(world, cookie), ['401 session_logged_out']);
    assert.deepEqual(await everywhere(world, other.cookie), ['200']);
  });

  test('another site begins a login by link and by form', async () => {
    const request = new URLSearchParams({ iss: world.issuer, login_hint: 'alice', target_link_uri: `${world.site}/orders?x=1` }).toString();
    const headers = { ...NAVIGATION, 'sec-fetch-site': 'cross-site' };
    const link = await world.send(`/oidc/login?${request}`, { headers });
    const form = await world.send('/oidc/login', { method: 'POST', headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' }, body: request });
    assert.deepEqual([link.status, form.status], [302, 303]);
    for (const answer of [link, form]) assert.equal(new URL(answer.header('location')).searchParams.get('login_hint'), 'alice');
    const page = await world.browser().login(`${world.site}/oidc/login?${request}`);
    assert.equal(page.url, `${world.site}/orders?x=1`);
  });
});

test('without the option of Envoy a logout token is refused, and the log names the option', { timeout: 60_000 }, async () => {
  const world = await World.start({ configure, plugin: {} });
  try {
    const answer = await bring(world, logoutToken(world));
    assert.deepEqual([answer.status, answer.json().code], [503, 'body_not_given']);
    assert.match(world.envoy.stderr, /body_not_given.*allow_on_headers_stop_iteration/);
  } finally {
    await world.stop();
  }
});

test('the tokens of a session are revoked by the logout', async () => {
  const world = await World.start({
    configure: (configuration) => ({ ...configure(configuration), identity: { ...configuration.identity, access_token_header: 'x-access-token' } }),
    provider: {
      alter: (configuration) => {
        configuration.issueRefreshToken = async () => true;
        // A use does not change it.
        configuration.rotateRefreshToken = () => false;
      },
    },
  });
  try {
    let tokens;
    world.alterTokens((answer) => { tokens = answer; return answer; });
    const browser = world.browser();
    assert.equal((await browser.login(`${world.site}/orders`)).status, 200);
    world.provider.intercept = undefined;
    const client = Buffer.from(`${CLIENT_ID}:${world.secrets.CLIENT_SECRET}`).toString('base64');
    /** The status of the refresh token, and of the access token that was forwarded. */
    const tried = async () => {
      const refreshed = await send(world.providerPort, '/token', {
        method: 'POST',
        headers: { authorization: `Basic ${client}`, 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token }).toString(),
      });
      const userinfo = await send(world.providerPort, '/me', { headers: { authorization: `Bearer ${tokens.access_token}` } });
      return [refreshed.status, refreshed.json().error, userinfo.status];
    };
    assert.equal(Object.fromEntries(world.received().headers)['x-access-token'], tokens.access_token);
    assert.deepEqual(await tried(), [200, undefined, 200]);
    // A logout at this site alone, because a provider that ends its own session may revoke the tokens itself.
    const out = await browser.request(`${world.site}/oidc/logout`, { headers: { ...NAVIGATION, 'sec-fetch-site': 'same-origin' } });
    assert.equal(out.status, 303);
    await until('both are revoked', () => world.provider.requests['/token/revocation'] === 2, 10_000);
    await until('both are refused', async () => JSON.stringify(await tried()) === JSON.stringify([400, 'invalid_grant', 401]), 10_000);
    assert.doesNotMatch(world.envoy.stderr, /revocation_failed/);
  } finally {
    await world.stop();
  }
});
