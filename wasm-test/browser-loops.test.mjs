// Login loops in Chromium: each ends with an explanation after at most three authorization requests; the page
// names the possible causes, and the log what was detected. What only looks like a loop is none.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { inChromium, login, SCREENSHOTS } from './in-chromium.mjs';
import { freePort, ROUTER } from './world.mjs';

const OTHER_KEY = '0pLm7xRt2VbQ9sJd4KhYw6NzGc8FaUe3';
const type = (name, fields) => ({ '@type': `type.googleapis.com/${name}`, ...fields });
const manager = (listener) => listener.filter_chains[0].filters[0].typed_config;
const hostOf = (bootstrap) => manager(bootstrap.static_resources.listeners[0]).route_config.virtual_hosts[0];

/** The same filter with another name in Envoy, its configuration changed. */
const another = (filter, change = () => undefined) => {
  const copy = structuredClone(filter);
  copy.name = 'another';
  change(copy.typed_config.config.configuration.value);
  return copy;
};

/** A second proxy behind the first, with a filter of its own. */
const inARow = async (change) => {
  const port = await freePort();
  return (bootstrap) => {
    const { listeners, clusters } = bootstrap.static_resources;
    const second = structuredClone(listeners[0]);
    second.name = 'second';
    second.address.socket_address.port_value = port;
    manager(second).http_filters = [another(manager(second).http_filters[0], change), ROUTER];
    listeners.push(second);
    const behind = structuredClone(clusters.find(({ name }) => name === 'upstream'));
    behind.name = behind.load_assignment.cluster_name = 'second';
    behind.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value = port;
    clusters.push(behind);
    for (const { route } of hostOf(bootstrap).routes) if (route) route.cluster = 'second';
  };
};

/** Two filters in one chain. */
const twiceInOneChain = (change) => ({ static_resources: { listeners: [listener] } }) => {
  const { http_filters: filters } = manager(listener);
  filters.splice(1, 0, another(filters[0], change));
};

/** A host with two filters, as with a policy on each of two routes: `/billing` has its own filter. */
const splitByPath = (change) => (bootstrap) => {
  twiceInOneChain(change)(bootstrap);
  const host = hostOf(bootstrap);
  const without = (name) => ({ typed_per_filter_config: { [name]: type('envoy.config.route.v3.FilterConfig', { disabled: true, config: {} }) } });
  const [all] = host.routes.filter(({ match }) => match.prefix === '/');
  host.routes = [{ ...all, match: { prefix: '/billing' }, ...without('vestibule') }, { ...all, ...without('another') }];
};

/** A script in Envoy that decides which cookies the browser gets. */
const between = (script) => ({ static_resources: { listeners: [listener] } }) => {
  manager(listener).http_filters.unshift({
    name: 'between',
    typed_config: type('envoy.extensions.filters.http.lua.v3.Lua', { default_source_code: { inline_string: script } }),
  });
};

/** `envoy_on_response` with the cookies for which `isKept` is true, in Lua. */
const keeping = (isKept) => `function envoy_on_response(handle)
  local headers, kept = handle:headers(), {}
  for at = 0, headers:getNumValues("set-cookie") - 1 do
    local cookie = headers:getAtIndex("set-cookie", at)
    if ${isKept} then table.insert(kept, cookie) end
  end
  headers:remove("set-cookie")
  for _, cookie in ipairs(kept) do headers:add("set-cookie", cookie) end
end`;

/** Counts the authorization requests of this story's browser, and reads what Envoy logged. */
const begin = (it) => {
  const { provider, envoy } = it.world;
  const [before, logged] = [provider.requests['/auth'] ?? 0, envoy.stderr.length];
  return {
    attempts: () => (provider.requests['/auth'] ?? 0) - before,
    log: () => envoy.stderr.slice(logged),
  };
};

/** The text of the page, its code, and the target of its first button. Takes a screenshot. */
const said = async (page, name) => {
  await page.screenshot({ path: path.join(SCREENSHOTS, `loop-${name}.png`), fullPage: true });
  const [words, code] = [await page.textContent('p'), await page.textContent('code')];
  return { words, code, retry: await page.getAttribute('a', 'href') };
};

/** Opens a page, and logs in if the provider shows its form. */
const open = async (page, address) => {
  const answer = await page.goto(address);
  if (await page.$('#password')) await login(page);
  await page.waitForLoadState();
  return answer;
};

const BEHIND = /Two logins of this site/;
const ELSEWHERE = /another part of this site/;

