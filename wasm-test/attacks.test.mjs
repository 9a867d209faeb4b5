// Requests of the attack catalogue from clients without a session: whatever the response, none of them may
// reach the upstream. Each row has the id of the catalogue. Forged tokens are in tests/stories/attacks,
// forged responses of a provider in provider.test.mjs.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { Browser, NAVIGATION, send2, sendBytes } from './client.mjs';
import { World, receivedAll, until } from './world.mjs';

const PATHS = [
  ['PATH-01', '/public/../admin'], ['PATH-01', '/public/./../admin'], ['PATH-01', '/public/..//admin'], ['PATH-01', '/public/x/../../admin'], ['PATH-01', '/public/..'],
  ['PATH-02', '/public/%2e%2e/admin'], ['PATH-02', '/public/.%2e/admin'], ['PATH-02', '/public/%2E%2E/admin'], ['PATH-02', '/public/%252e%252e/admin'], ['PATH-02', '/public/%c0%ae%c0%ae/admin'],
  ['PATH-03', '/public%2fadmin'], ['PATH-03', '/public/..%2fadmin'], ['PATH-03', '/public/%2f..%2fadmin'], ['PATH-03', '/public/%5c..%5cadmin'], ['PATH-03', '/public\\..\\admin'], ['PATH-03', '/public/..\\admin'],
  ['PATH-04', '//admin'], ['PATH-04', '/public//../admin'], ['PATH-04', '//public/../admin'],
  ['PATH-05', '/public;/../admin'], ['PATH-05', '/public/..;/admin'], ['PATH-05', '/admin;x=/public/'], ['PATH-05', '/;/public'], ['PATH-05', '/public;x'],
  ['PATH-06', '/Public'], ['PATH-06', '/PUBLIC/x'], ['PATH-06', '/ADMIN'],
  ['PATH-07', '/admin?x=/public/'], ['PATH-07', '/admin?/public/health'], ['PATH-07', '/?/public'],
  ['PATH-09', '/admin%3f/public'], ['PATH-09', '/public%3f/../admin'], ['PATH-09', '/public%23/../admin'],
  ['PATH-10', '/publicity'], ['PATH-10', '/public.evil'], ['PATH-10', '/public-'], ['PATH-10', '/publi'], ['PATH-10', '/x/public'],
  ['PATH-11', '/admin/x.js'], ['PATH-11', '/admin;.js'], ['PATH-11', '/admin%00.js'], ['PATH-11', '/admin?.js'],
  ['PATH-13', '/public%0a/admin'], ['PATH-13', '/public%0d%0a/../admin'],
  ['PATH-16', '/%ff'], ['PATH-16', '/admin/%80'],
  ['PATH-18', '/publ%C4%B1c'], ['PATH-18', '/%EF%BD%90ublic'],
  ['PATH-25', '/oidc/logout/x'], ['PATH-25', '/oidc/loginx'], ['PATH-25', '/oidc'],
  ['PATH-27', `/${'a/'.repeat(16_000)}`], ['PATH-27', `/${'%2e'.repeat(5_000)}`],
  ['FLOW-23', '/oidc/callback/'], ['FLOW-23', '//oidc/callback'], ['FLOW-23', '/oidc/%63allback'], ['FLOW-23', '/oidc/callback;x'], ['FLOW-23', '/oidc/../oidc/callback'],
];

const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'PURGE'];

