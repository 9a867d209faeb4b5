// CPU time of Envoy per request, for all contenders in alternating rounds.

import { fork } from 'node:child_process';
import path from 'node:path';
import { ROOT } from '../wasm-test/world.mjs';
import { request } from './connection.mjs';
import { CONTENDERS, credentials } from './contenders.mjs';
import { cpuTime } from './cpu-time.mjs';
import { CONNECTIONS, NEW_REQUESTS, REQUESTS, ROUNDS } from './settings.mjs';

/** The number of contenders between two measurements of the baselines. */
const GROUP = 6;

/** The process of the load generator. */
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

/** Sends the requests of a contender to the load generator, and returns their number. */
export async function handOver(stage, load, id) {
  const contender = CONTENDERS[id];
  const { envoy, path: target, headers } = contender;
  const texts = (await credentials(stage, contender)).map((who) => request(stage.host(envoy), target, { ...headers, ...who }));
  await load.order({ keep: id, texts });
  return texts.length;
}

/** One round of a contender. Returns microseconds per request. */
async function run(stage, load, id, round) {
  const { name, envoy, status, once, renewed } = CONTENDERS[id];
  const { child: { pid } } = await stage.envoy(envoy);
  const handedOver = round === 0 || renewed ? await handOver(stage, load, id) : 0;
  const usual = once ? NEW_REQUESTS : REQUESTS;
  // The first round sends each request at least once, so that the worker has seen all sessions.
  const count = once ? usual : Math.max(usual, handedOver);
  const before = cpuTime(pid);
  const { statuses } = await load.order({ port: stage.ports[envoy], connections: CONNECTIONS, kept: id, from: round * usual, count });
  const spent = cpuTime(pid) - before;
  if (statuses[status] !== count) throw new Error(`${name} (${id}): ${JSON.stringify(statuses)} instead of ${count} times ${status}`);
  return spent / count;
}

const mean = (values) => values.reduce((sum, one) => sum + one, 0) / values.length;

/**
 * Microseconds per request of each contender in each round: `{id: [...]}`. The baselines are measured several
 * times per round; the value is the mean.
 */
export async function measure(stage, load, baselines, others, report) {
  const times = Object.fromEntries([...baselines, ...others].map((id) => [id, []]));
  for (let round = 0; round <= ROUNDS; round += 1) {
    const spent = Object.fromEntries(Object.keys(times).map((id) => [id, []]));
    // Every other round is in reverse order, so that a machine that becomes slower affects all contenders alike.
    const order = round % 2 ? [...others].reverse() : others;
    for (let from = 0; from < order.length; from += GROUP) {
      for (const id of [...baselines, ...order.slice(from, from + GROUP)]) spent[id].push(await run(stage, load, id, round));
    }
    // The first round warms up: V8 compiles hot code a second time.
    if (round > 0) for (const [id, values] of Object.entries(spent)) times[id].push(mean(values));
    report(round);
  }
  return times;
}