for (const [name, alter] of [
  ['two proxies in a row with the same filter', await inARow()],
  ['two proxies in a row with different keys', await inARow(({ session }) => { session.keys = [OTHER_KEY]; })],
  ['two proxies in a row, each with a client of its own', await inARow(({ providers }) => { providers.demo.client_id = 'second'; })],
  ['two proxies in a row, the cookies of one named as those of the other and more', await inARow(({ session }) => { session.cookie_name = 'vestibule-two'; })],
  ['the same filter twice in one chain', twiceInOneChain()],
  ['two filters in one chain with different keys', twiceInOneChain(({ session }) => { session.keys = [OTHER_KEY]; })],
]) {
  inChromium(name, {
    alter,
    provider: { alter: ({ clients }) => { clients.push({ ...clients[0], client_id: 'second' }); } },
  }, (it) => {
    test('ends with a page that names the cause, with and without a session', async () => {
      const { page, world } = it;
      const seen = begin(it);
      await open(page, `${world.site}/orders?page=2`);
      const { words, code } = await said(page, name.replaceAll(/\W+/g, '-'));
      assert.match(words, BEHIND);
      assert.deepEqual([code, seen.attempts() <= 3], ['login_loop', true], `${seen.attempts()} attempts`);
      assert.match(seen.log(), /code=login_loop .* seen: a filter behind this one began this login; cookies of the filter: .*vestibule-login-\*/);
      assert.equal(world.upstream.requests.length, 0);
      // The page is public at the front filter, so only the one behind begins a login.
      await it.context.clearCookies({ name: /^vestibule/ });
      const open2 = begin(it);
      await page.goto(`${world.site}/orders`);
      assert.match((await said(page, `${name.replaceAll(/\W+/g, '-')}-again`)).words, BEHIND);
      assert.ok(open2.attempts() <= 3, `${open2.attempts()} attempts`);
    });
  });
}

inChromium('one host in two parts whose filters share their sessions', { alter: splitByPath() }, (it) => {
  test('needs one login', async () => {
    const { page, world } = it;
    const seen = begin(it);
    for (const part of ['/billing/1?page=2', '/orders?page=2', '/billing/2']) {
      assert.equal((await open(page, `${world.site}${part}`)).status(), 200);
      assert.equal(page.url(), `${world.site}${part}`);
    }
    assert.equal(seen.attempts(), 1);
  });
});

for (const [name, change, words, code] of [
  ['another cookie name', ({ session }) => { session.cookie_name = 'other'; }, ELSEWHERE, 'login_not_ours'],
  ['different keys', ({ session }) => { session.keys = [OTHER_KEY]; }, ELSEWHERE, /login_not_(opened|ours)/],
  ['a client of its own', ({ providers }) => { providers.demo.client_id = 'second'; }, ELSEWHERE, /login_not_(opened|ours)/],
  ['other claims', ({ session }) => { session.claims = ['zoneinfo']; }, /cannot read the session of another part/, 'login_loop'],
]) {
  inChromium(`one host in two parts, one of which has ${name}`, {
    alter: splitByPath(change),
    provider: { alter: ({ clients }) => { clients.push({ ...clients[0], client_id: 'second' }); } },
  }, (it) => {
    test('ends with a page that names the cause, with and without a session of the other part', async () => {
      const { page, world } = it;
      for (const isLoggedIn of [false, true]) {
        await it.context.clearCookies();
        if (isLoggedIn) await open(page, `${world.site}/orders`);
        const seen = begin(it);
        await open(page, `${world.site}/billing?page=2`);
        const shown = await said(page, `split-${name.replaceAll(' ', '-')}-${isLoggedIn}`);
        if (name === 'other claims' && shown.code === undefined) assert.fail('no page of ours');
        assert.match(shown.words, words);
        assert.match(shown.code, code instanceof RegExp ? code : new RegExp(`^${code}$`));
        assert.ok(seen.attempts() <= 3, `${seen.attempts()} attempts`);
        if (name === 'another cookie name') {
          assert.equal(shown.retry, '/billing?page=2');
          assert.match(seen.log(), /began this login, with the cookie other/);
        }
      }
    });
  });
}

