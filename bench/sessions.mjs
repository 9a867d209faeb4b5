// Sessions: one of a browser that logs in at the demo's provider, and thousands from the quick provider.

import { Browser, NAVIGATION } from '../wasm-test/client.mjs';
import { CONNECTIONS } from './settings.mjs';
import { each, request, values } from './connection.mjs';

/** The cookies of one browser. */
class Jar {
  cookies = new Map();

  /** Keeps and deletes what the response says. */
  keep(response) {
    for (const line of values(response, 'set-cookie')) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (/;\s*max-age=0(;|$)/i.test(line)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
  }

  header() {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }
}

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
    const jar = new Jar();
    const get = async (path) => {
      const cookie = jar.header();
      const response = await connection.send(request(host, path, { ...NAVIGATION, ...(cookie && { cookie }) }));
      jar.keep(response);
      return response;
    };
    const begun = await get('/page');
    const asked = new URL(values(begun, 'location')[0] ?? `about:${begun.status}`).searchParams;
    await get(`/oidc/callback?${new URLSearchParams({ code: asked.get('nonce'), state: asked.get('state'), iss: issuer })}`);
    // Like a browser: only the page after the login deletes the last cookie of the login.
    const page = await get('/page');
    if (page.status !== 200) throw new Error(`a login ended with ${page.status}: ${page.head}`);
    sessions[index] = jar.header();
  });
  return sessions;
}
