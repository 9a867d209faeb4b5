// `make profile`: how much of a request's time is in the kernel, in Envoy and in the module, sampled with perf
// of Linux. The rest is in system libraries.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { CONTENDERS } from './contenders.mjs';
import { cpuTime } from './cpu-time.mjs';
import { Load, handOver } from './measure.mjs';
import { writeProfile } from './page.mjs';
import { CONNECTIONS, ONLY, WRITE } from './settings.mjs';
import { Stage } from './stage.mjs';
import { median } from './statistics.mjs';
import { markdown } from './table.mjs';

const PROFILED = [
  'alone', 'noop', 'oauth2', 'jwtCache', 'public', 'session', 'sessionUnseen', 'token', 'tokenRS256', 'tokenES256', 'refusal', 'redirect',
];
const ROUNDS = 3;
const WARM_UP = 10_000;
const SAMPLED = 20_000;
const SAMPLES_PER_SECOND = 4_000;
/** The time that perf needs to start. */
const ATTACH_MS = 1_000;
const PARTS = ['kernel', 'envoy', 'module'];

/** The shares of a recording, by the file that contains the code. */
function shares(recording) {
  const report = execFileSync('perf', ['report', '-i', recording, '--stdio', '--sort', 'dso'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const lines = [...report.matchAll(/^ +([\d.]+)% +(\S.*?) *$/gm)].map(([, share, where]) => [where, Number(share) / 100]);
  const sum = (is) => lines.filter(([where]) => is(where)).reduce((all, [, share]) => all + share, 0);
  return {
    kernel: sum((where) => where.startsWith('[kernel')),
    envoy: sum((where) => where === path.basename(process.env.ENVOY)),
    module: sum((where) => where.startsWith('[JIT]') || /^perf-\d+\.map$/.test(where)),
  };
}

/** Warms a contender up. Returns how to run a round; requests that must be new are sent once only. */
async function prepare(stage, load, id) {
  const { envoy, once: isOnce } = CONTENDERS[id];
  await stage.envoy(envoy);
  const handedOver = await handOver(stage, load, id);
  const [warmUp, sampled] = isOnce ? [Math.floor(handedOver / 4), Math.floor(handedOver / 4)] : [WARM_UP, SAMPLED];
  const drive = (from, count) => load.order({ port: stage.ports[envoy], connections: CONNECTIONS, kept: id, from, count });
  await drive(0, warmUp);
  return { id, sampled, run: (round) => drive(warmUp + round * sampled, sampled) };
}

/** One round: `{whole, kernel, envoy, module}` in microseconds per request. */
async function sample(stage, load, { id, sampled, run }, round, recording) {
  const { envoy, renewed } = CONTENDERS[id];
  const { child: { pid } } = await stage.envoy(envoy);
  if (renewed) await handOver(stage, load, id);
  const perf = spawn('perf', ['record', '--quiet', '--event', 'cpu-clock', '--freq', String(SAMPLES_PER_SECOND), '--output', recording, '--pid', String(pid)], { stdio: 'ignore' });
  const ended = once(perf, 'close');
  await pause(ATTACH_MS);
  const before = cpuTime(pid);
  await run(round);
  const whole = (cpuTime(pid) - before) / sampled;
  perf.kill('SIGINT');
  await ended;
  const parts = shares(recording);
  return { whole, ...Object.fromEntries(PARTS.map((part) => [part, parts[part] * whole])) };
}

async function main() {
  const stage = await Stage.start();
  const load = new Load();
  const directory = mkdtempSync(path.join(os.tmpdir(), 'vestibule-profile-'));
  try {
    const profiled = [];
    for (const id of PROFILED.filter((one) => CONTENDERS[one].name.toLowerCase().includes(ONLY))) {
      profiled.push({ ...await prepare(stage, load, id), samples: [] });
    }
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const one of profiled) one.samples.push(await sample(stage, load, one, round, path.join(directory, 'recording')));
    }
    const rows = profiled.map(({ id, samples }) => [
      CONTENDERS[id].name, ...['whole', ...PARTS].map((part) => median(samples.map((one) => one[part])).toFixed(1)),
    ]);
    const text = markdown(['Microseconds of a request', 'Whole', 'Kernel', 'Envoy', 'Module'], rows, [1, 2, 3, 4]);
    console.log(text);
    if (WRITE) writeProfile(text);
  } finally {
    rmSync(directory, { recursive: true, force: true });
    load.stop();
    await stage.stop();
  }
}

process.setMaxListeners(0);
await main();
