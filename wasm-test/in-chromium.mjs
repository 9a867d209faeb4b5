// Stories in a real browser: each has its own context, several share a world. Screenshots go to
// .build/screenshots/.

import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe } from 'node:test';
import { chromium } from 'playwright-core';
import { chromiumPath } from './chromium.mjs';
import { ROOT, World } from './world.mjs';

export const SCREENSHOTS = path.join(ROOT, '.build/screenshots');
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** Browsers by their arguments, each with the number of unfinished groups of stories. */
const browsers = new Map();

/** Gives each story its own page, in a world with these `options`; `chromium` are more arguments of the browser. */
export function inChromium(name, options, stories) {
  const args = [...ARGUMENTS, ...options.chromium ?? []];
  const shared = browsers.get(args.join()) ?? { groups: 0 };
  browsers.set(args.join(), shared);
  shared.groups += 1;
  describe(name, () => {
    const it = {};
    before(async () => {
      mkdirSync(SCREENSHOTS, { recursive: true });
      it.world = await World.start(options);
      shared.browser ??= await chromium.launch({ executablePath: chromiumPath(), headless: true, args });
      it.browser = shared.browser;
    });
    after(async () => {
      await it.context?.close();
      shared.groups -= 1;
      if (shared.groups === 0) await shared.browser?.close();
      await it.world?.stop();
    });
    beforeEach(async () => {
      await it.context?.close();
      it.context = await shared.browser.newContext();
      it.context.setDefaultTimeout(20_000);
      it.page = await it.context.newPage();
      it.world.upstream.requests.length = 0;
    });
    stories(it);
  });
}

/** Fills in the provider's form. */
export const login = async (on, user = 'alice') => {
  await on.fill('#login', user);
  await on.fill('#password', user);
  await on.click('button:has-text("Log in")');
};

/** Deletes our cookies and keeps the provider's, as if the session had ended. */
export const endSession = ({ context }) => context.clearCookies({ name: /^vestibule/ });