inChromium('a site by plain http without the switch', {
  chromium: ['--host-resolver-rules=MAP app.example 127.0.0.1'],
  configure: ({ session, ...configuration }, world) => ({
    ...configuration,
    session: { ...session, insecure_allow_http: false, hosts: [`app.example:${world.port}`] },
  }),
}, (it) => {
  test('is refused with the reason and a link', async () => {
    const { page, world } = it;
    const seen = begin(it);
    const answer = await page.goto(`http://app.example:${world.port}/orders?page=2`);
    const { words, code, retry } = await said(page, 'plain-http');
    assert.deepEqual([answer.status(), code, seen.attempts()], [400, 'unencrypted', 0]);
    assert.match(words, /Open it again by https/);
    assert.equal(retry, '/oidc/login?return_to=%2Forders%3Fpage%3D2');
    assert.deepEqual(await it.context.cookies(), []);
  });
});

inChromium('windows and frames', {}, (it) => {
  test('a popup stays one when a cancelled login is tried again', async () => {
    const { page, world, context } = it;
    await page.goto(`${world.site}/public/`);
    const [popup] = await Promise.all([
      context.waitForEvent('page'),
      page.evaluate(() => {
        window.heard = [];
        window.addEventListener('message', ({ data }) => window.heard.push(data));
        window.open('/oidc/login?display=popup&return_to=/orders', 'login', 'width=400,height=600');
      }),
    ]);
    await popup.click('text=Cancel');
    const { words, code } = await said(popup, 'popup-cancelled');
    assert.match(words, /You cancelled the login/);
    assert.equal(code, 'authorization_refused');
    await popup.click('a:has-text("Try again")');
    const closed = popup.waitForEvent('close');
    await login(popup);
    await closed;
    await page.waitForFunction(() => window.heard.length > 0);
    assert.deepEqual(await page.evaluate(() => window.heard), [{ type: 'vestibule:logged-in' }]);
  });

  test('a page in a frame has a link to the login, which leaves the frame', async () => {
    const { page, world } = it;
    const seen = begin(it);
    // Another origin, because its port differs.
    await page.goto(`${world.issuer}/.well-known/openid-configuration`);
    await page.setContent(`<h1>A portal</h1><iframe width="700" height="400" src="${world.site}/orders?page=2"></iframe>`);
    const frame = page.frameLocator('iframe');
    await frame.locator('text=Log in').waitFor();
    await page.screenshot({ path: path.join(SCREENSHOTS, 'loop-frame.png') });
    assert.equal(await frame.locator('code').textContent(), 'login_in_frame');
    assert.equal(seen.attempts(), 1, 'the provider gets a request with prompt=none');
    await frame.locator('text=Log in').click();
    await page.waitForURL(`${world.issuer}/interaction/**`);
    await login(page);
    await page.waitForURL(`${world.site}/orders?page=2`);
    assert.equal(seen.attempts(), 2);
    // With a session at the provider the login is invisible.
    await page.context().clearCookies({ name: /vestibule/ });
    await page.goto(`${world.issuer}/.well-known/openid-configuration`);
    await page.setContent(`<iframe width="700" height="400" src="${world.site}/orders?page=2"></iframe>`);
    await page.frameLocator('iframe').locator('text=x-auth-sub').first().waitFor();
    assert.equal(seen.attempts(), 3);
  });
});

const sendsToLogin = [
  { match: { path: '/public/server' }, redirect: { path_redirect: '/oidc/login?return_to=/public/server' } },
  {
    match: { path: '/public/script' },
    direct_response: { status: 200, body: { inline_string: '<script>location = "/oidc/login?return_to=/public/script"</script>' } },
    response_headers_to_add: [{ header: { key: 'content-type', value: 'text/html' } }],
  },
];

inChromium('an application that sends everybody to the login', { routes: sendsToLogin }, (it) => {
  for (const kind of ['server', 'script']) {
    test(`by its ${kind} ends with a page that names the cause, and a click continues`, async () => {
      const { page, world } = it;
      const seen = begin(it);
      await page.goto(`${world.site}/public/${kind}`).catch(() => undefined);
      await page.waitForSelector('#password');
      await login(page);
      await page.waitForSelector('text=The login goes round in circles');
      const { words, code, retry } = await said(page, `application-${kind}`);
      assert.match(words, /requests another login every time/);
      assert.deepEqual([code, seen.attempts(), retry], ['login_loop', 3, `/oidc/login?return_to=%2Fpublic%2F${kind}`]);
      assert.match(seen.log(), /code=login_loop .* seen: the session \S+; cookies of the filter: .*vestibule/);
      // The person is logged in, as any other page shows.
      await page.goto(`${world.site}/orders`);
      assert.match(await page.textContent('#identity'), /alice/);
    });
  }

  test('a person may request logins as often as they like, and replay the responses', async () => {
    const { page, world } = it;
    const callbacks = [];
    page.on('request', (request) => { if (request.url().includes('/oidc/callback')) callbacks.push(request.url()); });
    await open(page, `${world.site}/orders`);
    await page.waitForURL(`${world.site}/orders`);
    for (let round = 0; round < 6; round += 1) {
      await page.evaluate(() => { document.body.innerHTML = '<a href="/oidc/login?return_to=/orders">once more</a>'; });
      await page.click('a');
      await page.waitForSelector('#identity');
      assert.equal(page.url(), `${world.site}/orders`);
    }
    for (const callback of [...callbacks, ...callbacks]) {
      assert.equal((await page.goto(callback)).status(), 200);
      assert.equal((await page.reload()).status(), 200);
      assert.equal(page.url(), `${world.site}/orders`);
    }
  });
});

