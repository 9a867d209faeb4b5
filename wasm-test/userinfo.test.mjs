// Claims that only the userinfo endpoint of a provider has.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CLIENT_ID } from '../envoy/provider/provider.mjs';
import { mint } from './tokens.mjs';
import { World } from './world.mjs';

/** A world with such a provider, for a client with this metadata. */
const start = (metadata = {}) => World.start({
  provider: {
    alter: (configuration) => {
      configuration.conformIdTokenClaims = true;
      configuration.features.jwtUserinfo = { enabled: true };
      Object.assign(configuration.clients[0], metadata);
    },
  },
});

for (const [kind, metadata] of [['plain', {}], ['signed', { userinfo_signed_response_alg: 'RS256' }]]) {
  describe(`claims of a userinfo endpoint (${kind})`, () => {
    let world;
    before(async () => { world = await start(metadata); });
    after(() => world?.stop());

    test(`claims that the ID token lacks come from the userinfo endpoint (${kind})`, async () => {
      const browser = world.browser();
      const page = await browser.login(`${world.site}/admin/`, 'alice');
      assert.equal(page.status, 200, page.text.slice(0, 400));
      const headers = Object.fromEntries(world.received().headers);
      assert.deepEqual([headers['x-auth-sub'], headers['x-auth-email'], headers['x-auth-roles']], ['alice', 'alice@demo.example', 'admin,user']);
      assert.equal((await browser.get(`${world.site}/admin/`)).status, 200);
      assert.equal(world.provider.requests['/me'], 1, 'once per login');
    });

    test(`what the userinfo endpoint says of somebody else logs nobody in (${kind})`, async () => {
      world.upstream.requests.length = 0;
      world.provider.intercept = (request, response) => {
        if (!request.url.startsWith('/me')) return false;
        assert.match(request.headers.authorization, /^Bearer [^ ]+$/);
        const claims = { sub: 'bob', email: 'bob@example.com', roles: ['admin'] };
        const signed = () => mint(world.provider, { aud: CLIENT_ID, client_id: undefined, scope: undefined, ...claims }, { header: { typ: 'JWT' } });
        response.writeHead(200, { 'content-type': kind === 'signed' ? 'application/jwt' : 'application/json' });
        response.end(kind === 'signed' ? signed() : JSON.stringify(claims));
        return true;
      };
      const page = await world.browser().login(`${world.site}/`);
      assert.equal(page.header('x-vestibule-code'), 'userinfo_subject', page.text.slice(0, 400));
      assert.equal(world.upstream.requests.length, 0);
    });
  });
}
