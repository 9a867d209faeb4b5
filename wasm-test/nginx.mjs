// A small world around nginx with ngx_wasm_module, configured as in `kong/nginx.conf`: the demo's provider,
// an upstream that records requests, and between them the nginx that `NGINX` names.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { startProvider } from '../envoy/provider/provider.mjs';
import { startUpstream } from '../envoy/upstream.mjs';
import { Browser, NAVIGATION, send } from './client.mjs';
import { MODULE, ROOT, filterConfiguration, freePort, until } from './world.mjs';

/** The program. Without it the stories of nginx are skipped. */
export const NGINX = process.env.NGINX;
/** So many responses in a row on separate connections: then both workers have served some. */
const READY_ANSWERS = 12;
/** Both workers compile the module first. */
const START_DEADLINE_MS = 300_000;

const COMPILED = path.join(os.tmpdir(), 'vestibule-compiled');

/** A text for single quotes in nginx's configuration. */
const quoted = (text) => text.replaceAll('\\', '\\\\').replaceAll("'", "\\'");

/** Log lines about a worker that did not end normally, or a response that was not sent. */
const DISASTERS = /exited on signal|zero size buf|open socket .* left|\[alert\]|\[emerg\]|wasm trap|trapped|panicked/;

/** Replaces every `from`, of which there must be one. */
function replaced(text, from, to) {
  if (!text.includes(from)) throw new Error(`kong/nginx.conf has no ${from}`);
  return text.replaceAll(from, () => to);
}

/** The example's configuration with other ports and paths, and another document for the filter. */
export function nginxConfiguration({ port, upstreamPort, folder, module, document, alter = (text) => text }) {
  let text = readFileSync(path.join(ROOT, 'kong/nginx.conf'), 'utf8');
  const [start, end] = ["proxy_wasm vestibule '", "}';"];
  const [from, to] = [text.indexOf(start) + start.length, text.indexOf(end) + 1];
  text = `${text.slice(0, from)}${document}${text.slice(to)}`;
  const compiled = path.join(folder, 'compiled.toml');
  mkdirSync(COMPILED, { recursive: true });
  writeFileSync(compiled, `[cache]\nenabled = true\ndirectory = "${COMPILED}"\n`);
  for (const [there, here] of [
    ['worker_processes auto;', 'worker_processes 2;'],
    ['/etc/nginx/vestibule.wasm', module],
    ['error_log /dev/stderr info;', `error_log ${folder}/error.log info;`],
    ['access_log /dev/stdout vestibule;', `access_log ${folder}/access.log vestibule;`],
    // The module is compiled once, not by each worker of each world.
    ['wasm {', `wasm {\n    wasmtime {\n        cache_config ${compiled};\n    }`],
    ['listen 8000;', `listen 127.0.0.1:${port};`],
    ['server 127.0.0.1:8002;', `server 127.0.0.1:${upstreamPort};`],
  ]) text = replaced(text, there, here);
  return alter(text);
}

export class NginxWorld {
  /**
   * Starts everything and waits until the filter answers.
   *
   * - `configure(configuration, world)` changes the filter's configuration; `document(text)` its text.
   * - `alter(text)` changes the configuration of nginx.
   * - `provider` is passed to `startProvider`, and `intercept` is set before its first request.
   */
  static async start({
    configure = () => undefined, document = (text) => text, alter, provider = {}, secret = randomBytes(32).toString('base64url'),
    module = MODULE, intercept,
  } = {}) {
    const world = new NginxWorld();
    world.port = await freePort();
    world.providerPort = await freePort();
    world.site = `http://localhost:${world.port}`;
    world.issuer = `http://localhost:${world.providerPort}`;
    world.secrets = { CLIENT_SECRET: secret, SESSION_KEY: randomBytes(32).toString('base64url') };
    world.providerOptions = provider;
    world.intercept = intercept;
    try {
      world.upstream = await startUpstream();
      await world.startProvider();
      const configuration = filterConfiguration(world);
      configuration.providers.demo.callout = `127.0.0.1:${world.providerPort}`;
      configuration.shared_data = true;
      const changed = configure(configuration, world) ?? configuration;
      let text = JSON.stringify(changed);
      for (const [name, value] of Object.entries(world.secrets)) text = text.replaceAll(`\${${name}}`, () => JSON.stringify(value).slice(1, -1));
      world.folder = mkdtempSync(path.join(os.tmpdir(), 'vestibule-nginx-'));
      mkdirSync(path.join(world.folder, 'logs'));
      const file = path.join(world.folder, 'nginx.conf');
      writeFileSync(file, nginxConfiguration({
        port: world.port, upstreamPort: world.upstream.port, folder: world.folder, module, document: document(quoted(text)), alter,
      }), { mode: 0o600 });
      await world.startNginx(file);
      await world.ready();
      world.upstream.requests.length = 0;
      return world;
    } catch (error) {
      const log = world.log();
      await world.stop();
      throw new Error(`${error.message}\n${log.slice(-3_000)}`, { cause: error });
    }
  }

