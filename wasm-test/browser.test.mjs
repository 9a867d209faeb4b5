// The login of the demo in a real browser. Screenshots go to .build/screenshots/.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { chromiumPath } from './chromium.mjs';
import { ROOT, World } from './world.mjs';

const SCREENSHOTS = path.join(ROOT, '.build/screenshots');
const PHONE = { width: 360, height: 740 };

describe('in Chromium', () => {
  let world;
  let browser;
  let context;
  let page;
  before(async () => {
    mkdirSync(SCREENSHOTS, { recursive: true });
    world = await World.start({ concurrency: 2 });
    browser = await chromium.launch({
      executablePath: chromiumPath(),
      headless: true,
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    });
  });
  after(async () => {
    await browser?.close();
    await world?.stop();
  });
  beforeEach(async () => {
    await context?.close();
    context = await browser.newContext();
    context.setDefaultTimeout(20_000);
    page = await context.newPage();
  });

  const shot = (name, on = page) => on.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), fullPage: true });

  const login = async (on, user) => {
    await on.fill('#login', user);
    await on.fill('#password', user);
    await on.click('button:has-text("Log in")');
  };

  /** Nothing wider than the screen: no sideways scrolling. */
  const fits = async (on) => assert.ok(await on.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'the page is wider than the screen');

  test('a person logs in, sees the requested page, and logs out', async () => {
    const address = `${world.site}/orders/%7E7?from=2024&x=%2520&y=//`;
    await page.goto(address);
    assert.ok(page.url().startsWith(`${world.issuer}/interaction/`), page.url());
    await shot('1-login');
    await login(page, 'alice');
    await page.waitForURL(address);
    assert.equal(await page.textContent('#request-line'), 'GET /orders/%7E7?from=2024&x=%2520&y=//');
    const identity = await page.textContent('#identity');
    for (const shown of ['x-auth-sub', 'alice', 'alice@demo.example', 'Alice Example', 'admin']) assert.ok(identity.includes(shown), shown);
    await shot('2-page');
    // Reloading and another page need no login.
    await page.reload();
    await page.goto(`${world.site}/admin`);
    assert.match(await page.textContent('#identity'), /alice/);

    await page.click('text=Log out');
    await page.waitForLoadState();
    if (page.url().startsWith(`${world.site}/oidc/logout`)) {
      await shot('3-logout');
      await page.click('button');
    }
    await page.waitForURL(`${world.issuer}/session/end**`);
    await shot('4-logout-provider');
    await page.click('button:has-text("Log out")');
    await page.waitForURL(`${world.site}/oidc/logged-out**`);
    await shot('5-logged-out');
    await page.goto(address);
    assert.ok(page.url().startsWith(`${world.issuer}/interaction/`), page.url());
  });

  test('a script of the page gets the login address, and sees no cookie of ours', async () => {
    await page.goto(`${world.site}/public/`);
    const answer = await page.evaluate(async () => {
      const response = await fetch('/orders');
      return { status: response.status, redirected: response.redirected, body: await response.text() };
    });
    assert.equal(answer.status, 401);
    assert.equal(answer.redirected, false);
    assert.match(answer.body, /\/oidc\/login/);
    await page.goto(`${world.site}/orders`);
    await login(page, 'bob');
    await page.waitForURL(`${world.site}/orders`);
    assert.equal(await page.evaluate(() => document.cookie), '');
    assert.equal(await page.evaluate(async () => (await fetch('/orders')).status), 200);
  });

  test('two tabs log in side by side', async () => {
    const second = await context.newPage();
    await page.goto(`${world.site}/tab/1`);
    await second.goto(`${world.site}/tab/2`);
    await login(page, 'alice');
    await page.waitForURL(`${world.site}/tab/1`);
    await login(second, 'alice');
    await second.waitForURL(`${world.site}/tab/2`);
  });

  test('a page without the required role shows the reason', async () => {
    const response = page.waitForResponse((answer) => answer.url() === `${world.site}/admin`, { timeout: 20_000 });
    await page.goto(`${world.site}/admin`);
    await response;
    await login(page, 'bob');
    await page.waitForURL(`${world.site}/admin`);
    assert.ok((await page.textContent('body')).trim().length > 20);
    await shot('6-forbidden');
  });

  for (const colorScheme of ['light', 'dark']) {
    test(`the error page fits on a phone (${colorScheme})`, async () => {
      const phone = await browser.newContext({ viewport: PHONE, colorScheme, isMobile: true });
      try {
        const small = await phone.newPage();
        const problems = [];
        small.on('console', (message) => message.type() === 'error' && /Content.Security.Policy|Refused/.test(message.text()) && problems.push(message.text()));
        await small.goto(`${world.site}/oidc/callback?code=x&state=${'long'.repeat(100)}`);
        await fits(small);
        await shot(`7-error-${colorScheme}`, small);
        assert.ok((await small.textContent('body')).trim().length > 40, 'it says something');
        assert.deepEqual(problems, [], 'its own style is allowed by its own policy');
        const background = await small.evaluate(() => {
          const color = [document.body, document.documentElement].map((element) => getComputedStyle(element).backgroundColor).find((c) => c !== 'rgba(0, 0, 0, 0)');
          return color ?? getComputedStyle(document.documentElement).colorScheme;
        });
        if (colorScheme === 'dark') assert.doesNotMatch(background, /255, 255, 255|^light$|^normal$/);
        await small.goto(`${world.site}/orders`);
        await fits(small);
        await login(small, 'alice');
        await small.waitForURL(`${world.site}/orders`);
        await fits(small);
        await shot(`8-page-${colorScheme}`, small);
      } finally {
        await phone.close();
      }
    });
  }
});
