// What a real browser preserves over a login: forms and fragments.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { SCREENSHOTS, endSession, inChromium, login } from './in-chromium.mjs';
import { until } from './world.mjs';

const PHONE = { width: 360, height: 740 };

/** A person fills in a form of the page and sends it. */
const sendForm = (page, { action, fields, enctype = 'application/x-www-form-urlencoded' }) => page.evaluate(
  ([to, pairs, type]) => {
    const form = Object.assign(document.createElement('form'), { method: 'post', action: to, enctype: type });
    for (const [name, value] of pairs) {
      const field = document.createElement('textarea');
      Object.assign(field, { name, value });
      form.append(field);
    }
    document.body.append(form);
    HTMLFormElement.prototype.submit.call(form);
  }, [action, fields, enctype]);

/** The POST requests at the upstream. */
const posts = (world) => world.upstream.requests.filter(({ method }) => method === 'POST');

const FIELDS = [['text', 'one\ntwo "<script>alert(1)</script>'], ['submit', '1'], ['text', 'é€&=+%'], ['empty', '']];
const BODY = 'text=one%0D%0Atwo+%22%3Cscript%3Ealert%281%29%3C%2Fscript%3E&submit=1&text=%C3%A9%E2%82%AC%26%3D%2B%25&empty=';

inChromium('a form in Chromium (REDIR-12)', {}, (it) => {
  test('that is submitted after the session has ended is sent once, unchanged, after the login', async () => {
    const { page, world } = it;
    await page.goto(`${world.site}/orders/new`);
    await login(page);
    await page.waitForURL(`${world.site}/orders/new`);
    await endSession(it);
    await sendForm(page, { action: '/orders?draft=1', fields: FIELDS });
    // The provider knows the person, so there is no prompt.
    await until('the form has come', () => posts(world).length > 0);
    await page.waitForURL(`${world.site}/orders?draft=1`);
    assert.deepEqual(posts(world).map(({ path: to, body }) => [to, body]), [['/orders?draft=1', BODY]]);
    assert.equal(await page.textContent('#request-line'), 'POST /orders?draft=1');
    assert.equal(await page.evaluate(() => sessionStorage.length), 0, 'nothing stays behind');
    // Back leads to the form, and does not send it again.
    await page.goBack();
    assert.equal(page.url(), `${world.site}/orders/new`);
    assert.equal(posts(world).length, 1);
  });

  test('outlives a login with a prompt', async () => {
    const { page, world, context } = it;
    await page.goto(`${world.site}/orders/new`);
    await login(page);
    await page.waitForURL(`${world.site}/orders/new`);
    await context.clearCookies();
    await sendForm(page, { action: '/orders', fields: FIELDS });
    await login(page);
    await page.waitForURL(`${world.site}/orders`);
    assert.deepEqual(posts(world).map(({ body }) => body), [BODY]);
  });

  test('with a file is not lost: a reload after a login in another window sends it', async () => {
    const { page, world, context } = it;
    await page.goto(`${world.site}/orders/new`);
    await login(page);
    await page.waitForURL(`${world.site}/orders/new`);
    await endSession(it);
    await sendForm(page, { action: '/upload', fields: FIELDS, enctype: 'multipart/form-data' });
    await page.waitForSelector('text=not lost yet');
    await page.screenshot({ path: path.join(SCREENSHOTS, '9-not-kept.png'), fullPage: true });
    const [other] = await Promise.all([context.waitForEvent('page'), page.click('a:has-text("Open the login")')]);
    await until('the other window has logged in', async () => (await context.cookies(world.site)).some(({ name }) => name === 'vestibule'));
    assert.ok(other);
    await page.reload();
    assert.equal(await page.textContent('#request-line'), 'POST /upload');
    assert.match(posts(world)[0].body, /name="text"\r\n\r\none\r\ntwo/);
  });

  test('whose login ends in another window stays in its window, and a page says so', async () => {
    const { page, world, context } = it;
    await page.goto(`${world.site}/public/form`);
    await sendForm(page, { action: '/orders', fields: FIELDS });
    await page.waitForURL(`${world.issuer}/interaction/**`);
    const other = await context.newPage();
    await other.goto(page.url());
    await login(other);
    await other.waitForSelector('text=is not in this window');
    await other.screenshot({ path: path.join(SCREENSHOTS, '9-elsewhere.png'), fullPage: true });
    await other.click('text=Continue');
    await other.waitForURL(`${world.site}/public/form`);
    assert.equal(posts(world).length, 0);
  });

  test('in a window that cannot store it stays there, and the page says so', async () => {
    const { context, world } = it;
    await context.addInitScript(() => { Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }; });
    const page = await context.newPage();
    await page.goto(`${world.site}/public/`);
    await sendForm(page, { action: '/orders', fields: FIELDS });
    await page.waitForSelector('text=not lost yet');
    assert.equal(page.url(), `${world.site}/orders`);
    assert.equal(world.upstream.requests.filter(({ path: to }) => to === '/orders').length, 0);
  });

  test('from another site is neither preserved nor sent', async () => {
    const { page, world } = it;
    await page.goto(`${world.site}/orders/new`);
    await login(page);
    await page.waitForURL(`${world.site}/orders/new`);
    await endSession(it);
    // Another origin, because its port differs; its policy for forms is not ours.
    await page.goto(`${world.issuer}/.well-known/openid-configuration`);
    await sendForm(page, { action: `${world.site}/orders`, fields: FIELDS });
    await page.waitForURL(`${world.site}/orders`);
    assert.match(await page.textContent('body'), /not_logged_in/);
    assert.doesNotMatch(await page.textContent('body'), /not lost yet/);
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    assert.equal(posts(world).length, 0);
  });

  test('is sent once: neither a reload nor another site sends it again', async () => {
    const { page, world } = it;
    await page.goto(`${world.site}/orders/new`);
    await login(page);
    await page.waitForURL(`${world.site}/orders/new`);
    await endSession(it);
    let brought;
    page.on('request', (request) => { if (request.url().endsWith('/oidc/restore')) brought = request.postData(); });
    await sendForm(page, { action: '/orders', fields: FIELDS });
    await page.waitForURL(`${world.site}/orders`);
    await until('the form has come', () => posts(world).length > 0);
    const pairs = [...new URLSearchParams(brought)];
    await sendForm(page, { action: '/oidc/restore', fields: pairs });
    await page.waitForSelector('text=sent already');
    await page.screenshot({ path: path.join(SCREENSHOTS, '9-sent-already.png'), fullPage: true });
    await page.goto(`${world.issuer}/.well-known/openid-configuration`);
    await sendForm(page, { action: `${world.site}/oidc/restore`, fields: pairs });
    await page.waitForSelector('text=cross_site');
    assert.equal(posts(world).length, 1);
  });

  test('without scripts is not sent, and the page says that it is not lost', async () => {
    const context = await it.browser.newContext({ javaScriptEnabled: false });
    try {
      const page = await context.newPage();
      await page.goto(`${it.world.site}/public/`);
      await page.setContent(`<form method="post" action="${it.world.site}/orders"><input name="a" value="1"><button>Go</button></form>`);
      await page.click('button');
      await page.waitForURL(`${it.world.site}/orders`);
      assert.equal(posts(it.world).length, 0);
    } finally {
      await context.close();
    }
  });

  for (const colorScheme of ['light', 'dark']) {
    test(`the pages in between fit on a phone (${colorScheme})`, async () => {
      const phone = await it.browser.newContext({ viewport: PHONE, colorScheme, isMobile: true });
      try {
        const page = await phone.newPage();
        const problems = [];
        page.on('console', (message) => message.type() === 'error' && /Content.Security.Policy|Refused/.test(message.text()) && problems.push(message.text()));
        await page.addInitScript(() => { Storage.prototype.setItem = () => { throw new Error('none'); }; });
        await page.goto(`${it.world.site}/public/`);
        await sendForm(page, { action: '/orders', fields: FIELDS });
        await page.waitForSelector('text=not lost yet');
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'the page is wider than the screen');
        await page.screenshot({ path: path.join(SCREENSHOTS, `9-form-${colorScheme}.png`), fullPage: true });
        await page.goto(`${it.world.site}/oidc/login?display=popup`);
        await login(page);
        await page.waitForSelector('text=You can close this window');
        await page.screenshot({ path: path.join(SCREENSHOTS, `9-popup-${colorScheme}.png`), fullPage: true });
        assert.deepEqual(problems, [], 'style and script are allowed by the policy');
      } finally {
        await phone.close();
      }
    });
  }
});

