// The tabs and windows of a real browser side by side, the effects of its history on a login, and what its
// scripts can read.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endSession, inChromium, login } from './in-chromium.mjs';

inChromium('tabs and windows in Chromium', {}, (it) => {
  test('seven tabs, opened at once, all end on their own pages', async () => {
    const { context, page, world } = it;
    const tabs = await Promise.all([1, 2, 3, 4, 5, 6, 7].map(() => context.newPage()));
    await Promise.all(tabs.map((tab, index) => tab.goto(`${world.site}/tab/${index}?n=${index}`)));
    for (const index of [6, 0, 3, 5, 1, 2, 4]) {
      await login(tabs[index]);
      await tabs[index].waitForURL(`${world.site}/tab/${index}?n=${index}`);
    }
    await page.goto(`${world.site}/`);
    const left = (await context.cookies(world.site)).map(({ name }) => name).filter((name) => name.startsWith('vestibule'));
    assert.deepEqual(left, ['vestibule']);
  });

  test('a fragment outlives a login without a prompt, by redirects alone', async () => {
    const { page, world } = it;
    await page.goto(`${world.site}/`);
    await login(page);
    await page.waitForURL(`${world.site}/`);
    await endSession(it);
    await page.goto(`${world.site}/app#/orders/7`);
    assert.equal(page.url(), `${world.site}/app#/orders/7`);
  });

  /** The browser shows the requested page, and no error page of ours. */
  const shows = async (page, answer, url) => {
    assert.deepEqual([answer.status(), page.url()], [200, url]);
    assert.equal(await page.textContent('#request-line'), `GET ${url.slice(new URL(url).origin.length)}`);
  };

  test('back from the provider and forward to it again is the same login', async () => {
    const { page, world } = it;
    await page.goto(`${world.site}/public/`);
    await page.goto(`${world.site}/orders?page=2`);
    const form = page.url();
    await shows(page, await page.goBack(), `${world.site}/public/`);
    assert.equal((await page.goForward()).status(), 200);
    assert.equal(page.url(), form);
    const [answer] = await Promise.all([page.waitForResponse(`${world.site}/orders?page=2`), login(page)]);
    await page.waitForURL(`${world.site}/orders?page=2`);
    await shows(page, answer, `${world.site}/orders?page=2`);
  });

  test('back after the login leads to the provider at most, and forward again to the page', async () => {
    const { page, world } = it;
    await page.goto(`${world.site}/public/`);
    await page.goto(`${world.site}/orders?page=2`);
    const form = page.url();
    await login(page);
    await page.waitForURL(`${world.site}/orders?page=2`);
    // No page of ours is between the two. The provider decides what its old page shows.
    await page.goBack();
    assert.equal(page.url(), form);
    await shows(page, await page.goForward(), `${world.site}/orders?page=2`);
    await page.goBack();
    await shows(page, await page.goBack(), `${world.site}/public/`);
  });

  test('the old form of a provider that shows it again leads to the page, without another login', async () => {
    const { page, world } = it;
    const seen = [];
    page.on('response', (response) => seen.push(response));
    await page.goto(`${world.site}/public/`);
    await page.goto(`${world.site}/orders?page=2`);
    const form = page.url();
    const html = await page.content();
    const { search } = new URL(seen.find((response) => response.url().startsWith(`${world.issuer}/auth?`)).url());
    await login(page);
    await page.waitForURL(`${world.site}/orders?page=2`);
    const session = async () => (await it.context.cookies(world.site)).find(({ name }) => name === 'vestibule').value;
    const before = await session();
    // As the person is logged in by now, it responds to the form with another code for the same request.
    world.provider.intercept = (request, response) => {
      if (!request.url.startsWith('/interaction/')) return false;
      if (request.method === 'POST') response.writeHead(303, { location: `/auth${search}` }).end();
      else response.writeHead(200, { 'content-type': 'text/html', 'cache-control': 'no-store' }).end(html);
      return true;
    };
    try {
      await page.goBack();
      assert.equal(page.url(), form);
      seen.length = 0;
      await login(page);
      await page.waitForURL(`${world.site}/orders?page=2`);
      await shows(page, seen.at(-1), `${world.site}/orders?page=2`);
      const ours = seen.filter((response) => response.url().startsWith(world.site));
      assert.deepEqual(ours.map((response) => [response.status(), new URL(response.url()).pathname]), [[302, '/oidc/callback'], [200, '/orders']]);
      assert.equal(await session(), before);
    } finally {
      world.provider.intercept = undefined;
    }
  });

  test('a callback from the history leads to the page of its login', async () => {
    const { page, world } = it;
    let callback;
    page.on('request', (request) => { if (request.url().includes('/oidc/callback')) callback = request.url(); });
    await page.goto(`${world.site}/orders?page=2`);
    await login(page);
    await page.waitForURL(`${world.site}/orders?page=2`);
    await page.goto(`${world.site}/other`);
    await page.goto(callback);
    assert.equal(page.url(), `${world.site}/orders?page=2`);
    await endSession(it);
    await page.goto(callback);
    assert.match(await page.textContent('body'), /This login cannot be completed/);
    await page.click('text=Try again');
    await page.waitForURL(`${world.site}/orders?page=2`);
  });

  test('a login in a popup notifies the page that opened it, and closes', async () => {
    const { page, world, context } = it;
    await page.goto(`${world.site}/public/`);
    const [popup] = await Promise.all([
      context.waitForEvent('page'),
      page.evaluate(() => {
        window.heard = [];
        window.addEventListener('message', ({ origin, data }) => window.heard.push([origin, data]));
        new BroadcastChannel('vestibule').addEventListener('message', ({ data }) => window.heard.push(['channel', data]));
        window.open('/oidc/login?display=popup', 'login', 'width=400,height=600');
      }),
    ]);
    const closed = popup.waitForEvent('close');
    await login(popup);
    await closed;
    await page.waitForFunction(() => window.heard.length === 2);
    const heard = await page.evaluate(() => window.heard);
    const message = { type: 'vestibule:logged-in' };
    assert.deepEqual(heard.sort(), [['channel', message], [world.site, message]].sort());
    const info = await page.evaluate(async () => (await fetch('/oidc/session')).json());
    assert.deepEqual(info.claims, { sub: 'alice' });
  });

  test('a popup that another site opened notifies nobody', async () => {
    const { page, world, context } = it;
    // Another origin, because its port differs.
    await page.goto(`${world.issuer}/.well-known/openid-configuration`);
    const [popup] = await Promise.all([
      context.waitForEvent('page'),
      page.evaluate((to) => {
        window.heard = [];
        window.addEventListener('message', ({ data }) => window.heard.push(data));
        window.opened = window.open(`${to}/oidc/login?display=popup&return_to=/orders`, 'login');
      }, world.site),
    ]);
    await login(popup);
    await popup.waitForURL(`${world.site}/orders`);
    // Neither by a message nor by closing.
    assert.deepEqual(await page.evaluate(() => [window.heard, window.opened.closed]), [[], false]);
  });

  test('a script reads who is logged in, and for how long', async () => {
    const { page, world, context } = it;
    await page.goto(`${world.site}/public/`);
    const fetchInfo = (method) => page.evaluate(async (how) => {
      const response = await fetch('/oidc/session', { method: how });
      return { status: response.status, body: await response.json() };
    }, method);
    const before = await fetchInfo('GET');
    assert.equal(before.status, 401);
    assert.equal(before.body.login, '/oidc/login');
    await page.goto(`${world.site}${before.body.login}?return_to=${encodeURIComponent('/public/app?x=1#/route')}`);
    await login(page);
    await page.waitForURL(`${world.site}/public/app?x=1#/route`);
    for (const method of ['GET', 'POST']) {
      const { status, body } = await fetchInfo(method);
      assert.equal(status, 200);
      assert.deepEqual(body.claims, { sub: 'alice' });
      assert.ok(body.expires_in > 28_000 && body.expires_in <= 28_800 && body.idle_expires_in <= 3600);
    }
    assert.equal((await context.cookies(world.site)).filter(({ name }) => name.startsWith('vestibule-login')).length, 0);
  });
});
