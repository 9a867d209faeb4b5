// Uploads that are larger than Envoy's buffer and arrive during a callout of the filter. They wait at the
// client, over HTTP/1 and HTTP/2, with and without a length.

import assert from 'node:assert/strict';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import { NAVIGATION, send } from './client.mjs';
import { mint } from './tokens.mjs';
import { until, World } from './world.mjs';

const MEBIBYTE = 1 << 20;
const SIZE = 5 * MEBIBYTE;
const PIECE = Buffer.alloc(MEBIBYTE, 'x');

/** Longer than a slow machine needs to send an upload. */
const patient = (configuration) => { configuration.providers.demo.callout_timeout_seconds = 60; };

const TOKEN_SECONDS = 5;

/** An endpoint of the filter that reads a body. */
const PAGE = '/oidc/backchannel-logout';

/** The time that the filter waits for the beginning of a body, and some more. */
const BEGINNING_MS = 13_000;

/** The response to an incomplete request. */
const unfinished = (port, bytes) => new Promise((resolve, reject) => {
  const socket = net.connect(port, '127.0.0.1', () => socket.write(bytes));
  const timer = setTimeout(() => { socket.destroy(); reject(new Error('no answer')); }, BEGINNING_MS);
  socket.once('data', (data) => { clearTimeout(timer); socket.destroy(); resolve(data.toString()); });
  socket.on('error', reject);
});

/** Sends five pieces; the status and code of the response. */
const upload1 = (port, path, headers) => new Promise((resolve, reject) => {
  const request = http.request({ host: '127.0.0.1', port, path, method: 'POST', agent: false, headers: { host: `localhost:${port}`, ...headers } });
  request.on('response', (response) => {
    response.resume();
    resolve({ status: response.statusCode, code: response.headers['x-vestibule-code'] });
  });
  request.on('error', reject);
  for (let sent = 0; sent < SIZE; sent += MEBIBYTE) request.write(PIECE);
  request.end();
});

const upload2 = (port, path, headers) => new Promise((resolve, reject) => {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', reject);
  const stream = session.request({ ':method': 'POST', ':path': path, ':authority': `localhost:${port}`, ...headers });
  stream.on('response', (fields) => {
    stream.resume();
    resolve({ status: fields[':status'], code: fields['x-vestibule-code'] });
    stream.on('close', () => session.close());
  });
  stream.on('error', reject);
  for (let sent = 0; sent < SIZE; sent += MEBIBYTE) stream.write(PIECE);
  stream.end();
});

const WAYS = [
  ['HTTP/1 with a length', upload1, { 'content-length': String(SIZE) }],
  ['HTTP/1 in chunks', upload1, { 'transfer-encoding': 'chunked' }],
  ['HTTP/2 with a length', upload2, { 'content-length': String(SIZE) }],
  ['HTTP/2 without', upload2, {}],
];

/**
 * Bytes that clients have sent. Of an undecided upload, HTTP/1 sends no more than Envoy's buffer holds, and HTTP/2
 * as many as the window of the stream, which is larger.
 */
async function received(world) {
  const { text } = await send(world.adminPort, '/stats?filter=downstream_cx_rx_bytes_total');
  return Number(/http\.site\.[a-z_]+: (\d+)/.exec(text)[1]);
}

/** The provider does not respond at `place` before `release`. */
function hold(world, place) {
  let release;
  const requested = new Promise((resolve) => {
    world.provider.intercept = (request) => (request.url.startsWith(place)
      ? new Promise((answer) => { release = () => { world.provider.intercept = undefined; answer(false); }; resolve(); }) : false);
  });
  return { requested, release: () => release() };
}

/** The response to an upload whose body has filled Envoy's buffer before the provider responds. */
async function uploaded(world, held, begin) {
  const before = await received(world);
  let early;
  const answer = begin();
  answer.then((seen) => { early = seen; }, (error) => { early = error; });
  await Promise.race([held.requested, answer]);
  await until('the buffer is full', async () => early || await received(world) > before + MEBIBYTE);
  assert.equal(early, undefined, 'it is answered before it was decided');
  held.release();
  return answer;
}