inChromium('a browser that keeps the session in no cookie', { alter: between(keeping('cookie:find("^vestibule%-")')) }, (it) => {
  test('is refused after three attempts', async () => {
    const { page, world } = it;
    const seen = begin(it);
    await open(page, `${world.site}/orders?page=2`);
    const { words, code, retry } = await said(page, 'session-dropped');
    assert.match(words, /your browser did not keep the session. Allow cookies/);
    assert.deepEqual([code, seen.attempts(), retry], ['login_loop', 3, '/oidc/login?return_to=%2Forders%3Fpage%3D2']);
    assert.match(seen.log(), /code=login_loop .* seen: this needs a login; cookies of the filter: vestibule-tries/);
  });
});

inChromium('a browser that keeps no cookie at all', { alter: between(keeping('not cookie:find("^vestibule")')) }, (it) => {
  test('is refused after the first', async () => {
    const { page, world } = it;
    const seen = begin(it);
    await open(page, `${world.site}/orders?page=2`);
    const { words, code, retry } = await said(page, 'no-cookies');
    assert.match(words, /the browser must accept cookies/);
    assert.deepEqual([code, seen.attempts(), retry], ['login_no_cookie', 1, '/oidc/login?return_to=%2Forders%3Fpage%3D2']);
  });
});

inChromium('an application that deletes all cookies with every page', {
  alter: between(`function envoy_on_response(handle)
    if handle:headers():get("x-envoy-upstream-service-time") then handle:headers():add("clear-site-data", "\\"cookies\\"") end
  end`),
}, (it) => {
  test('is no loop: each page appears after a login', async () => {
    const { page, world } = it;
    const seen = begin(it);
    for (const at of ['/orders', '/other']) {
      const answer = await open(page, `${world.site}${at}`);
      assert.equal(page.url().startsWith(world.issuer) || answer.status() === 200, true);
      await page.waitForURL(`${world.site}${at}`);
    }
    assert.ok(seen.attempts() <= 3, `${seen.attempts()} attempts`);
  });
});

inChromium('a page that needs a login of a kind that the provider never does', {
  configure: (configuration) => { configuration.rules.push({ name: 'pay', path: '/pay', authentication: { acr_values: ['gold'] } }); },
}, (it) => {
  test('is refused after one login, however often it is opened or reloaded', async () => {
    const { page, world } = it;
    await open(page, `${world.site}/orders`);
    const seen = begin(it);
    await open(page, `${world.site}/pay`);
    const { words, code } = await said(page, 'step-up');
    assert.match(words, /requires a stronger or a more recent login/);
    assert.deepEqual([code, seen.attempts()], ['step_up_not_met', 1]);
    for (let time = 0; time < 4; time += 1) {
      await page.reload();
      if (await page.$('#password')) await login(page);
      await page.waitForSelector('code');
      assert.equal(await page.textContent('code'), 'step_up_not_met');
    }
  });
});

inChromium('an ID token that is over when it arrives', {
  configure: (configuration) => { configuration.providers.demo.leeway_seconds = 0; },
  provider: { alter: (configuration) => { configuration.ttl.IdToken = () => 1; } },
}, (it) => {
  test('ends with a page that names the cause after one login', async () => {
    const { page, world } = it;
    world.provider.intercept = (request, response) => {
      if (request.url !== '/token') return false;
      const end = response.end.bind(response);
      response.end = (body) => {
        setTimeout(() => end(body), 2_500);
        return response;
      };
      return false;
    };
    const seen = begin(it);
    await open(page, `${world.site}/orders`);
    const { words, code } = await said(page, 'id-token-over');
    assert.match(words, /Try again/);
    assert.deepEqual([code, seen.attempts()], ['id_token_expired', 1]);
  });
});
