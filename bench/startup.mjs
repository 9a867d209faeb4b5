// What a start costs: time until the first response, CPU time until then, and memory after some requests.

import { readFileSync } from 'node:fs';
import { send } from '../wasm-test/client.mjs';
import { Envoy, freePort, until } from '../wasm-test/world.mjs';
import { cpuTime } from './cpu-time.mjs';

const STARTS = 5;
const REQUESTS = 500;
const POLL_MS = 10;
const DEADLINE_MS = 60_000;

/** Resident memory of a process in MiB. */
const residentMemory = (pid) => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1_024;

async function start(stage, name) {
  const port = await freePort();
  const bootstrap = await stage.bootstrap(name, port);
  const from = performance.now();
  const starting = Envoy.start(bootstrap, { concurrency: 1 });
  const answers = async () => (await send(port, '/public/page').catch(() => undefined))?.status === 200;
  await until('the first response', answers, DEADLINE_MS, POLL_MS);
  const ready = performance.now() - from;
  const envoy = await starting;
  try {
    const cpu = cpuTime(envoy.child.pid) / 1_000;
    for (let sent = 0; sent < REQUESTS; sent += 1) await send(port, '/public/page');
    return { ready, cpu, memory: residentMemory(envoy.child.pid) };
  } finally {
    await envoy.stop();
  }
}

/** `{name: {ready: [ms], cpu: [ms], memory: [MiB]}}`, in alternating rounds. */
export async function starts(stage, names) {
  const all = Object.fromEntries(names.map((name) => [name, { ready: [], cpu: [], memory: [] }]));
  for (let round = 0; round < STARTS; round += 1) {
    for (const name of names) {
      for (const [what, value] of Object.entries(await start(stage, name))) all[name][what].push(value);
    }
  }
  return all;
}