for (const allowed of [true, false]) {
  describe(`an upload (allow_on_headers_stop_iteration: ${allowed})`, () => {
    let world;
    before(async () => {
      world = await World.start({
        concurrency: 1,
        configure: (configuration) => {
          patient(configuration);
          configuration.endpoints = { ...configuration.endpoints, backchannel_logout: PAGE };
        },
        plugin: { allow_on_headers_stop_iteration: allowed },
        provider: { accessTokenTtl: TOKEN_SECONDS, alter: (configuration) => { configuration.issueRefreshToken = async () => true; } },
      });
    });
    after(() => world?.stop());
    afterEach(() => { world.provider.intercept = undefined; });

    for (const [way, upload, headers] of WAYS) {
      test(`with a session that is to be refreshed, by ${way}`, async () => {
        const browser = world.browser();
        assert.equal((await browser.login(`${world.site}/orders`)).status, 200);
        const held = hold(world, '/token');
        const end = Date.now() + (TOKEN_SECONDS + 1) * 1_000;
        await until('the access token is over', () => Date.now() > end);
        world.upstream.requests.length = 0;
        const seen = await uploaded(world, held, () => upload(world.port, '/upload', { ...headers, cookie: browser.cookieHeader('/') }));
        assert.equal(seen.status, 200);
        assert.deepEqual(world.upstream.requests.map(({ path, bytes }) => [path, bytes]), [['/upload', SIZE]]);
      });
    }

    // The keys are fetched once in 30 seconds.
    test('with a token of a key that is unknown, refused', async () => {
      world.upstream.requests.length = 0;
      const token = mint(world.provider, {}, { header: { kid: 'unknown' } });
      const held = hold(world, '/jwks');
      const seen = await uploaded(world, held, () => upload2(world.port, '/api/orders', { authorization: `Bearer ${token}` }));
      assert.deepEqual([seen.status, seen.code], [401, 'jws_key_unknown']);
      assert.deepEqual(world.upstream.requests, []);
    });

    test(`a body that a page of the filter wants and that does not come because of ${allowed ? 'the client' : 'Envoy'}`, { timeout: 40_000 }, async () => {
      const head = `POST ${PAGE} HTTP/1.1\r\nhost: localhost:${world.port}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 500\r\n\r\n`;
      const [sent, answer] = allowed
        ? [head, /^HTTP\/1.1 408 [\s\S]*body_too_slow/] : [head + 'x'.repeat(500), /^HTTP\/1.1 503 [\s\S]*body_not_given/];
      assert.match(await unfinished(world.port, sent), answer);
      assert.equal(/does not hand it over/.test(world.envoy.stderr), !allowed);
      assert.equal((await world.send('/private', { headers: NAVIGATION })).status, 302);
    });
  });
}

for (const [way, upload, headers] of WAYS) {
  test(`the first request of a fresh Envoy, and one with a key that is new, are uploads by ${way}`, { timeout: 180_000 }, async () => {
    const world = await World.start({ concurrency: 1, providerUp: false, configure: patient });
    try {
      await world.startProvider();
      const first = hold(world, '/.well-known');
      await first.requested;
      const authorization = () => ({ authorization: `Bearer ${mint(world.provider)}` });
      const begin = () => upload(world.port, '/api/orders', { ...headers, ...authorization() });
      // The provider was unreachable, so this worker may delay its next attempt.
      const patiently = async () => {
        for (;;) {
          const seen = await begin();
          if (seen.status !== 503) return seen;
        }
      };
      assert.equal((await uploaded(world, first, patiently)).status, 200);
      world.provider.rotateKeys();
      assert.equal((await uploaded(world, hold(world, '/jwks'), begin)).status, 200);
      assert.deepEqual(world.upstream.requests.map(({ bytes }) => bytes), [SIZE, SIZE]);
    } finally {
      await world.stop();
    }
  });
}