const keepFragments = { configure: (configuration) => { configuration.session.preserve_fragment = true; } };

inChromium('a fragment in Chromium', keepFragments, (it) => {
  for (const fragment of ['#/orders/7?x=1', '#"><img src=x onerror=alert(1)>', '#javascript:alert(1)', '#//evil.example/', `#${'x'.repeat(20_000)}`, '']) {
    test(`returns with its page: ${fragment.slice(0, 24)}`, async () => {
      const { page, world } = it;
      const dialogs = [];
      page.on('dialog', (dialog) => { dialogs.push(dialog.message()); dialog.dismiss(); });
      const address = new URL(`/app?a=1&b=%22${fragment}`, world.site).href;
      await page.goto(address);
      await page.waitForURL(`${world.issuer}/interaction/**`);
      assert.equal(new URL(page.url()).hash, '', 'the provider does not learn it');
      await login(page);
      await page.waitForURL((url) => url.href === address);
      assert.equal(await page.textContent('#request-line'), 'GET /app?a=1&b=%22');
      assert.deepEqual(dialogs, []);
      assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    });
  }

  test('of each of two tabs stays with its tab', async () => {
    const { page, context, world } = it;
    const second = await context.newPage();
    await page.goto(`${world.site}/tab#one`);
    await second.goto(`${world.site}/tab#two`);
    await page.waitForURL(`${world.issuer}/interaction/**`);
    await second.waitForURL(`${world.issuer}/interaction/**`);
    await login(page);
    await page.waitForURL(`${world.site}/tab#one`);
    await login(second);
    await second.waitForURL(`${world.site}/tab#two`);
  });

  test('needs scripts; without them the login continues without it', async () => {
    const context = await it.browser.newContext({ javaScriptEnabled: false });
    try {
      const page = await context.newPage();
      await page.goto(`${it.world.site}/app#x`);
      await page.waitForURL(`${it.world.issuer}/interaction/**`);
      await login(page);
      await page.click('text=Continue');
      await page.waitForURL(`${it.world.site}/app`);
    } finally {
      await context.close();
    }
  });
});
