// `make demo`: the provider, the upstream and Envoy with the filter between them, until Ctrl-C.

import { execFile, fork, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import readline from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const LOGS = path.join(ROOT, '.build/logs');

/** The ports of the demo, and the variables that move them. docker-compose.yaml has the same ports. */
export const PORTS = {
  site: { port: 8000, variable: 'DEMO_PORT' },
  provider: { port: 8001, variable: 'DEMO_PROVIDER_PORT' },
  upstream: { port: 8002, variable: 'DEMO_UPSTREAM_PORT' },
};

/** The environment that Envoy needs; envoy.yaml names the variables, docker-compose.yaml passes them. */
export const ENVOY_ENVIRONMENT = ['CLIENT_SECRET', 'SESSION_KEY'];

export const MACHINE_SECRET = 'machine-secret-of-the-demo';
const START_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 5_000;

/** envoy.yaml for this machine only, with the wanted ports. */
export function envoyConfiguration(text, ports) {
  let moved = text.replaceAll('address: 0.0.0.0', 'address: 127.0.0.1');
  // All at once, so that 8000 -> 8001 is not moved a second time.
  const wanted = new Map(Object.entries(PORTS).map(([name, { port }]) => [String(port), String(ports[name])]));
  moved = moved.replace(/\b(?:8000|8001|8002)\b/g, (port) => wanted.get(port));
  return moved;
}

class DemoError extends Error {}

function wantedPorts(environment) {
  const ports = {};
  for (const [name, { port, variable }] of Object.entries(PORTS)) {
    const text = environment[variable] ?? String(port);
    ports[name] = Number(text);
    if (!/^\d{1,5}$/.test(text) || ports[name] < 1 || ports[name] > 65_535) {
      throw new DemoError(`${variable} must be a port from 1 to 65535, got ${text}`);
    }
  }
  if (new Set(Object.values(ports)).size < 3) {
    throw new DemoError(`The demo needs three different ports, got ${Object.values(ports).join(', ')}`);
  }
  return ports;
}

/** Whether the port is in use. Both addresses count: a browser may try either for `localhost`. */
async function inUse(port) {
  const taken = (address) => new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', (error) => resolve(error.code === 'EADDRINUSE'));
    server.listen({ port, host: address, exclusive: true }, () => server.close(() => resolve(false)));
  });
  return (await taken('127.0.0.1')) || taken('::1');
}

async function refusePortsInUse(ports) {
  const problems = [];
  for (const [name, { variable }] of Object.entries(PORTS)) {
    if (await inUse(ports[name])) problems.push(`port ${ports[name]} is in use (set ${variable}=... to use another)`);
  }
  if (problems.length) throw new DemoError(problems.join('\n'));
}

/** Status of a GET, or undefined while nothing responds. */
const status = (url) => new Promise((resolve) => {
  const request = http.get(url, { agent: false, timeout: 2_000 }, (response) => {
    response.resume();
    resolve(response.statusCode);
  });
  request.on('timeout', () => request.destroy());
  request.on('error', () => resolve(undefined));
});

/** The programs of the demo: all stop when one does. */
class Programs {
  constructor() {
    this.running = new Map();
    this.stopping = false;
    this.failed = new Promise((_resolve, reject) => { this.fail = reject; });
    // Nobody awaits it between starting and running; a failure then is not lost.
    this.failed.catch(() => {});
  }

  add(name, child, show = false) {
    mkdirSync(LOGS, { recursive: true });
    const file = path.join(LOGS, `${name}.log`);
    const log = createWriteStream(file);
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    if (show) readline.createInterface({ input: child.stdout }).on('line', (line) => console.log(`${name} | ${line}`));
    const ended = new Promise((resolve) => { child.once('close', resolve); child.once('error', resolve); });
    this.running.set(name, { child, ended });
    child.once('error', (error) => this.fail(new DemoError(`${name} could not be started: ${error.message}`)));
    child.once('close', async (code, signal) => {
      this.running.delete(name);
      // Ctrl-C goes to every program at once; one may end before this program gets it.
      await pause(200);
      if (this.stopping) return;
      const end = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-20).join('\n');
      this.fail(new DemoError(`${name} has ended (${signal ?? `exit code ${code}`}). The end of ${path.relative(ROOT, file)}:\n${end}`));
    });
  }

  signalAll(signal) {
    for (const { child } of this.running.values()) child.kill(signal);
  }

  async stop() {
    this.stopping = true;
    const ended = Promise.all([...this.running.values()].map((program) => program.ended));
    this.signalAll('SIGTERM');
    const timer = setTimeout(() => this.signalAll('SIGKILL'), STOP_DEADLINE_MS);
    await ended;
    clearTimeout(timer);
  }

  /** Waits until `ready` holds; stops waiting when a program ends. */
  async until(what, ready) {
    const deadline = Date.now() + START_DEADLINE_MS;
    const poll = async () => {
      while (!(await ready())) {
        if (Date.now() > deadline) throw new DemoError(`${what} did not become ready in ${START_DEADLINE_MS / 1000} s; see ${path.relative(ROOT, LOGS)}/`);
        await pause(100);
      }
    };
    await Promise.race([poll(), this.failed]);
  }
}

