// Claims that a provider gives at its userinfo endpoint alone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World } from './world.mjs';

for (const [kind, metadata] of [['plain', {}], ['signed', { userinfo_signed_response_alg: 'RS256' }]]) {
  test(`claims that the ID token lacks come from the userinfo endpoint (${kind})`, { timeout: 60_000 }, async () => {
    const alter = (configuration) => {
      configuration.conformIdTokenClaims = true;
      configuration.features.jwtUserinfo = { enabled: true };
      Object.assign(configuration.clients[0], metadata);
    };
    const world = await World.start({ provider: { alter } });
    try {
      const browser = world.browser();
      const page = await browser.login(`${world.site}/admin/`, 'alice');
      assert.equal(page.status, 200, page.text.slice(0, 400));
      const told = Object.fromEntries(world.received().headers);
      assert.deepEqual([told['x-auth-sub'], told['x-auth-email'], told['x-auth-roles']], ['alice', 'alice@demo.example', 'admin,user']);
      assert.equal((await browser.get(`${world.site}/admin/`)).status, 200);
      assert.equal(world.provider.requests['/me'], 1, 'once per login');
    } finally {
      await world.stop();
    }
  });
}

test('userinfo about another person logs nobody in', { timeout: 60_000 }, async () => {
  const alter = (configuration) => { configuration.conformIdTokenClaims = true; };
  const world = await World.start({ provider: { alter } });
  try {
    world.provider.intercept = (request, response) => {
      if (!request.url.startsWith('/me')) return false;
      assert.match(request.headers.authorization, /^Bearer [^ ]+$/);
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ sub: 'bob', email: 'bob@example.com', roles: ['admin'] }));
      return true;
    };
    const page = await world.browser().login(`${world.site}/`);
    assert.equal(page.header('x-vestibule-code'), 'userinfo_subject', page.text.slice(0, 400));
    assert.equal(world.upstream.requests.length, 0);
  } finally {
    await world.stop();
  }
});
