// Clients of the tests. They send paths and headers byte for byte as given, which `fetch` would not.

import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';

const ANSWER_DEADLINE_MS = 15_000;

/** Header lines of a browser that follows a link. */
export const NAVIGATION = {
  accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
  'sec-fetch-site': 'none',
  'upgrade-insecure-requests': '1',
};

/** Pairs of an object whose values may be lists, or the given pairs. */
const pairsOf = (headers) => (Array.isArray(headers) ? headers
  : Object.entries(headers).flatMap(([name, value]) => [value].flat().map((one) => [name, one])));

function answer(status, rawHeaders, body) {
  const pairs = [];
  for (let i = 0; i < rawHeaders.length; i += 2) pairs.push([rawHeaders[i].toLowerCase(), rawHeaders[i + 1]]);
  const text = body.toString('utf8');
  return {
    status,
    pairs,
    header: (name) => pairs.find(([n]) => n === name)?.[1],
    all: (name) => pairs.filter(([n]) => n === name).map(([, value]) => value),
    text,
    json: () => JSON.parse(text),
  };
}

/** One request on its own connection. `headers` is an object or a list of pairs. */
export function send(port, path, { method = 'GET', headers = {}, body } = {}) {
  const pairs = pairsOf(headers);
  const has = (name) => pairs.some(([n]) => n.toLowerCase() === name);
  if (!has('host')) pairs.unshift(['host', `localhost:${port}`]);
  if (body !== undefined && !has('content-length')) pairs.push(['content-length', String(Buffer.byteLength(body))]);
  return new Promise((resolve, reject) => {
    const request = http.request({
      host: '127.0.0.1', port, path, method, agent: false, headers: pairs.flat(), timeout: ANSWER_DEADLINE_MS,
    });
    const read = (response, head) => {
      const chunks = head?.length ? [head] : [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => resolve(answer(response.statusCode, response.rawHeaders, Buffer.concat(chunks))));
      response.on('error', reject);
    };
    request.on('response', (response) => read(response));
    request.on('upgrade', (response, socket, head) => {
      const chunks = [head];
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('close', () => resolve(answer(response.statusCode, response.rawHeaders, Buffer.concat(chunks))));
    });
    request.on('connect', (response, socket) => {
      socket.destroy();
      resolve(answer(response.statusCode, response.rawHeaders, Buffer.alloc(0)));
    });
    request.on('timeout', () => request.destroy(new Error(`no answer to ${method} ${path} in ${ANSWER_DEADLINE_MS} ms`)));
    request.on('error', reject);
    request.end(body);
  });
}

/** Sends raw bytes; the status of the first response, or 0 if the connection was closed without one. */
export function sendBytes(port, bytes) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1');
    let text = '';
    const end = () => {
      socket.destroy();
      resolve({ status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1] ?? 0), text });
    };
    socket.setTimeout(ANSWER_DEADLINE_MS, () => reject(new Error('no answer')));
    socket.on('connect', () => socket.write(bytes));
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (text.includes('\r\n\r\n')) end();
    });
    socket.on('close', end);
    socket.on('error', end);
  });
}

/** One request over cleartext HTTP/2. A list as header value is sent as several fields. */
export function send2(port, path, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const session = http2.connect(`http://localhost:${port}`, { lookup: (_host, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]) });
    session.on('error', reject);
    const stream = session.request({ ':method': method, ':path': path, ':authority': `localhost:${port}`, ...headers }, { endStream: body === undefined });
    stream.setTimeout(ANSWER_DEADLINE_MS, () => stream.close());
    const chunks = [];
    let seen = {};
    let trailers = {};
    stream.on('response', (fields) => { seen = fields; });
    stream.on('trailers', (fields) => { trailers = fields; });
    stream.on('data', (chunk) => chunks.push(chunk));
    stream.on('error', reject);
    stream.on('close', () => {
      session.close();
      const pairs = Object.entries({ ...seen, ...trailers }).filter(([name]) => !name.startsWith(':'))
        .flatMap(([name, value]) => [value].flat().flatMap((one) => [name, one]));
      resolve(answer(seen[':status'] ?? 0, pairs, Buffer.concat(chunks)));
    });
    if (body !== undefined) stream.end(body);
  });
}

/**
 * A browser as far as a login needs one: it keeps cookies (by host, as browsers do: ports share
 * them), follows redirects and fills in forms.
 */
export class Browser {
  constructor() {
    /** @type {{name: string, value: string, path: string, port: number, line: string}[]} */
    this.cookies = [];
    /** Every response, with the requested address. */
    this.visited = [];
  }

  /** Names of the cookies that the server on `port` has set. */
  cookiesOf(port) {
    return this.cookies.filter((cookie) => cookie.port === port);
  }

