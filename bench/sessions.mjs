// Sessions: one of a browser that logs in at the demo's provider, and thousands from the quick provider.

import { Browser, NAVIGATION } from '../wasm-test/client.mjs';
import { CONNECTIONS } from './settings.mjs';
import { each, request, values } from './connection.mjs';

const pair = (line) => line.split(';')[0];
const isDeleted = (line) => /;\s*max-age=0(;|$)/i.test(line);
/** The `Cookie` header after a response with these `Set-Cookie` lines. */
const cookieHeader = (answer) => values(answer, 'set-cookie').filter((line) => !isDeleted(line)).map(pair).join('; ');

/** A browser that has logged in at the demo's provider through the proxy on `port`. */
export async function login(port) {
  const browser = new Browser();
  const page = await browser.login(`http://localhost:${port}/page`);
  if (page.status !== 200) throw new Error(`the login failed: ${page.status} ${page.text.slice(0, 300)}`);
  return browser;
}

/** Its `Cookie` header for the proxy on `port`. */
export const cookiesOf = (browser, port) => browser.cookiesOf(port).map(({ name, value }) => `${name}=${value}`).join('; ');

/**
 * Logs in `count` times at `host`, through the proxy on `port` whose provider is the quick one. Returns the
 * `Cookie` headers.
 */
export async function logins(port, host, issuer, count) {
  const sessions = [];
  await each(port, CONNECTIONS, count, async (connection, index) => {
    const begun = await connection.send(request(host, '/page', NAVIGATION));
    const asked = new URL(values(begun, 'location')[0] ?? `about:${begun.status}`).searchParams;
    const callback = new URLSearchParams({ code: asked.get('nonce'), state: asked.get('state'), iss: issuer });
    const done = await connection.send(request(host, `/oidc/callback?${callback}`, { ...NAVIGATION, cookie: cookieHeader(begun) }));
    sessions[index] = cookieHeader(done);
    if (done.status >= 400 || !sessions[index]) throw new Error(`a login ended with ${done.status}: ${done.head}`);
  });
  return sessions;
}
