// `make profile`: where the time of a request is, sampled with Linux' perf: in the kernel, in Envoy, in the
// module. The rest is libraries of the system.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { request } from './connection.mjs';
import { CONTENDERS, credentials } from './contenders.mjs';
import { cpuTime } from './cpu-time.mjs';
import { Load } from './measure.mjs';
import { writeProfile } from './page.mjs';
import { CONNECTIONS, ONLY, WRITE } from './settings.mjs';
import { Stage } from './stage.mjs';
import { markdown } from './table.mjs';

const PROFILED = [
  'alone', 'noop', 'oauth2', 'jwtCache', 'public', 'session', 'sessionUnseen', 'token', 'tokenRS256', 'tokenES256', 'refusal', 'redirect',
];
const WARM_UP = 10_000;
const SAMPLED = 40_000;
const SAMPLES_PER_SECOND = 2_000;
/** Until perf samples. */
const ATTACH_MS = 1_000;

/** Shares of a recording by the file that the code is in. */
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

async function profile(stage, load, id, directory) {
  const contender = CONTENDERS[id];
  const { envoy, path: target, headers, once: isOnce } = contender;
  const { child: { pid } } = await stage.envoy(envoy);
  const texts = (await credentials(stage, contender)).map((who) => request(stage.host(envoy), target, { ...headers, ...who }));
  await load.order({ keep: id, texts });
  const drive = (from, count) => load.order({ port: stage.ports[envoy], connections: CONNECTIONS, kept: id, from, count });
  // None of those that must be new is sent twice.
  const [first, then] = isOnce ? [Math.floor(texts.length / 4), Math.floor(texts.length * 3 / 4)] : [WARM_UP, SAMPLED];
  await drive(0, first);
  const recording = path.join(directory, id);
  const perf = spawn('perf', ['record', '--quiet', '--event', 'cpu-clock', '--freq', String(SAMPLES_PER_SECOND), '--output', recording, '--pid', String(pid)], { stdio: 'ignore' });
  const ended = once(perf, 'close');
  await pause(ATTACH_MS);
  const before = cpuTime(pid);
  await drive(first, then);
  const time = (cpuTime(pid) - before) / then;
  perf.kill('SIGINT');
  await ended;
  const parts = shares(recording);
  return [contender.name, time.toFixed(1), ...[parts.kernel, parts.envoy, parts.module].map((share) => (share * time).toFixed(1))];
}

async function main() {
  const stage = await Stage.start();
  const load = new Load();
  const directory = mkdtempSync(path.join(os.tmpdir(), 'vestibule-profile-'));
  try {
    const rows = [];
    for (const id of PROFILED.filter((one) => CONTENDERS[one].name.toLowerCase().includes(ONLY))) rows.push(await profile(stage, load, id, directory));
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