  keep(port, line) {
    const [first, ...attributes] = line.split(';').map((part) => part.trim());
    const split = first.indexOf('=');
    const [name, value] = [first.slice(0, split), first.slice(split + 1)];
    const attribute = (wanted) => attributes.map((a) => a.split('=')).find(([n]) => n.toLowerCase() === wanted)?.[1];
    const path = attribute('path') ?? '/';
    this.cookies = this.cookies.filter((cookie) => cookie.name !== name || cookie.path !== path);
    const maxAge = attribute('max-age');
    const expires = attribute('expires');
    const gone = maxAge !== undefined ? Number(maxAge) <= 0 : expires !== undefined && Date.parse(expires) <= Date.now();
    if (!gone) this.cookies.push({ name, value, path, port, line });
  }

  cookieHeader(path) {
    const bare = path.split('?')[0];
    const fits = (scope) => bare === scope || bare.startsWith(scope.endsWith('/') ? scope : `${scope}/`);
    return this.cookies.filter((cookie) => fits(cookie.path)).map(({ name, value }) => `${name}=${value}`).join('; ');
  }

  /** One request without following redirects. `url` is `http://localhost:PORT/PATH`; the path is sent unchanged. */
  async request(url, { method = 'GET', headers = NAVIGATION, body } = {}) {
    const [, port, path] = /^http:\/\/localhost:(\d+)(\/.*)$/s.exec(url) ?? [];
    if (!port) throw new Error(`this browser only knows localhost, not ${url}`);
    const cookie = this.cookieHeader(path);
    const pairs = [...pairsOf(headers), ...(cookie ? [['cookie', cookie]] : [])];
    const response = await send(Number(port), path, { method, headers: pairs, body });
    for (const line of response.all('set-cookie')) this.keep(Number(port), line);
    this.visited.push({ method, url, status: response.status });
    return Object.assign(response, { url });
  }

  /** The address that a redirect leads to. */
  static target(response) {
    const location = response.header('location');
    if (!location.startsWith('/')) return location;
    const origin = /^http:\/\/localhost:\d+/.exec(response.url)[0];
    return `${origin}${location}`;
  }

  /** Follows redirects to the end; more than 20 are a failure. */
  async get(url, options) {
    return this.follow(await this.request(url, options));
  }

  async follow(response) {
    let last = response;
    for (let steps = 0; [301, 302, 303].includes(last.status); steps += 1) {
      if (steps === 20) throw new Error(`more than 20 redirects: ${this.visited.slice(-6).map(({ url }) => url.slice(0, 120)).join(' -> ')}`);
      last = await this.request(Browser.target(last));
    }
    return last;
  }

  /** Sends the first form of a page with its hidden fields and `fields`, and follows redirects. */
  async submit(page, fields = {}, { action, follow = true } = {}) {
    const form = /<form[^>]*>[\s\S]*?<\/form>/i.exec(page.text)?.[0];
    if (!form) throw new Error(`no form on ${page.url} (${page.status}): ${page.text.slice(0, 300)}`);
    const values = {};
    for (const [input] of form.matchAll(/<input[^>]*type="?hidden"?[^>]*>/gi)) {
      values[/name="([^"]*)"/i.exec(input)[1]] = unescapeHtml(/value="([^"]*)"/i.exec(input)?.[1] ?? '');
    }
    const to = action ?? unescapeHtml(/action="([^"]*)"/i.exec(form)?.[1] ?? page.url);
    const origin = /^http:\/\/localhost:\d+/.exec(page.url)[0];
    const response = await this.request(to.startsWith('/') ? `${origin}${to}` : to, {
      method: 'POST',
      headers: { ...NAVIGATION, 'sec-fetch-site': 'same-origin', origin, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ ...values, ...fields }).toString(),
    });
    return follow ? this.follow(response) : response;
  }

  /** Requests a page, logs in at the provider, and returns the last response. */
  async login(url, user = 'alice') {
    return this.submit(await this.get(url), { login: user, password: user });
  }

  /** Stops before the callback: returns the address of the authorization response. */
  async untilCallback(url, user = 'alice') {
    const page = await this.get(url);
    let response = /<form/.test(page.text)
      ? await this.submit(page, { login: user, password: user }, { follow: false }) : page;
    for (let steps = 0; steps < 10; steps += 1) {
      if (response.header('location')?.includes('/oidc/callback')) return Browser.target(response);
      response = await this.request(Browser.target(response));
    }
    throw new Error('the provider did not send the browser back');
  }

  /** Logs out here and, if it shows a form, at the provider; returns the last page. */
  async logout(site) {
    const headers = { ...NAVIGATION, 'sec-fetch-site': 'same-origin' };
    let page = await this.get(`${site}/oidc/logout`, { headers });
    if (page.url.startsWith(site) && /<form/i.test(page.text)) page = await this.submit(page);
    if (page.text.includes('op.logoutForm')) page = await this.submit(page, { logout: 'yes' });
    return page;
  }
}

const unescapeHtml = (text) => text.replace(/&(amp|lt|gt|quot|#39|#x27|#x2F);/g,
  (_all, name) => ({ amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'", '#x27': "'", '#x2F': '/' })[name]);