const HEADERS = [
  ['PATH-19', { 'x-forwarded-host': 'public.example' }], ['PATH-19', { host: 'LOCALHOST.' }], ['PATH-19', { host: 'evil.example' }],
  ['PATH-20', { 'x-http-method-override': 'OPTIONS', origin: 'https://a.example', 'access-control-request-method': 'GET' }],
  ['PATH-21', { 'user-agent': 'kube-probe/1.30' }], ['PATH-21', { 'user-agent': 'GoogleHC/1.0' }],
  ['PATH-22', { 'x-forwarded-uri': '/public' }], ['PATH-22', { 'x-original-url': '/public' }], ['PATH-22', { 'x-rewrite-url': '/public' }],
  ['PATH-22', { 'x-envoy-original-path': '/public' }], ['PATH-22', { 'x-forwarded-prefix': '/public' }], ['PATH-22', { 'x-forwarded-for': '127.0.0.1' }],
  ['HDR-01', { 'x-auth-sub': 'alice', 'x-auth-roles': 'admin' }], ['HDR-06', { X_Auth_Sub: 'alice' }], ['HDR-10', { connection: 'x-auth-sub', 'x-auth-sub': 'alice' }],
  ['SESS-03', { cookie: '__host-vestibule=x; __HOST-vestibule=x; %5F%5FHost-vestibule=x' }],
  ['SESS-07', { cookie: 'vestibule=99999999.a; vestibule.0=-1; vestibule.1=1e9; __Host-vestibule=4294967296' }],
  ['SESS-10', { cookie: 'a=b; '.repeat(1_500) }],
  ['SESS-11', { cookie: '=x;;; a; a==b; "; vestibule; vestibule=; __Host-vestibule' }],
  ['RS-02', { authorization: 'bearer' }], ['RS-02', { authorization: 'Bearer  x' }], ['RS-02', { authorization: 'Bearer\tx' }], ['RS-02', { authorization: 'Bearer' }],
  ['RS-04', { authorization: 'Basic YWRtaW46YWRtaW4=' }], ['RS-04', { authorization: 'DPoP x' }], ['RS-04', { authorization: 'Negotiate x' }],
  ['RS-08', { authorization: 'Bearer ü"\\x' }], ['JWS-44', { authorization: `Bearer ${'.'.repeat(20_000)}` }],
  ['WASM-19', { 'x-envoy-internal': 'true', 'x-envoy-retry-on': '5xx' }],
];

const RAW = [
  ['PATH-14', 'OPTIONS * HTTP/1.1'], ['PATH-14', 'GET * HTTP/1.1'], ['PATH-14', 'GET http://localhost/admin HTTP/1.1'], ['PATH-14', 'GET  HTTP/1.1'],
  ['PATH-15', 'CONNECT localhost:80 HTTP/1.1'], ['PATH-15', 'CONNECT /public HTTP/1.1'],
  ['PATH-16', 'GET /\xff\xfe HTTP/1.1'], ['PATH-13', 'GET /public\t/../admin HTTP/1.1'],
  ['PATH-20', 'get /admin HTTP/1.1'], ['WASM-18', 'GET /admin HTTP/1.0'], ['WASM-18', 'GET /admin HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade'],
];

/** Queries of callbacks without a login. */
const CALLBACKS = [
  ['FLOW-01', '?code=x'], ['FLOW-01', ''], ['FLOW-02', '?code=x&state='], ['FLOW-02', '?code=x&state=a&state=b'], ['FLOW-02', '?code=x&state[]=a'], ['FLOW-02', '?code=x&code=y&state=a'],
  ['FLOW-03', '?code=x&state=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'], ['FLOW-12', '?error=login_required'], ['FLOW-11', '?error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E&state=a'],
  ['FLOW-14', '?code=x&error=y&state=a'], ['FLOW-20', '?response=eyJh.eyJh.x'], ['FLOW-17', '?code=x&state=a&iss=https://evil.example'], ['FLOW-02', `?code=x&state=${'a'.repeat(20_000)}`],
];

/** Addresses to which a login must not return. */
const RETURN_ADDRESSES = [
  ['REDIR-01', 'https://evil.example/'], ['REDIR-02', '//evil.example'], ['REDIR-02', '///evil.example'], ['REDIR-02', '/\\evil.example'], ['REDIR-02', '\\\\evil.example'], ['REDIR-02', '/\t/evil.example'],
  ['REDIR-03', '/\n/evil.example'], ['REDIR-03', ' //evil.example'], ['REDIR-04', '@evil.example'], ['REDIR-04', ':80@evil.example/'], ['REDIR-05', '/..//evil.example'], ['REDIR-05', '/./\\evil.example'],
  ['REDIR-06', 'javascript:alert(1)'], ['REDIR-06', '\u0001javascript:alert(1)'], ['REDIR-06', 'data:text/html,x'], ['REDIR-15', '/oidc/callback?code=x&state=y'], ['REDIR-15', '/oidc/logout'],
];

