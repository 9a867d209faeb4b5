// Stories in a real browser: each has a context of its own, several share a world.
// Screenshots go to .build/screenshots/.

import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe } from 'node:test';
import { chromium } from 'playwright-core';
import { chromiumPath } from './chromium.mjs';
import { ROOT, World } from './world.mjs';

export const SCREENSHOTS = path.join(ROOT, '.build/screenshots');
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** Browsers by their arguments, each with the number of groups of stories that have not ended yet. */
const browsers = new Map();

/** A page of its own for each story, in a world that `options` describe; `chromium` are further arguments of the browser. */
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

/** Somebody fills in the provider's form. */
export const login = async (on, user = 'alice') => {
  await on.fill('#login', user);
  await on.fill('#password', user);
  await on.click('button:has-text("Log in")');
};

/** Our cookies are gone, the provider's stay: as if the session had ended. */
export const endSession = ({ context }) => context.clearCookies({ name: /^vestibule/ });
