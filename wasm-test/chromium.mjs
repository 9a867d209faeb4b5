// Finds a Chromium, or installs one. `node wasm-test/chromium.mjs` prints its path.

import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

function executable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function onPath() {
  const directories = (process.env.PATH ?? '').split(path.delimiter);
  return NAMES.flatMap((name) => directories.map((directory) => path.join(directory, name))).find(executable);
}

/** What playwright has ever downloaded: `chromium_headless_shell-1200/chrome-.../...`. */
function downloaded() {
  const places = [
    process.env.PLAYWRIGHT_BROWSERS_PATH,
    path.join(os.homedir(), '.cache/ms-playwright'),
    path.join(os.homedir(), 'Library/Caches/ms-playwright'),
  ].filter((place) => place && existsSync(place));
  for (const place of places) {
    const found = readdirSync(place, { recursive: true }).map(String)
      .filter((name) => /(^|\/)(chrome-headless-shell|headless_shell|chrome|Chromium)$/.test(name) && name.startsWith('chromium'))
      .map((name) => path.join(place, name)).filter(executable);
    if (found.length) return found[0];
  }
  return undefined;
}

function run(program, args) {
  try {
    // Its output goes to our standard error: standard output has only the path.
    execFileSync(program, args, { stdio: ['ignore', 2, 2], cwd: path.dirname(fileURLToPath(import.meta.url)) });
    return true;
  } catch {
    return false;
  }
}

/** The path of a Chromium; throws one sentence if there is none and none can be installed. */
export function chromiumPath() {
  if (process.env.CHROME_PATH) {
    if (executable(process.env.CHROME_PATH)) return process.env.CHROME_PATH;
    throw new Error(`CHROME_PATH is ${process.env.CHROME_PATH}, which is not a program`);
  }
  const there = onPath() ?? downloaded();
  if (there) return there;
  if (run('npx', ['playwright-core', 'install', 'chromium-headless-shell'])) {
    const fetched = downloaded();
    if (fetched) return fetched;
  }
  if (process.getuid?.() === 0 && run('apt-get', ['install', '-y', 'chromium'])) {
    const installed = onPath();
    if (installed) return installed;
  }
  throw new Error('No Chromium was found and none could be installed: install one, or set CHROME_PATH to it');
}

if (fileURLToPath(import.meta.url) === process.argv[1]) {
  try {
    console.log(chromiumPath());
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
