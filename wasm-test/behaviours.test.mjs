// Providers differ where specifications leave it open: with each of them a session goes on, for the same
// person.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { behaving } from './behaviours.mjs';
import { receivedAll, until, World } from './world.mjs';

const TOKEN_SECONDS = 3;
/** How many lifetimes of an access token the session lasts. */
const LIFETIMES = 3;

const PROVIDERS = [
  { refresh_token: 'rotated', expires_in: 'text', scope: 'list' },
  { refresh_token: 'repeated', token_type: 'small', id_token_at_refresh: 'never' },
  { refresh_token: 'left_out', id_token_at_refresh: 'sometimes', scope_at_refresh: 'absent' },
  { refresh_token: 'repeated', expires_in: 'second', documents: 'not_at_all', scope: 'absent' },
];

describe('a session lives on', () => {
  let world;
  /** The behaviour of the provider in the current test. */
  let behaviour;

  before(async () => {
    world = await World.start({
      configure: (configuration) => { configuration.identity.access_token_header = 'x-access-token'; },
      provider: {
        accessTokenTtl: TOKEN_SECONDS,
        alter: (configuration) => {
          configuration.issueRefreshToken = async () => true;
          configuration.rotateRefreshToken = () => behaviour.rotateRefreshToken();
        },
      },
    });
  });
  after(() => world?.stop());

  for (const choices of PROVIDERS) {
    test(`with ${JSON.stringify(choices)}`, async () => {
      const { alter, intercept } = behaving(choices);
      behaviour = {};
      alter(behaviour);
      world.provider.intercept = intercept;
      const person = world.browser();
      assert.equal((await person.login(`${world.site}/orders`)).status, 200);
      const logins = world.provider.requests['/auth'];
      const tokens = new Set();
      for (let lifetime = 0; lifetime <= LIFETIMES; lifetime += 1) {
        const start = Date.now();
        assert.equal((await person.get(`${world.site}/orders`)).status, 200, `in lifetime ${lifetime}`);
        assert.deepEqual(receivedAll(world.received(), 'x-auth-sub'), ['alice']);
        tokens.add(receivedAll(world.received(), 'x-access-token')[0]);
        // The token is newer than that, and the filter counts whole seconds.
        await until('the access token is over', () => Date.now() > start + (TOKEN_SECONDS + 1) * 1_000);
      }
      // The provider logs the person in again without a prompt, so only this count shows a login.
      assert.equal(world.provider.requests['/auth'], logins, 'nobody was sent to log in');
      assert.ok(tokens.size > LIFETIMES, `${tokens.size} access tokens in ${LIFETIMES} lifetimes`);
    });
  }
});
