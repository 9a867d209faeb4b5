// The filter beside other parts of Envoy: a second listener with a filter of its own, routes that rewrite
// what they pass on, and Envoy's own CORS filter.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { NAVIGATION, send } from './client.mjs';
import { freePort, receivedAll, World } from './world.mjs';

const REQUESTS = 12;
const SAME_ORIGIN = { ...NAVIGATION, 'sec-fetch-site': 'same-origin' };

/** The connection manager of a listener. */
const manager = (listener) => listener.filter_chains[0].filters[0].typed_config;

describe('two listeners with filters that share their sessions', () => {
  let world;
  let otherPort;
  let other;

  before(async () => {
    otherPort = await freePort();
    other = `http://localhost:${otherPort}`;
    world = await World.start({
      configure: ({ session, ...configuration }) => ({
        ...configuration,
        session: { ...session, hosts: [...session.hosts, `localhost:${otherPort}`], claims: ['preferred_username'] },
        // The provider notifies the first filter only. With this endpoint, both check at every request
        // whether the session has ended.
        endpoints: { backchannel_logout: '/oidc/backchannel-logout' },
      }),
      provider: {
        alter: (configuration) => {
          const [client] = configuration.clients;
          client.redirect_uris.push(`${other}/oidc/callback`);
        },
      },
      alter: ({ static_resources: { listeners } }) => {
        const second = structuredClone(listeners[0]);
        Object.assign(second, { name: 'other' });
        second.address.socket_address.port_value = otherPort;
        manager(second).stat_prefix = 'other';
        const { configuration } = manager(second).http_filters[0].typed_config.config;
        configuration.value.session.claims = ['email', 'name', 'roles'];
        configuration.value.rules = [
          { name: 'open', path_prefix: '/admin', accept: 'public' },
          { name: 'staff', path_prefix: '/public', require: { claims: [{ claim: 'preferred_username', any_of: ['bob'] }] } },
        ];
        configuration.value.identity = { headers: { 'x-auth-user': 'preferred_username' } };
        listeners.push(second);
      },
    });
  });
  after(() => world?.stop());

  /** Many requests to both, each on its own connection: the set of status and code at each. */
  const everywhere = (cookie) => Promise.all([world.port, otherPort].map(async (port) => {
    const headers = { accept: 'application/json', ...(cookie && { cookie }) };
    const answers = await Promise.all(Array.from({ length: REQUESTS }, () => send(port, '/orders', { headers })));
    return [...new Set(answers.map((answer) => `${answer.status} ${answer.header('x-vestibule-code') ?? ''}`.trim()))];
  }));

  test('a login at either is valid at both, on every worker', async () => {
    for (const [first, second] of [[world.site, other], [other, world.site]]) {
      const browser = world.browser();
      const page = await browser.login(`${first}/orders`);
      assert.deepEqual([page.status, page.url], [200, `${first}/orders`]);
      assert.equal((await browser.request(`${second}/orders`)).status, 200);
      assert.deepEqual(await everywhere(browser.cookieHeader('/')), [['200'], ['200']]);
    }
  });

  test('each has its own rules and identity headers', async () => {
    const [alice, bob] = [world.browser(), world.browser()];
    await alice.login(`${world.site}/orders`, 'alice');
    await bob.login(`${other}/orders`, 'bob');
    const identity = () => ['x-auth-sub', 'x-auth-email', 'x-auth-user'].map((name) => receivedAll(world.received(), name).join());
    const open = async (browser, url) => (await browser.request(url)).status;
    assert.deepEqual([await open(alice, `${world.site}/admin`), await open(bob, `${world.site}/admin`)], [200, 403]);
    assert.deepEqual([await open(bob, `${other}/public`), await open(alice, `${other}/public`)], [200, 403]);
    assert.equal(await open(bob, `${world.site}/orders`), 200);
    assert.deepEqual(identity(), ['bob', 'bob@demo.example', '']);
    assert.equal(await open(bob, `${other}/orders`), 200);
    assert.deepEqual(identity(), ['', '', 'bob']);
    assert.deepEqual([await open(world.browser(), `${world.site}/public`), await open(world.browser(), `${other}/admin`)], [200, 200]);
    assert.deepEqual(identity(), ['', '', '']);
    assert.deepEqual(await everywhere(), [['401 not_logged_in'], ['401 not_logged_in']]);
  });

  test('a logout at one ends the session at both, on every worker', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/orders`);
    const cookie = browser.cookieHeader('/');
    assert.deepEqual(await everywhere(cookie), [['200'], ['200']]);
    assert.equal((await browser.request(`${other}/oidc/logout`, { headers: SAME_ORIGIN })).status, 303);
    assert.equal((await browser.request(`${world.site}/orders`)).status, 302);
    assert.deepEqual(await everywhere(cookie), [['401 session_logged_out'], ['401 session_logged_out']]);
  });

  test('a logout at the provider ends it at both', async () => {
    const browser = world.browser();
    await browser.login(`${other}/orders`);
    const cookie = browser.cookieHeader('/');
    assert.deepEqual(await everywhere(cookie), [['200'], ['200']]);
    await browser.submit(await browser.get(`${world.issuer}/session/end`), { logout: 'yes' });
    assert.deepEqual(await everywhere(cookie), [['401 session_revoked'], ['401 session_revoked']]);
  });
});

describe('a route that rewrites host and path', () => {
  let world;
  before(async () => {
    world = await World.start({
      configure: (configuration) => {
        configuration.rules.unshift({ name: 'outside', path_prefix: '/outside/admin', require: { claims: [{ claim: 'roles', any_of: ['admin'] }] } });
      },
      // The rewritten path would be public if the client requested it.
      routes: [{ match: { prefix: '/outside/' }, route: { cluster: 'upstream', prefix_rewrite: '/public/', host_rewrite_literal: 'inside.example' } }],
    });
  });
  after(() => world?.stop());
  beforeEach(() => { world.upstream.requests.length = 0; });

  test('applies to the upstream; rules, login and return use the requested address', async () => {
    const browser = world.browser();
    const begun = await browser.request(`${world.site}/outside/orders?page=2`);
    assert.equal(begun.status, 302);
    assert.equal(new URL(begun.header('location')).searchParams.get('redirect_uri'), `${world.site}/oidc/callback`);
    const page = await browser.login(`${world.site}/outside/orders?page=2`, 'bob');
    assert.deepEqual([page.status, page.url], [200, `${world.site}/outside/orders?page=2`]);
    const [received, ...more] = world.upstream.requests;
    assert.deepEqual([received.path, receivedAll(received, 'host'), more], ['/public/orders?page=2', ['inside.example'], []]);
    assert.deepEqual(receivedAll(received, 'x-auth-sub'), ['bob']);
  });

  test('admits nobody by the rewritten path or by headers with another path', async () => {
    const bob = world.browser();
    await bob.login(`${world.site}/orders`, 'bob');
    world.upstream.requests.length = 0;
    const claims = { 'x-envoy-original-path': '/public/admin', 'x-original-url': '/public/admin', 'x-forwarded-host': 'inside.example' };
    for (const headers of [NAVIGATION, { ...NAVIGATION, ...claims }]) {
      assert.equal((await bob.request(`${world.site}/outside/admin`, { headers })).status, 403);
      assert.equal((await world.send('/outside/orders', { headers })).status, 302);
    }
    assert.deepEqual(world.upstream.requests, []);
    // Nor does a public path that no route rewrites need a session.
    assert.equal((await world.send('/public/orders', { headers: NAVIGATION })).status, 200);
  });
});

describe('behind the CORS filter of Envoy', () => {
  const APP = 'https://app.example';
  let world;
  before(async () => {
    const type = (name) => `type.googleapis.com/envoy.extensions.filters.http.cors.v3.${name}`;
    world = await World.start({
      alter: ({ static_resources: { listeners: [listener] } }) => {
        const { http_filters: filters, route_config: { virtual_hosts: [site] } } = manager(listener);
        filters.unshift({ name: 'envoy.filters.http.cors', typed_config: { '@type': type('Cors') } });
        site.typed_per_filter_config = {
          'envoy.filters.http.cors': {
            '@type': type('CorsPolicy'),
            allow_origin_string_match: [{ exact: APP }],
            allow_methods: 'GET, PUT', allow_headers: 'authorization', expose_headers: 'x-vestibule-code', allow_credentials: true,
          },
        };
      },
    });
  });
  after(() => world?.stop());
  beforeEach(() => { world.upstream.requests.length = 0; });

  const fetched = (origin, path, headers = {}) => world.send(path, {
    headers: { accept: '*/*', origin, 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'cross-site', ...headers },
  });
  const cors = (answer) => ['origin', 'credentials'].map((name) => answer.header(`access-control-allow-${name}`));
  const preflight = (origin, path) => world.send(path, {
    method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'PUT', 'access-control-request-headers': 'authorization' },
  });

  test('a script of an allowed origin can read refusals and responses', async () => {
    const bob = world.browser();
    await bob.login(`${world.site}/orders`, 'bob');
    const cookie = bob.cookieHeader('/');
    const token = await world.token();
    for (const [path, headers, status, code] of [
      ['/orders', {}, 401, 'not_logged_in'],
      ['/api/orders', {}, 401, 'not_logged_in'],
      ['/api/orders', { authorization: 'Bearer x' }, 401, undefined],
      ['/admin', { cookie }, 403, undefined],
      ['/api/orders', { authorization: `Bearer ${token}` }, 200, undefined],
    ]) {
      const answer = await fetched(APP, path, headers);
      assert.equal(answer.status, status, path);
      assert.deepEqual(cors(answer), [APP, 'true'], path);
      assert.equal(answer.header('access-control-expose-headers'), 'x-vestibule-code');
      if (code) assert.equal(answer.json().code, code);
    }
  });

  test('a script of another origin can read nothing', async () => {
    for (const origin of ['https://evil.example', `${APP}.evil.example`]) {
      const answer = await fetched(origin, '/orders');
      assert.deepEqual([answer.status, ...cors(answer)], [401, undefined, undefined]);
    }
  });

  test('a preflight is answered by Envoy for an allowed origin, and for no other', async () => {
    const answer = await preflight(APP, '/orders');
    assert.deepEqual([answer.status, ...cors(answer)], [200, APP, 'true']);
    assert.match(answer.header('access-control-allow-methods'), /PUT/);
    assert.deepEqual(world.upstream.requests, []);
    // It is forwarded as without the CORS filter, and without an identity.
    assert.deepEqual(cors(await preflight('https://evil.example', '/orders')), [undefined, undefined]);
    assert.deepEqual(receivedAll(world.received(), 'x-auth-sub'), []);
  });
});