  async startNginx(file) {
    const user = process.getuid() === 0 ? ' user root;' : '';
    this.child = spawn(NGINX, ['-p', this.folder, '-c', file, '-g', `daemon off; pid ${this.folder}/nginx.pid;${user}`], {
      stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env.PATH },
    });
    this.stderr = '';
    this.child.stderr.on('data', (chunk) => { this.stderr += chunk; });
    this.kill = () => this.child.kill('SIGKILL');
    process.on('exit', this.kill);
    this.ended = new Promise((resolve) => { this.child.once('close', (code, signal) => { this.exit = { code, signal }; resolve(); }); });
    await until('nginx has two workers', () => this.exit || this.workers().length === 2);
    if (this.exit) throw new Error(`nginx has ended: ${this.stderr.slice(-3_000)}`);
  }

  /** The process ids of the workers. */
  workers() {
    try {
      const { pid } = this.child;
      return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number).sort();
    } catch {
      return [];
    }
  }

  read(name) {
    try {
      return readFileSync(path.join(this.folder, name), 'utf8');
    } catch {
      return '';
    }
  }

  log() {
    return `${this.stderr ?? ''}${this.folder ? this.read('error.log') : ''}`;
  }

  /** Log lines about serious faults. */
  disasters() {
    return this.log().split('\n').filter((line) => DISASTERS.test(line));
  }

  /** Waits until every worker has the provider's documents. */
  async ready() {
    let row = 0;
    await until('the filter knows its provider', async () => {
      const { status } = await send(this.port, '/ready', { headers: NAVIGATION }).catch(() => ({ status: 503 }));
      if (status === 500) throw new Error('the filter refuses everything');
      row = status === 302 ? row + 1 : 0;
      return row >= READY_ANSWERS;
    }, START_DEADLINE_MS);
  }

  async startProvider() {
    this.provider = await startProvider({
      port: this.providerPort, issuer: this.issuer, site: this.site, clientSecret: this.secrets.CLIENT_SECRET, ...this.providerOptions,
    });
    this.provider.intercept = this.intercept;
  }

  browser() {
    return new Browser();
  }

  send(pathAndQuery, options) {
    return send(this.port, pathAndQuery, options);
  }

  /** An access token that the provider issues to a machine. */
  async token() {
    const credentials = Buffer.from(`orders-machine:${this.provider.machineSecret}`).toString('base64');
    const answer = await send(this.providerPort, '/token', {
      method: 'POST',
      headers: { authorization: `Basic ${credentials}`, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'orders.read', resource: 'https://api.demo.example' }).toString(),
    });
    if (answer.status !== 200) throw new Error(`the provider issued no token: ${answer.text}`);
    return answer.json().access_token;
  }

  received() {
    return this.upstream.requests.at(-1);
  }

  /** Access log lines so far: `{method, path, status, reason, upstream}`. */
  accessLog() {
    return [...this.read('access.log').matchAll(/^\S+ (\S+) (\S+) (\d+) reason=(\S+) upstream=(\S+)/gm)]
      .map(([, method, at, status, reason, upstream]) => ({ method, path: at, status: Number(status), reason, upstream }));
  }

  async stop() {
    if (this.child) {
      this.child.kill('SIGTERM');
      const timer = setTimeout(this.kill, 5_000);
      await this.ended;
      clearTimeout(timer);
      process.off('exit', this.kill);
    }
    await this.provider?.stop();
    await this.upstream?.stop();
    if (this.folder) rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A keep-alive connection, which sends its requests one after another. */
export class Connection {
  constructor(port) {
    this.port = port;
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    this.sockets = new Set();
  }

  send(at, { method = 'GET', headers = {}, body } = {}) {
    return new Promise((resolve, reject) => {
      const request = http.request({ host: '127.0.0.1', port: this.port, path: at, method, agent: this.agent, headers: { host: `localhost:${this.port}`, ...headers } }, (response) => {
        let text = '';
        response.on('data', (chunk) => { text += chunk; });
        response.on('end', () => resolve({ status: response.statusCode, header: (name) => response.headers[name], text, cookies: response.headers['set-cookie'] ?? [] }));
        response.on('error', reject);
      });
      request.on('socket', (socket) => this.sockets.add(socket));
      request.on('error', reject);
      request.setTimeout(15_000, () => request.destroy(new Error(`no answer to ${method} ${at}`)));
      request.end(body);
    });
  }

  close() {
    this.agent.destroy();
  }
}

/**
 * Sends requests as bytes on one connection, each after the response to the one before; after the last one
 * `rest` follows in pieces, while it is being decided. Returns the statuses in order; 0 for no response.
 */
export function sendInPieces(port, requests, rest = [], deadline = 8_000) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.setNoDelay(true);
    const statuses = [];
    let text = '';
    const timers = [];
    const end = () => {
      timers.forEach(clearTimeout);
      socket.destroy();
      while (statuses.length < requests.length) statuses.push(0);
      resolve(statuses);
    };
    timers.push(setTimeout(end, deadline));
    const next = () => {
      socket.write(requests[statuses.length]);
      if (statuses.length === requests.length - 1) rest.forEach((piece, i) => timers.push(setTimeout(() => socket.write(piece), 40 * (i + 1))));
    };
    socket.on('connect', next);
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      for (;;) {
        const head = /^HTTP\/1\.1 (\d{3})[^]*?\r\n\r\n/.exec(text);
        if (!head) return;
        const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head[0])?.[1] ?? 0);
        const chunked = /\r\ntransfer-encoding: *chunked/i.test(head[0]);
        const rest = text.slice(head[0].length);
        if (chunked ? !rest.includes('0\r\n\r\n') : rest.length < length) return;
        text = chunked ? rest.slice(rest.indexOf('0\r\n\r\n') + 5) : rest.slice(length);
        statuses.push(Number(head[1]));
        if (statuses.length === requests.length) return end();
        if (/\r\nconnection: *close/i.test(head[0])) return;
        next();
      }
    });
    socket.on('close', end);
    socket.on('error', end);
  });
}
