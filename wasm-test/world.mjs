// A small world for one story: a provider, an upstream that records requests, and Envoy with the filter
// between them, all on free ports of this machine.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { API, startProvider } from '../envoy/provider/provider.mjs';
import { startUpstream } from '../envoy/upstream.mjs';
import { Browser, NAVIGATION, send } from './client.mjs';

export const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
export const MODULE = path.join(ROOT, '.build/vestibule.wasm');
/** Workers of each Envoy, unless a story sets another number. */
export const WORKERS = 2;
const DEADLINE_MS = 60_000;
/** Envoy compiles the module before it is ready: this takes seconds, or more on a busy processor. */
const START_MS = 180_000;
/** So many responses in a row on separate connections: then every worker has served some. */
const READY_ANSWERS = 12;

/** Waits until `condition` returns something true, and returns it; fails with `what` after a minute. */
export async function until(what, condition, deadline = DEADLINE_MS) {
  const end = Date.now() + deadline;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${deadline} ms in vain: ${what}`);
    await pause(50);
  }
}

/**
 * UDP sockets that reserve the ports which were handed out, until the process ends: a server may start to listen
 * on its port later, and other files of tests run at the same time.
 */
const held = new Map();

/** Whether `socket` gets the address, which it then keeps. */
const binds = (socket, listen) => new Promise((resolve) => {
  socket.once('error', () => resolve(false));
  listen(() => resolve(true));
});

/** A TCP port that is free, below those that the system uses for outgoing connections. */
export async function freePort() {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 18_000);
    if (held.has(port)) continue;
    const lock = createSocket('udp4');
    const server = net.createServer();
    const free = await binds(lock, (done) => lock.bind({ port, address: '127.0.0.1', exclusive: true }, done))
      && await binds(server, (done) => server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(done)));
    if (!free) {
      lock.close();
      continue;
    }
    held.set(port, lock.unref());
    return port;
  }
}

/** The demo's configuration of the filter, on other ports. */
export const filterConfiguration = ({ site, issuer }) => ({
  providers: {
    demo: {
      issuer,
      callout: 'provider',
      client_id: 'vestibule-demo',
      client_secret: '${CLIENT_SECRET}',
      scopes: ['openid', 'profile', 'email'],
      audiences: [API],
      insecure_allow_http: true,
    },
  },
  session: { keys: ['${SESSION_KEY}'], hosts: [site.replace('http://', '')], insecure_allow_http: true },
  rules: [
    { name: 'public', path_prefix: '/public', accept: 'public' },
    { name: 'orders', path_prefix: '/api/orders', accept: 'bearer', require: { scopes: ['orders.read'] } },
    { name: 'admin', path_prefix: '/admin', accept: 'session', require: { claims: [{ claim: 'roles', any_of: ['admin'] }] } },
  ],
  identity: { headers: { 'x-auth-sub': 'sub', 'x-auth-email': 'email', 'x-auth-name': 'name', 'x-auth-roles': 'roles' } },
});

const type = (name, fields) => ({ '@type': `type.googleapis.com/${name}`, ...fields });

const cluster = (name, port) => ({
  name,
  connect_timeout: '2s',
  load_assignment: {
    cluster_name: name,
    endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } }] }],
  },
});

/** The filter in Envoy's configuration. */
export const wasmFilter = (module, configuration, environment = {}, plugin = {}) => ({
  name: 'vestibule',
  typed_config: type('envoy.extensions.filters.http.wasm.v3.Wasm', {
    config: {
      name: 'vestibule',
      failure_policy: 'FAIL_RELOAD',
      ...plugin,
      vm_config: {
        vm_id: 'vestibule',
        runtime: 'envoy.wasm.runtime.v8',
        code: { local: { filename: module } },
        environment_variables: { key_values: environment },
      },
      // YAML becomes a Struct; a text is handed over unchanged.
      configuration: type(`google.protobuf.${typeof configuration === 'string' ? 'StringValue' : 'Struct'}`, { value: configuration }),
    },
  }),
});

export const ROUTER = { name: 'envoy.filters.http.router', typed_config: type('envoy.extensions.filters.http.router.v3.Router') };

/** A complete Envoy configuration: one listener with `filters`, one virtual host with `routes`. */
export function envoyBootstrap({ port, adminPort, filters, routes, clusters, accessLog = true }) {
  const format = 'ACCESS %REQ(:METHOD)% %REQ_WITHOUT_QUERY(:PATH)% %RESPONSE_CODE% reason=%FILTER_STATE(wasm.vestibule_reason:PLAIN)% flags=%RESPONSE_FLAGS%\n';
  const manager = type('envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: 'site',
    upgrade_configs: [{ upgrade_type: 'websocket' }],
    access_log: accessLog ? [{
      name: 'envoy.access_loggers.stdout',
      typed_config: type('envoy.extensions.access_loggers.stream.v3.StdoutAccessLog', {
        log_format: {
          text_format_source: { inline_string: format },
          formatters: [{
            name: 'envoy.formatter.req_without_query',
            typed_config: type('envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery'),
          }],
        },
      }),
    }] : [],
    http_filters: filters,
    route_config: { name: 'site', virtual_hosts: [{ name: 'site', domains: ['*'], routes }] },
  });
  return {
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: adminPort } } },
    static_resources: {
      listeners: [{
        name: 'site',
        address: { socket_address: { address: '127.0.0.1', port_value: port } },
        filter_chains: [{ filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] }],
      }],
      clusters,
    },
  };
}

/** A running Envoy. `stdout` has the access log, `stderr` Envoy's own. */
export class Envoy {
  static async start(bootstrap, { program = process.env.ENVOY, concurrency = WORKERS, trace = false, drainSeconds = 600 } = {}) {
    if (!program) throw new Error('ENVOY must name the Envoy program; `make e2e` sets it');
    const envoy = new Envoy();
    envoy.directory = mkdtempSync(path.join(os.tmpdir(), 'vestibule-'));
    const file = path.join(envoy.directory, 'envoy.json');
    writeFileSync(file, JSON.stringify(bootstrap));
    envoy.child = spawn(program, [
      '--config-path', file, '--disable-hot-restart', '--concurrency', String(concurrency),
      '--file-flush-interval-msec', '50', '--drain-time-s', String(drainSeconds), '--log-level', 'warning',
      '--component-log-level', `wasm:${trace ? 'trace' : 'info'}`,
    ], { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH } });
    envoy.stdout = '';
    envoy.stderr = '';
    envoy.child.stdout.on('data', (chunk) => { envoy.stdout += chunk; });
    envoy.child.stderr.on('data', (chunk) => { envoy.stderr += chunk; });
    envoy.kill = () => envoy.child.kill('SIGKILL');
    process.on('exit', envoy.kill);
    envoy.ended = new Promise((resolve) => {
      envoy.child.once('close', (code, signal) => {
        envoy.exit = { code, signal };
        resolve(envoy.exit);
      });
    });
    const { port_value: adminPort } = bootstrap.admin.address.socket_address;
    const ready = async () => envoy.exit || (await send(adminPort, '/ready').catch(() => undefined))?.status === 200;
    await until('Envoy is ready', ready, START_MS);
    return envoy;
  }

  async stop() {
    this.child.kill('SIGTERM');
    const timer = setTimeout(this.kill, 5_000);
    await this.ended;
    clearTimeout(timer);
    process.off('exit', this.kill);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export class World {
  /**
   * Starts everything and waits until the filter answers.
   *
   * - `configure(configuration, world)` changes the filter's configuration.
   * - `concurrency`: workers of Envoy. Two by default, because workers must share what they know.
   * - `provider` is passed to `startProvider`; `providerUp: false` starts without one (`startProvider()`
   *   of the world starts it later).
   * - `start` starts another provider than the demo's, and `issuerOn(port)` is its issuer.
   * - `plugin`: further fields of Envoy's plugin configuration. By default the filter gets the bodies
   *   that it reads.
   * - `routes`: routes that come before the one to the upstream.
   * - `drainSeconds`: how long Envoy keeps a listener that is replaced.
   * - `alter(bootstrap)` changes the configuration of Envoy itself.
   * - `expectRefusal`: Envoy must refuse the configuration, so nothing is awaited.
   */
  static async start({
    configure = () => undefined, concurrency = WORKERS, provider = {}, providerUp = true, module = MODULE,
    program, trace = false, expectRefusal = false, plugin = { allow_on_headers_stop_iteration: true }, routes = [],
    alter = () => undefined, drainSeconds,
    start = startProvider, issuerOn = (port) => `http://localhost:${port}`,
  } = {}) {
    const world = new World();
    world.port = await freePort();
    world.providerPort = await freePort();
    world.adminPort = await freePort();
    world.site = `http://localhost:${world.port}`;
    world.issuer = issuerOn(world.providerPort);
    world.start = start;
    world.secrets = { CLIENT_SECRET: randomBytes(32).toString('base64url'), SESSION_KEY: randomBytes(32).toString('base64url') };
    world.providerOptions = provider;
    try {
      world.upstream = await startUpstream();
      if (providerUp) await world.startProvider();
      const configuration = filterConfiguration(world);
      const changed = configure(configuration, world) ?? configuration;
      const bootstrap = envoyBootstrap({
        port: world.port,
        adminPort: world.adminPort,
        filters: [wasmFilter(module, changed, world.secrets, plugin), ROUTER],
        routes: [...routes, { match: { prefix: '/' }, route: { cluster: 'upstream', timeout: '0s' } }, { match: { connect_matcher: {} }, route: { cluster: 'upstream' } }],
        clusters: [cluster('upstream', world.upstream.port), cluster('provider', world.providerPort)],
      });
      alter(bootstrap);
      world.envoy = await Envoy.start(bootstrap, { program, concurrency, trace, drainSeconds });
      if (expectRefusal) return world;
      if (world.envoy.exit) throw new Error(`Envoy has ended:\n${world.envoy.stderr.slice(-4_000)}`);
      if (providerUp) await world.ready();
      world.upstream.requests.length = 0;
      return world;
    } catch (error) {
      await world.stop();
      throw error;
    }
  }

  /** Waits until every worker has the provider's documents. */
  async ready() {
    let row = 0;
    await until('the filter knows its provider', async () => {
      const { status } = await send(this.port, '/ready', { headers: NAVIGATION });
      row = status === 503 ? 0 : row + 1;
      return row >= READY_ANSWERS;
    });
  }

  async startProvider() {
    this.provider = await this.start({
      port: this.providerPort, issuer: this.issuer, site: this.site, clientSecret: this.secrets.CLIENT_SECRET, ...this.providerOptions,
    });
  }

  browser() {
    return new Browser();
  }

  send(pathAndQuery, options) {
    return send(this.port, pathAndQuery, options);
  }

  /** An access token that the provider issues to a machine. */
  async token({ scope = 'orders.read', resource = API } = {}) {
    const credentials = Buffer.from(`orders-machine:${this.provider.machineSecret}`).toString('base64');
    const answer = await send(this.providerPort, '/token', {
      method: 'POST',
      headers: { authorization: `Basic ${credentials}`, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ grant_type: 'client_credentials', scope, resource }).toString(),
    });
    if (answer.status !== 200) throw new Error(`the provider issued no token: ${answer.text}`);
    return answer.json().access_token;
  }

  /** Changes the responses of the token endpoint. */
  alterTokens(change) {
    this.provider.intercept = (request, response) => {
      if (request.url !== '/token') return false;
      const end = response.end.bind(response);
      response.end = (body) => {
        const changed = JSON.stringify(change(JSON.parse(body)));
        response.setHeader('content-length', Buffer.byteLength(changed));
        return end(changed);
      };
      return false;
    };
  }

  /** The filter's metrics for Prometheus: `{'name{label="value",...}': number}`, with labels in order. */
  async metrics() {
    const { text } = await send(this.adminPort, '/stats/prometheus');
    const lines = [...text.matchAll(/^(vestibule[a-z0-9_]*)\{(.*)\} (\d+)$/gm)];
    return Object.fromEntries(lines.map(([, name, labels, value]) => [`${name}{${labels.split(',').sort().join()}}`, Number(value)]));
  }

  /** Statistics of Envoy itself whose names match. */
  async statistics(filter) {
    const { text } = await send(this.adminPort, `/stats?filter=${filter}`);
    return Object.fromEntries([...text.matchAll(/^([a-z0-9_.]+): (\d+)$/gm)].map(([, name, value]) => [name, Number(value)]));
  }

  /** Requests that Envoy has begun and not finished. */
  async inFlight() {
    return Object.values(await this.statistics('http.site.downstream_rq_active$'))[0];
  }

  /** The last request at the upstream. */
  received() {
    return this.upstream.requests.at(-1);
  }

  /** Access log lines so far: `{method, path, status, reason, flags}`. */
  accessLog() {
    return [...this.envoy.stdout.matchAll(/^ACCESS (\S+) (\S+) (\d+) reason=(\S+) flags=(\S+)$/gm)]
      .map(([, method, at, status, reason, flags]) => ({ method, path: at, status: Number(status), reason, flags }));
  }

  async stop() {
    await this.envoy?.stop();
    await this.provider?.stop();
    await this.upstream?.stop();
  }
}

/** Every value of a header at the upstream, in any spelling that servers treat as the same. */
export function receivedAll(request, name) {
  const folded = (text) => text.toLowerCase().replaceAll(/[_.]/g, '-');
  return request.headers.filter(([n]) => folded(n) === name).map(([, value]) => value);
}