const UPSTREAMS_COOKIES = ['a=1; Path=/', 'b=2; HttpOnly', 'c=3; Max-Age=60'];
// Named like cookies of the filter: with them a service could log people in as another person.
const OUR_COOKIES = ['vestibule=evil; Path=/', 'Vestibule.1=evil', ' vestibule-tries =evil', '=vestibule=evil'];
const adminsOnly = { name: 'x-auth-roles', string_match: { contains: 'admin' } };

let world;
before(async () => {
  world = await World.start({
    routes: [
      { match: { prefix: '/by-role', headers: [adminsOnly] }, direct_response: { status: 200, body: { inline_string: 'for admins' } } },
      { match: { prefix: '/by-role' }, direct_response: { status: 200, body: { inline_string: 'for all' } } },
      {
        match: { prefix: '/cookies' }, route: { cluster: 'upstream' },
        response_headers_to_add: [...UPSTREAMS_COOKIES, ...OUR_COOKIES].map((value) => ({ header: { key: 'set-cookie', value }, append_action: 'APPEND_IF_EXISTS_OR_ADD' })),
      },
    ],
  });
});
after(() => world?.stop());

describe('no client', () => {
  beforeEach(() => { world.upstream.requests.length = 0; });

  const refused = (answer, what) => {
    assert.ok((answer.status >= 300 && answer.status < 500) || answer.status === 501, `${what}: status ${answer.status}`);
    assert.deepEqual(world.upstream.requests, [], what);
  };

  for (const [id, path] of PATHS) {
    test(`${id} reaches the upstream by the path ${JSON.stringify(path.slice(0, 60))}`, async () => {
      for (const headers of [NAVIGATION, { accept: 'application/json' }, {}]) {
        refused(await world.send(path, { headers }), path);
        refused(await world.send(path, { method: 'POST', headers, body: 'x' }), path);
      }
      if (/^[\x21-\x7e]+$/.test(path)) refused(await send2(world.port, path, { headers: NAVIGATION }), `${path} over HTTP/2`);
    });
  }

  for (const method of METHODS) {
    test(`PATH-20 reaches the upstream by ${method}`, async () => {
      for (const path of ['/', '/admin', '/api/orders']) refused(await world.send(path, { method, headers: NAVIGATION }), `${method} ${path}`);
    });
  }

  for (const [id, headers] of HEADERS) {
    test(`${id} reaches the upstream with ${JSON.stringify(headers).slice(0, 80)}`, async () => {
      const sent = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Buffer.from(value).toString('latin1')]));
      for (const path of ['/', '/admin', '/api/orders']) {
        // A proxy may respond in its own way to odd methods; but nothing may reach the upstream.
        const options = 'x-http-method-override' in sent ? { headers: sent } : { headers: { ...NAVIGATION, ...sent } };
        refused(await world.send(path, options), path);
      }
    });
  }

  for (const [id, line] of RAW) {
    test(`${id} reaches the upstream with the line ${JSON.stringify(line)}`, async () => {
      const answer = await sendBytes(world.port, Buffer.from(`${line}\r\nhost: localhost:${world.port}\r\naccept: text/html\r\n\r\n`, 'latin1'));
      assert.ok(answer.status === 0 || answer.status >= 300, `status ${answer.status}`);
      assert.deepEqual(world.upstream.requests, []);
    });
  }

  test('PATH-15 reaches the upstream by extended CONNECT or without a host', async () => {
    const answer = await sendBytes(world.port, 'GET /admin HTTP/1.1\r\n\r\n');
    assert.ok(answer.status === 0 || answer.status >= 300);
    assert.deepEqual(world.upstream.requests, []);
  });

  test('RS-05 reaches the upstream with a token in the query, RS-06 in the body', async () => {
    const token = await world.token();
    refused(await world.send(`/api/orders?access_token=${token}`, { headers: { accept: 'application/json' } }), 'query');
    refused(await world.send('/api/orders', { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: `access_token=${token}` }), 'body');
  });

  test('RS-08 reaches the upstream with two Authorization fields', async () => {
    const token = await world.token();
    const answer = await world.send('/api/orders', { headers: [['authorization', 'Bearer wrong'], ['authorization', `Bearer ${token}`]] });
    refused(answer, 'two fields');
  });

  test('RS-29 finds its token repeated in the answer', async () => {
    const answer = await world.send('/api/orders', { headers: { authorization: 'Bearer canary"quoted' } });
    assert.ok([400, 401].includes(answer.status), `status ${answer.status}`);
    assert.ok(!JSON.stringify(answer.pairs).includes('canary') && !answer.text.includes('canary'));
  });

  test('HDR-02 passes identity headers on a public path', async () => {
    const spellings = [['x-auth-sub', 'm'], ['X-Auth-Sub', 'm'], ['X_AUTH_SUB', 'm'], ['x_auth-sub', 'm'], ['x.auth.sub', 'm'], ['x.auth_roles', 'm'], ['x-auth-roles', 'admin']];
    for (const method of ['GET', 'POST', 'OPTIONS', 'HEAD']) {
      const answer = await world.send('/public/x', { method, headers: [...spellings, ...spellings] });
      assert.equal(answer.status, 200);
      for (const name of ['x-auth-sub', 'x-auth-roles', 'x-auth-email', 'x-auth-name']) assert.deepEqual(receivedAll(world.received(), name), [], `${method} ${name}`);
    }
  });

  for (const [id, query] of CALLBACKS) {
    test(`${id} gets a session by the callback ${JSON.stringify(query.slice(0, 60))}`, async () => {
      const tokenRequests = world.provider.requests['/token'] ?? 0;
      const browser = world.browser();
      const answer = await browser.request(`${world.site}/oidc/callback${query}`);
      assert.ok(answer.status >= 400 && answer.status < 500, `status ${answer.status}`);
      assert.match(answer.header('cache-control'), /no-store/);
      assert.doesNotMatch(answer.text, /<script/i);
      assert.deepEqual(browser.cookiesOf(world.port), []);
      assert.equal(world.provider.requests['/token'] ?? 0, tokenRequests, 'no token request');
      assert.deepEqual(world.upstream.requests, []);
    });
  }

  for (const [id, address] of RETURN_ADDRESSES) {
    test(`${id} is led to ${JSON.stringify(address)} by a login`, async () => {
      const browser = world.browser();
      const page = await browser.login(`${world.site}/oidc/login?return_to=${encodeURIComponent(address)}`);
      assert.ok(page.url.startsWith(`${world.site}/`), page.url);
      assert.ok(page.status === 200 || page.status === 400, `status ${page.status}`);
      for (const { url } of browser.visited) assert.ok(url.startsWith(world.site) || url.startsWith(world.issuer), url);
      if (page.status === 200) assert.equal(page.url, `${world.site}/`);
    });
  }

  test('REDIR-17 is led away by a logout', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`);
    const headers = { ...NAVIGATION, 'sec-fetch-site': 'same-origin' };
    let answer = await browser.request(`${world.site}/oidc/logout?post_logout_redirect_uri=//evil.example&return_to=//evil.example`, { headers });
    if (answer.status === 200) answer = await browser.submit(answer, {}, { follow: false });
    assert.doesNotMatch(decodeURIComponent(answer.header('location') ?? ''), /evil\.example/);
  });

  test('FLOW-33 makes the provider send codes to another host', async () => {
    const answer = await world.send('/page', { headers: { ...NAVIGATION, host: 'evil.example' } });
    assert.doesNotMatch(decodeURIComponent(answer.header('location') ?? ''), /evil\.example/);
    assert.deepEqual(world.upstream.requests, []);
  });

  test('FLOW-64 begins a login for another issuer', async () => {
    const answer = await world.send('/oidc/login?iss=https://evil.example&target_link_uri=https://evil.example/', { headers: NAVIGATION });
    assert.ok(answer.status >= 300 && answer.status < 500, `status ${answer.status}`);
    assert.doesNotMatch(decodeURIComponent(answer.header('location') ?? ''), /evil\.example/);
    assert.deepEqual(world.upstream.requests, []);
  });
});