const version = (envoy) => new Promise((resolve, reject) => {
  execFile(envoy, ['--version'], (error, out) => (error ? reject(new DemoError(`${envoy} does not run: ${error.message}`)) : resolve(out)));
});

async function start(programs, ports) {
  const envoy = process.env.ENVOY;
  if (!envoy) throw new DemoError('ENVOY must name the Envoy program; `make demo` sets it');
  await version(envoy);
  await refusePortsInUse(ports);

  const site = `http://localhost:${ports.site}`;
  const provider = `http://localhost:${ports.provider}`;
  const secrets = {
    CLIENT_SECRET: process.env.CLIENT_SECRET || randomBytes(32).toString('base64url'),
    SESSION_KEY: process.env.SESSION_KEY || randomBytes(32).toString('base64url'),
  };
  const configuration = path.join(ROOT, '.build/envoy.yaml');
  mkdirSync(path.dirname(configuration), { recursive: true });
  writeFileSync(configuration, envoyConfiguration(readFileSync(path.join(ROOT, 'envoy/envoy.yaml'), 'utf8'), ports));

  programs.add('provider', fork(path.join(ROOT, 'envoy/provider/main.mjs'), {
    silent: true,
    env: { ...process.env, CLIENT_SECRET: secrets.CLIENT_SECRET, MACHINE_SECRET, PROVIDER_PORT: String(ports.provider), SITE: site },
  }));
  programs.add('upstream', fork(path.join(ROOT, 'envoy/upstream.mjs'), {
    silent: true,
    env: { ...process.env, UPSTREAM_PORT: String(ports.upstream) },
  }));
  await programs.until('the provider', async () => (await status(`${provider}/.well-known/openid-configuration`)) === 200);
  await programs.until('the upstream', async () => (await status(`http://localhost:${ports.upstream}/`)) === 200);

  programs.add('envoy', spawn(envoy, ['--config-path', configuration, '--disable-hot-restart', '--concurrency', '2', '--file-flush-interval-msec', '200', '--log-level', 'warning', '--component-log-level', 'wasm:info'], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, ...secrets },
    stdio: ['ignore', 'pipe', 'pipe'],
  }), true);
  await programs.until('Envoy', async () => (await status(`${site}/public/`)) === 200);
  // 503 until the filter has fetched the provider's documents.
  await programs.until('the filter', async () => ![undefined, 503].includes(await status(`${site}/`)));
  return { site, provider };
}

function greeting({ site, provider }) {
  return `
Vestibule is running.

  Open        ${site}/orders?from=2024        (any path but /public needs a login)
  Log in as   alice (roles admin and user) or bob (role user); any password

An API call, with a token of the provider:

  TOKEN=$(curl -s -u orders-machine:${MACHINE_SECRET} -d grant_type=client_credentials \\
    -d scope=orders.read -d resource=https://api.demo.example ${provider}/token \\
    | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')
  curl -i -H "Authorization: Bearer $TOKEN" ${site}/api/orders
  curl -i -H "Authorization: Bearer wrong" ${site}/api/orders

Logs are in .build/logs/. Ctrl-C stops everything.
`;
}

async function main() {
  const programs = new Programs();
  // Whatever happens to this program, it leaves no other running.
  process.on('exit', () => programs.signalAll('SIGKILL'));
  const stopped = new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
      process.on(signal, () => {
        programs.stopping = true;
        resolve();
      });
    }
    if (process.env.MAKELEVEL) {
      // make was killed and could not forward the signal.
      const make = process.ppid;
      setInterval(() => process.ppid !== make && resolve(), 1_000).unref();
    }
  });

  let code = 0;
  try {
    const ports = wantedPorts(process.env);
    const demo = await Promise.race([start(programs, ports), stopped]);
    if (demo) {
      console.log(greeting(demo));
      await Promise.race([stopped, programs.failed]);
    }
  } catch (error) {
    console.error(error instanceof DemoError ? `demo: ${error.message}` : error);
    code = 1;
  }
  await programs.stop();
  if (code === 0) console.log('\nEverything is stopped.');
  process.exit(code);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
