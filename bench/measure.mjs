// CPU time of Envoy per request, of all contenders in alternating rounds.

import { fork } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../wasm-test/world.mjs';
import { CONTENDERS } from './contenders.mjs';
import { request } from './connection.mjs';
import { CONNECTIONS, NEW_REQUESTS, REQUESTS, ROUNDS } from './settings.mjs';

/** So many contenders come between two measurements of the Envoys that are subtracted from them. */
const GROUP = 6;
export const BASELINES = ['alone', 'aloneBrowser'];

/** CPU time of all threads of a process so far, in microseconds (the kernel's own accounting, not its ticks). */
function cpuTime(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const nanoseconds = threads.map((id) => Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ')[0]));
  return nanoseconds.reduce((sum, one) => sum + one, 0) / 1_000;
}

/** The process that sends the requests. */
export class Load {
  constructor() {
    this.child = fork(path.join(ROOT, 'bench/load.mjs'));
  }

  order(order) {
    return new Promise((resolve, reject) => {
      this.child.once('message', (reply) => (reply.error ? reject(new Error(reply.error)) : resolve(reply)));
      this.child.send(order);
    });
  }

  stop() {
    this.child.disconnect();
  }
}

const text = (stage, { envoy, path: where, headers }, credentials) => {
  // The other cookies of a browser stand beside those of its session.
  const host = envoy === 'oauth2' || envoy === 'oauth2Jwt' || envoy === 'large' ? `localhost:${stage.ports[envoy]}` : stage.host;
  return request(host, where, { ...headers, ...credentials });
};

/** What a contender sends in this round. */
async function kept(stage, load, id, round) {
  const contender = CONTENDERS[id];
  if (round > 0 && !contender.each) return;
  const who = contender.many ? await contender.many(stage) : [await contender.credentials?.(stage) ?? {}];
  await load.order({ keep: id, texts: who.map((credentials) => text(stage, contender, credentials)) });
}

async function once(stage, load, id, round) {
  const { envoy: name, once: isOnce, status, many } = CONTENDERS[id];
  const { child: { pid } } = await stage.envoy(name);
  await kept(stage, load, id, round);
  const count = isOnce ? NEW_REQUESTS : REQUESTS;
  const before = cpuTime(pid);
  const { statuses } = await load.order({ port: stage.ports[name], connections: CONNECTIONS, kept: id, from: many ? round * count : 0, count });
  const spent = cpuTime(pid) - before;
  if (statuses[status] !== count) throw new Error(`${CONTENDERS[id].name}: ${JSON.stringify(statuses)} instead of ${count} times ${status}`);
  return spent / count;
}

const mean = (values) => values.reduce((sum, one) => sum + one, 0) / values.length;

/** Microseconds per request of each contender in each round: `{id: [...]}`. */
export async function measure(stage, load, ids, report) {
  const times = Object.fromEntries([...BASELINES, ...ids].map((id) => [id, []]));
  for (let round = 0; round <= ROUNDS; round += 1) {
    const spent = Object.fromEntries(Object.keys(times).map((id) => [id, []]));
    const others = ids.filter((id) => !BASELINES.includes(id));
    // There and back again: what slows the machine down from beginning to end does so to all of them.
    if (round % 2) others.reverse();
    for (let from = 0; from < others.length; from += GROUP) {
      for (const id of [...BASELINES, ...others.slice(from, from + GROUP)]) spent[id].push(await once(stage, load, id, round));
    }
    // V8 compiles what is hot a second time in the first round.
    if (round > 0) for (const [id, values] of Object.entries(spent)) times[id].push(mean(values));
    report(round);
  }
  return times;
}