describe('a person', () => {
  beforeEach(() => { world.upstream.requests.length = 0; });

  /** A valid callback with one change must fail, and leave no session. */
  const fails = async (change, browser = world.browser()) => {
    const callback = new URL(await browser.untilCallback(`${world.site}/page`));
    const address = (await change(callback, browser)) ?? callback;
    const tokenRequests = world.provider.requests['/token'] ?? 0;
    const page = await browser.request(String(address));
    assert.ok(page.status >= 400 && page.status < 500, `status ${page.status}`);
    assert.match(page.header('cache-control'), /no-store/);
    assert.equal(world.provider.requests['/token'] ?? 0, tokenRequests, 'the code was not used');
    assert.equal((await browser.request(`${world.site}/page`)).status >= 300, true, 'no session');
    assert.deepEqual(world.upstream.requests, []);
    return page;
  };

  test('FLOW-04 with a state that is not the one of the login', () => fails((callback) => {
    const state = callback.searchParams.get('state');
    callback.searchParams.set('state', (state[0] === 'A' ? 'B' : 'A') + state.slice(1));
  }));
  test('FLOW-04 with half of the state', () => fails((callback) => {
    callback.searchParams.set('state', callback.searchParams.get('state').slice(0, 10));
  }));
  test('FLOW-02 with the state twice', () => fails((callback) => {
    callback.searchParams.append('state', callback.searchParams.get('state'));
  }));
  test('FLOW-14 with a code and an error', () => fails((callback) => callback.searchParams.set('error', 'access_denied')));
  test('FLOW-17 with the name of another issuer', () => fails((callback) => callback.searchParams.set('iss', 'https://evil.example')));
  test('FLOW-18 without the name of the issuer, although the provider announces it', () => fails((callback) => callback.searchParams.delete('iss')));
  test('FLOW-20 with a signed response that was not requested', () => fails((callback) => callback.searchParams.set('response', 'eyJ.eyJ.x')));
  test('FLOW-03 with the callback of another browser', () => fails(async () => new URL(await world.browser().untilCallback(`${world.site}/page`))));
  test('FLOW-44 without the cookie of the login', () => fails((_callback, browser) => { browser.cookies = []; }));
  test('FLOW-07 with the cookie of the login changed', () => fails((_callback, browser) => {
    for (const cookie of browser.cookiesOf(world.port)) cookie.value = cookie.value.slice(0, -4) + (cookie.value.endsWith('AAAA') ? 'BBBB' : 'AAAA');
  }));
  test('FLOW-11 with an error that holds a script', async () => {
    const page = await fails((callback) => {
      callback.searchParams.delete('code');
      callback.searchParams.set('error', 'access_denied');
      callback.searchParams.set('error_description', '<script>alert("canary")</script>');
    });
    assert.doesNotMatch(page.text, /<script/i);
  });

  test('FLOW-05 with a callback a second time gets no second session', async () => {
    const browser = world.browser();
    const callback = await browser.untilCallback(`${world.site}/page`);
    assert.equal((await browser.get(callback)).status, 200);
    const tokenRequests = world.provider.requests['/token'];
    const again = await browser.request(callback);
    assert.ok([302, 303, 400].includes(again.status), `status ${again.status}`);
    if (again.status !== 400) assert.ok(Browser.target(again).startsWith(`${world.site}/`), 'home, not to another login');
    assert.equal(world.provider.requests['/token'], tokenRequests);
    const other = world.browser();
    assert.equal((await other.request(callback)).status, 400);
    assert.deepEqual(other.cookiesOf(world.port), []);
  });

  test('FLOW-08 with the cookies of login and session exchanged', async () => {
    const browser = world.browser();
    const callback = await browser.untilCallback(`${world.site}/page`);
    const [login] = browser.cookiesOf(world.port);
    await browser.get(callback);
    const session = browser.cookiesOf(world.port).find(({ name }) => name !== login.name);
    world.upstream.requests.length = 0;
    const answer = await world.send('/page', { headers: { ...NAVIGATION, cookie: `${session.name}=${login.value}` } });
    assert.ok([302, 303].includes(answer.status), `status ${answer.status}`);
    const path = callback.slice(world.site.length);
    assert.equal((await world.send(path, { headers: { ...NAVIGATION, cookie: `${login.name}=${session.value}` } })).status, 400);
    assert.deepEqual(world.upstream.requests, []);
  });

  test('SESS-21 with a session cookie planted before the login gets a new one', async () => {
    const [attacker, victim] = [world.browser(), world.browser()];
    await attacker.login(`${world.site}/`, 'bob');
    victim.cookies = attacker.cookiesOf(world.port).map((cookie) => ({ ...cookie }));
    const planted = new Set(victim.cookies.map(({ value }) => value));
    await victim.login(`${world.site}/oidc/login`, 'alice');
    assert.ok(victim.cookiesOf(world.port).every(({ value }) => !planted.has(value)));
    assert.equal((await victim.request(`${world.site}/who`)).status, 200);
    assert.deepEqual(receivedAll(world.received(), 'x-auth-sub'), ['alice']);
  });

  test('FLOW-27 with a session of another Vestibule with another key', async () => {
    const other = await World.start();
    try {
      const browser = other.browser();
      await browser.login(`${other.site}/`);
      const cookie = browser.cookiesOf(other.port).map(({ name, value }) => `${name}=${value}`).join('; ');
      const answer = await world.send('/page', { headers: { ...NAVIGATION, cookie } });
      assert.ok([302, 303].includes(answer.status));
      assert.deepEqual(world.upstream.requests, []);
    } finally {
      await other.stop();
    }
  });

  test('RS-23 with a session and the token of another person is one of the two, never a mixture', async () => {
    const browser = world.browser();
    await browser.login(`${world.site}/`, 'bob');
    const token = await world.token();
    await browser.request(`${world.site}/api/orders`, { headers: { ...NAVIGATION, authorization: `Bearer ${token}` } });
    assert.deepEqual(receivedAll(world.received(), 'x-auth-sub'), ['orders-machine']);
    assert.deepEqual(receivedAll(world.received(), 'x-auth-email'), []);
  });
});

