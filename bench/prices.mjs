// `make prices`: what each host call costs in Envoy, and what a Wasm filter without host calls costs. This is
// the lower limit for any Wasm filter.

import path from 'node:path';
import { Envoy, ROOT, ROUTER, envoyBootstrap, freePort, wasmFilter } from '../wasm-test/world.mjs';
import { request } from './connection.mjs';
import { BROWSER } from './contenders.mjs';
import { cpuTime } from './cpu-time.mjs';
import { NOOP, ROUTES } from './envoys.mjs';
import { Load } from './measure.mjs';
import { writePrices } from './page.mjs';
import { CONNECTIONS, REQUESTS, ROUNDS, WRITE } from './settings.mjs';
import { median, middleHalf } from './statistics.mjs';
import { markdown } from './table.mjs';

const CALLS = path.join(ROOT, '.build/calls.wasm');
/** Host calls per request: many, because one is cheaper than the noise. */
const TIMES = 20;

/** What is priced, and the configuration of the module: the call, and how often a request makes it. */
const PLANS = {
  'a filter with one callback that makes no call': ['nothing', 0],
  'the clock': ['clock', TIMES],
  '32 random bytes': ['random', TIMES],
  'all request headers': ['header_map', TIMES],
  'one request header': ['header', TIMES],
  'setting a request header': ['set_header', TIMES],
  'removing a request header that is not there': ['remove_absent_header', TIMES],
  'reading a property': ['property', TIMES],
  'setting a property': ['set_property', TIMES],
  'reading shared data that is not there': ['shared_data', TIMES],
  'incrementing a metric': ['metric', TIMES],
  'a local response instead of continuing': ['response', 1],
};
const ALONE = 'Envoy alone';
const SDK = 'a filter that does nothing, with every callback of the SDK';
const FLOOR = Object.keys(PLANS)[0];

/** A filter in its own VM. */
function filter(module, configuration, name) {
  const one = wasmFilter(module, configuration, {}, { name });
  one.typed_config.config.vm_config.vm_id = name;
  return one;
}

/** One Envoy with a listener for each filter, and the ports by name. */
async function start() {
  const filters = {
    [ALONE]: [],
    [SDK]: [filter(NOOP, '', 'sdk')],
    ...Object.fromEntries(Object.entries(PLANS).map(([what, [call, times]]) => [what, [filter(CALLS, `${call} ${times}`, call)]])),
  };
  const ports = {};
  const listeners = [];
  const adminPort = await freePort();
  for (const [what, these] of Object.entries(filters)) {
    ports[what] = await freePort();
    const { static_resources: { listeners: [listener] } } = envoyBootstrap({ port: ports[what], adminPort, filters: [...these, ROUTER], routes: ROUTES, clusters: [], accessLog: false });
    listeners.push({ ...listener, name: what });
  }
  const bootstrap = envoyBootstrap({ port: 0, adminPort, filters: [], routes: [], clusters: [] });
  bootstrap.static_resources.listeners = listeners;
  const envoy = await Envoy.start(bootstrap, { concurrency: 1 });
  if (envoy.exit) throw new Error(`Envoy has ended:\n${envoy.stderr.slice(-3_000)}`);
  return { envoy, ports };
}

async function main() {
  const { envoy, ports } = await start();
  const load = new Load();
  try {
    const times = Object.fromEntries(Object.keys(ports).map((what) => [what, []]));
    await load.order({ keep: 'request', texts: [request('localhost', '/page', BROWSER)] });
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const [what, port] of Object.entries(ports)) {
        const before = cpuTime(envoy.child.pid);
        const { statuses } = await load.order({ port, connections: CONNECTIONS, kept: 'request', from: 0, count: REQUESTS });
        if (statuses[200] !== REQUESTS) throw new Error(`${what}: ${JSON.stringify(statuses)}`);
        if (round > 0) times[what].push((cpuTime(envoy.child.pid) - before) / REQUESTS);
      }
    }
    const price = (what, from, by) => {
      const each = times[what].map((time, round) => (time - times[from][round]) / by);
      return [what, median(each).toFixed(2), middleHalf(each).map((value) => value.toFixed(2)).join(' to ')];
    };
    const rows = [price(FLOOR, ALONE, 1), price(SDK, ALONE, 1), ...Object.entries(PLANS).slice(1).map(([what, [, often]]) => price(what, FLOOR, often))];
    const text = markdown(['Price', 'us', 'Middle half'], rows, [1, 2]);
    console.log(text);
    if (WRITE) writePrices(text);
  } finally {
    load.stop();
    await envoy.stop();
  }
}

await main();
