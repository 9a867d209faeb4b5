// No secret is ever logged: runs every flow at trace level, and then searches the logs for all its secrets
// (LOG-01).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NAVIGATION } from './client.mjs';
import { mint, strangersKey } from './tokens.mjs';
import { until, World } from './world.mjs';

test('no secret, key, code, state, nonce, cookie or token is in any log at trace level', async () => {
  const world = await World.start({ trace: true });
  const canaries = new Map(Object.entries(world.secrets));
  canaries.set('basic', Buffer.from(`vestibule-demo:${world.secrets.CLIENT_SECRET}`).toString('base64'));
  const remember = (name, value) => value && value.length >= 8 && canaries.set(name, value);
  try {
    // The messages between filter and provider, which the browser does not see.
    world.provider.intercept = async (request, response) => {
      if (request.url === '/token') {
        const end = response.end.bind(response);
        response.end = (body, ...rest) => {
          try {
            for (const [name, value] of Object.entries(JSON.parse(String(body)))) if (/token$/.test(name)) remember(name, value);
          } catch { /* not a token response */ }
          return end(body, ...rest);
        };
      }
      return false;
    };
    const browser = world.browser();
    const authorization = new URL((await browser.request(`${world.site}/page?canary-in-query=1`)).header('location'));
    for (const name of ['state', 'nonce', 'code_challenge']) remember(name, authorization.searchParams.get(name));
    for (const { name, value } of browser.cookiesOf(world.port)) remember(`login ${name}`, value);
    const callback = await browser.untilCallback(`${world.site}/page`);
    remember('state 2', new URL(callback).searchParams.get('state'));
    remember('code', new URL(callback).searchParams.get('code'));
    await browser.get(callback);
    await browser.request(callback);
    await browser.request(`${world.site}/oidc/callback?code=canary-code&state=canary-state`);
    for (const { name, value } of browser.cookiesOf(world.port)) remember(`cookie ${name}`, value);
    await browser.request(`${world.site}/page`);
    remember('code 2', 'canary-code');
    remember('state 3', 'canary-state');

    const tokens = [await world.token(), mint(world.provider, { exp: 1 }), mint(world.provider, {}, { key: strangersKey() }), mint(world.provider, { aud: 'x' }), 'canary-not-a-token'];
    for (const [index, token] of tokens.entries()) {
      remember(`token ${index}`, token);
      // Parts of a token are as secret as the whole.
      remember(`signature ${index}`, token.split('.')[2]);
      await world.send('/api/orders', { headers: { authorization: `Bearer ${token}` } });
    }
    const tampered = browser.cookiesOf(world.port).map(({ name, value }) => `${name}=${value.slice(0, -6)}AAAAAA`).join('; ');
    await world.send('/page', { headers: { ...NAVIGATION, cookie: tampered } });
    world.provider.intercept = (request, response) => request.url === '/token' && (response.destroy(), true);
    await world.browser().login(`${world.site}/page`);
    world.provider.intercept = undefined;
    await browser.logout(world.site);
    await until('the access log is written', () => world.accessLog().some(({ path }) => path === '/oidc/logout'), 5_000);

    assert.ok(canaries.size > 15, [...canaries.keys()].join(', '));
    assert.ok(canaries.has('id_token'), 'the token response was seen');
    const logs = world.envoy.stdout + world.envoy.stderr;
    assert.ok(world.envoy.stderr.length > 1_000, 'trace is on');
    for (const [name, value] of canaries) {
      for (const part of value.length > 80 ? [value.slice(0, 60), value.slice(-40)] : [value]) {
        // The header of a JWT is the same for many tokens, and no secret.
        if (part.startsWith('eyJ') && value.length > 80) continue;
        assert.ok(!logs.includes(part), `${name} is in the log`);
      }
    }
  } finally {
    await world.stop();
  }
});