describe('the proxy', () => {
  test('HDR-14 selects the route by the identity header of the filter, not of the client', async () => {
    for (const [user, expected] of [['alice', 'for admins'], ['bob', 'for all']]) {
      const browser = world.browser();
      await browser.login(`${world.site}/`, user);
      for (const headers of [{}, { 'x-auth-roles': 'admin' }, { 'x-auth-roles': 'nothing' }, { X_Auth_Roles: 'admin' }]) {
        const answer = await browser.request(`${world.site}/by-role`, { headers: { ...NAVIGATION, ...headers } });
        assert.equal(answer.text, expected, `${user} ${JSON.stringify(headers)}`);
      }
    }
  });

  test('SESS-31 forwards every cookie of the upstream beside ours', async () => {
    const browser = world.browser();
    const callback = await browser.untilCallback(`${world.site}/cookies`);
    await browser.request(callback);
    // The first page after a login clears the attempt count.
    const answer = await browser.request(`${world.site}/cookies`);
    const lines = answer.all('set-cookie');
    for (const line of UPSTREAMS_COOKIES) assert.ok(lines.includes(line), `${line} in ${JSON.stringify(lines)}`);
    assert.ok(lines.length > UPSTREAMS_COOKIES.length, 'ours is there too');
    assert.ok(!lines.some((line) => line.includes('evil')), `none of the upstream's under our names: ${JSON.stringify(lines)}`);
    await until('the warning is logged', () => /code=upstream_sets_cookie/.test(world.envoy.stderr), 5_000);
    assert.match(answer.header('cache-control'), /no-store/);
  });
});
