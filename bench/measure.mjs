// CPU time of Envoy per request, of all contenders in alternating rounds.

import { fork } from 'node:child_process';
import path from 'node:path';
import { ROOT } from '../wasm-test/world.mjs';
import { request } from './connection.mjs';
import { CONTENDERS, credentials } from './contenders.mjs';
import { cpuTime } from './cpu-time.mjs';
import { CONNECTIONS, NEW_REQUESTS, REQUESTS, ROUNDS } from './settings.mjs';

/** So many contenders come between two measurements of the Envoy that is subtracted from them. */
const GROUP = 6;

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

/** Hands the requests of a contender to the process that sends them; gives their number. */
export async function handOver(stage, load, id) {
  const contender = CONTENDERS[id];
  const { envoy, path: target, headers } = contender;
  const texts = (await credentials(stage, contender)).map((who) => request(stage.host(envoy), target, { ...headers, ...who }));
  await load.order({ keep: id, texts });
  return texts.length;
}

/** Sends a contender its requests of this round; gives microseconds per request. */
async function run(stage, load, id, round) {
  const { name, envoy, status, once, renewed } = CONTENDERS[id];
  const { child: { pid } } = await stage.envoy(envoy);
  const handedOver = round === 0 || renewed ? await handOver(stage, load, id) : 0;
  const usual = once ? NEW_REQUESTS : REQUESTS;
  // All of those that take turns have one in the first round, so that the worker has seen each.
  const count = once ? usual : Math.max(usual, handedOver);
  const before = cpuTime(pid);
  const { statuses } = await load.order({ port: stage.ports[envoy], connections: CONNECTIONS, kept: id, from: round * usual, count });
  const spent = cpuTime(pid) - before;
  if (statuses[status] !== count) throw new Error(`${name} (${id}): ${JSON.stringify(statuses)} instead of ${count} times ${status}`);
  return spent / count;
}

const mean = (values) => values.reduce((sum, one) => sum + one, 0) / values.length;

/**
 * Microseconds per request of each contender in each round: `{id: [...]}`. The baselines are measured
 * several times in each round, and count with their mean.
 */
export async function measure(stage, load, baselines, others, report) {
  const times = Object.fromEntries([...baselines, ...others].map((id) => [id, []]));
  for (let round = 0; round <= ROUNDS; round += 1) {
    const spent = Object.fromEntries(Object.keys(times).map((id) => [id, []]));
    // There and back again: what slows the machine down meanwhile does so to all of them.
    const order = round % 2 ? [...others].reverse() : others;
    for (let from = 0; from < order.length; from += GROUP) {
      for (const id of [...baselines, ...order.slice(from, from + GROUP)]) spent[id].push(await run(stage, load, id, round));
    }
    // In the first round V8 compiles a second time what is hot.
    if (round > 0) for (const [id, values] of Object.entries(spent)) times[id].push(mean(values));
    report(round);
  }
  return times;
}
