// The service behind the proxy: it shows the request that it received, so that one can see what the filter
// lets through and what it adds. `node envoy/upstream.mjs` serves on UPSTREAM_PORT.

import http from 'node:http';
import { createHash } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { escapeHtml, page } from './page.mjs';

/** Header lines as received: names in their spelling, repeated ones repeated. */
function headerPairs(request) {
  const pairs = [];
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    pairs.push([request.rawHeaders[i], request.rawHeaders[i + 1]]);
  }
  return pairs;
}

const rows = (pairs) =>
  pairs.map(([name, value]) => `<tr><td>${escapeHtml(name)}</td><td>${escapeHtml(value)}</td></tr>`).join('\n');

function requestPage({ method, path, headers }) {
  const identity = headers.filter(([name]) => name.toLowerCase().startsWith('x-auth-'));
  const isPublic = path.startsWith('/public');
  return page(isPublic ? 'A public page' : 'The page behind the proxy', `
<p>The upstream received <code id="request-line">${escapeHtml(`${method} ${path}`)}</code></p>
<h2>Identity from the filter</h2>
${identity.length ? `<table class="identity" id="identity">${rows(identity)}</table>`
    : '<p class="note" id="no-identity">None: this path is public, so there is no identity.</p>'}
<p><a class="button" href="/oidc/logout">Log out</a><a class="button quiet" href="/">Front page</a>
<a class="button quiet" href="/admin">Admin only</a><a class="button quiet" href="/public/">Public</a></p>
<h2>All headers</h2>
<table id="headers">${rows(headers)}</table>`);
}

/** A stream whose path ends like this stays open. */
const STAYS_OPEN = /\/open$/;

/** Enough of RFC 6455 to accept the handshake, greet once and close, for the tests. */
function acceptWebSocket(request, socket) {
  const accept = createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.end());
  socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n'
    + `sec-websocket-accept: ${accept}\r\n\r\n`);
  const text = Buffer.from('hello');
  const greeting = Buffer.concat([Buffer.from([0x81, text.length]), text]);
  if (STAYS_OPEN.test(request.url)) socket.write(greeting);
  else socket.end(Buffer.concat([greeting, Buffer.from([0x88, 0])]));
}

/**
 * Starts the upstream. `requests` collects `{method, path, headers, body, bytes}` of every request, in
 * order; a test that expects no request checks its length.
 */
export async function startUpstream({ port = 0, address = '127.0.0.1' } = {}) {
  const requests = [];
  const server = http.createServer({ maxHeaderSize: 256 * 1024 }, (request, response) => {
    const received = { method: request.method, path: request.url, headers: headerPairs(request), body: '', bytes: 0 };
    requests.push(received);
    // A long-running upstream must not grow; the tests look at far fewer requests.
    if (requests.length > 10_000) requests.shift();
    request.setEncoding('latin1');
    request.on('data', (chunk) => { received.bytes += chunk.length; received.body += chunk.slice(0, 65_536 - received.body.length); });
    request.on('end', () => {
      if ((request.headers.accept ?? '').includes('text/event-stream')) {
        response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
        response.write('data: one\n\n');
        if (!STAYS_OPEN.test(request.url)) response.end('data: two\n\n');
      } else if ((request.headers.accept ?? '').includes('text/html')) {
        response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
        response.end(requestPage(received));
      } else {
        response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' });
        response.end(`${JSON.stringify(received, null, 2)}\n`);
      }
    });
  });
  server.on('upgrade', (request, socket) => {
    requests.push({ method: request.method, path: request.url, headers: headerPairs(request), body: '' });
    acceptWebSocket(request, socket);
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, resolve);
  });
  return {
    port: server.address().port,
    requests,
    stop: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const upstream = await startUpstream({
    port: Number(process.env.UPSTREAM_PORT ?? 8002),
    address: process.env.UPSTREAM_ADDRESS ?? '127.0.0.1',
  });
  console.log(`upstream on port ${upstream.port}`);
  process.on('disconnect', () => process.exit());
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit());
}
