// Authorization responses in the body of a form. The site has https: this client plays the proxy in front
// that terminates TLS.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { World } from './world.mjs';

const start = (plugin) => World.start({
  plugin,
  configure(configuration, world) {
    configuration.providers.demo.response_mode = 'form_post';
    configuration.session = { keys: ['${SESSION_KEY}'], hosts: [`localhost:${world.port}`] };
  },
  provider: {
    alter(configuration) {
      const [client] = configuration.clients;
      client.redirect_uris = client.redirect_uris.map((uri) => uri.replace('http://', 'https://'));
    },
  },
});

/** The page of the provider with the form that returns the browser. */
const untilForm = (world, browser, path) => browser.login(`${world.site}${path}`);

describe('form_post', () => {
  test('a person returns by a form, and in no other way', { timeout: 60_000 }, async () => {
    const world = await start({ allow_on_headers_stop_iteration: true });
    try {
      const browser = world.browser();
      const action = `${world.site}/oidc/callback`;
      const page = await untilForm(world, browser, '/secret?page=2');
      assert.match(page.text, new RegExp(`action="https://localhost:${world.port}/oidc/callback"`));
      const [login] = browser.cookiesOf(world.port);
      assert.match(login.line, /^__Host-vestibule-login-.*; Path=\/; Secure; HttpOnly; SameSite=None; Max-Age=/);

      assert.equal((await browser.request(`${action}?code=x&state=y`)).header('x-vestibule-code'), 'method_not_allowed');
      const body = 'x'.repeat(20_000);
      const form = { 'content-type': 'application/x-www-form-urlencoded' };
      for (const [headers, sent, code] of [
        [{ 'content-type': 'text/plain' }, 'code=x&state=y', 'authorization_content_type'],
        [form, '', 'authorization_body_missing'],
        [form, body, 'form_too_long'],
        [form, 'code=x&state=y&state=z', 'form_parameter_repeated'],
        [form, `code=x&state=${'y'.repeat(43)}`, 'login_no_cookie'],
      ]) {
        const answer = await browser.request(action, { method: 'POST', headers, body: sent });
        assert.deepEqual([answer.status, answer.header('x-vestibule-code')], [400, code]);
      }

      const landed = await browser.submit(page, {}, { action, follow: false });
      assert.deepEqual([landed.status, landed.header('location')], [303, '/secret?page=2'], landed.text.slice(0, 400));
      assert.equal((await browser.get(`${world.site}/secret?page=2`)).status, 200);
      assert.deepEqual([world.received().method, world.received().path], ['GET', '/secret?page=2']);
      const again = await browser.submit(page, {}, { action, follow: false });
      assert.ok(['login_no_cookie', undefined].includes(again.header('x-vestibule-code')) && again.status !== 200);
      assert.equal(world.provider.requests['/token'], 1);
      assert.ok(world.upstream.requests.every(({ path }) => !path.startsWith('/oidc/')));
    } finally {
      await world.stop();
    }
  });

  test('where Envoy withholds the body, the person gets the reason', { timeout: 60_000 }, async () => {
    const world = await start({});
    try {
      const browser = world.browser();
      const page = await untilForm(world, browser, '/secret');
      const answer = await browser.submit(page, {}, { action: `${world.site}/oidc/callback`, follow: false });
      assert.deepEqual([answer.status, answer.header('x-vestibule-code')], [400, 'authorization_body_missing']);
      assert.equal(world.upstream.requests.length, 0);
    } finally {
      await world.stop();
    }
  });
});
