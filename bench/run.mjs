// `make bench`: Vestibule beside Envoy's own filters, in CPU time per request and in what a proxy needs.
//
// All contenders run in one go and take turns, so that disturbances of the machine affect all of them, and a
// ratio is that of one round. Before the first round each contender is checked to do what its name says.
// Nothing is asserted about speed: a run fails only if something was not measured.

import { execFileSync } from 'node:child_process';
import os from 'node:os';
import { check } from './check.mjs';
import { CONTENDERS, credentials, reading } from './contenders.mjs';
import { Load, measure } from './measure.mjs';
import { writeTable } from './page.mjs';
import { ROWS } from './rows.mjs';
import { ONLY, REQUESTS, ROUNDS, WRITE } from './settings.mjs';
import { Stage } from './stage.mjs';
import { median } from './statistics.mjs';
import { line, table } from './table.mjs';

/** A row with all its defaults. */
function named(row) {
  const kind = row.whole ? ', the whole request' : row.same ? ', the filter alone' : '';
  const what = row.what ?? `${CONTENDERS[row.mine].name}${kind}`;
  return { unit: 'us', beside: CONTENDERS[row.peer]?.name, ...row, what };
}

const baselineOf = (id) => CONTENDERS[id].alone ?? 'alone';

function contendersOf({ mine, peer, same, needs = [] }) {
  const both = [mine, peer].filter((id) => id);
  return [...both, ...(same ? both.map(reading) : []), ...needs];
}

/** The values of both sides of a row, from the times of all contenders. */
function added({ mine, peer, whole, same }, times) {
  const subtracted = (id) => times[same ? reading(id) : baselineOf(id)];
  const of = (id) => times[id].map((time, round) => (whole ? time : time - subtracted(id)[round]));
  return { mine: of(mine), peer: of(peer) };
}

/** The circumstances of a run: the machine, what was subtracted, and requests per second and core. */
function conditions(times) {
  const version = /\/(\d+\.\d+\.\d+)\//.exec(execFileSync(process.env.ENVOY, ['--version'], { encoding: 'utf8' }))?.[1];
  const sentences = [`Envoy ${version} with one worker, ${os.cpus().length} cores, ${ROUNDS} rounds of ${REQUESTS.toLocaleString('en')} requests.`];
  const measured = (ids, text) => ids.filter((id) => times[id]).map((id) => `${text(median(times[id]))} (${CONTENDERS[id].name})`).join(', ');
  if (times.alone) {
    sentences.push(`Subtracted is what a request costs without filters: ${measured(['alone', 'aloneBrowser'], (time) => `${time.toFixed(1)} us`)}.`);
    const perSecond = (time) => Math.round(1e6 / time / 100) * 100;
    sentences.push(`Requests per second and core: ${measured(['alone', 'oauth2', 'jwtCache', 'public', 'session', 'token', 'sessionUnseen'], (time) => perSecond(time).toLocaleString('en'))}.`);
  }
  return sentences.join(' ');
}

/** Contenders whose cookie has to be a minute old log in first and are checked last. */
async function checkAll(stage, ids) {
  const [waiting, others] = [true, false].map((is) => ids.filter((id) => Boolean(CONTENDERS[id].extends) === is));
  for (const id of waiting) await credentials(stage, CONTENDERS[id]);
  for (const id of [...others, ...waiting]) await check(stage, id);
}

async function main() {
  const rows = ROWS.map(named).filter(({ what, beside }) => `${what} ${beside ?? ''}`.toLowerCase().includes(ONLY));
  if (!rows.length) throw new Error(`BENCH_ONLY: no row has "${ONLY}"`);
  const contenders = [...new Set(rows.flatMap(contendersOf))];
  const baselines = [...new Set(contenders.map(baselineOf))];
  const stage = await Stage.start();
  const load = new Load();
  try {
    console.log(`Making tokens and sessions, and checking ${contenders.length} contenders ...`);
    await checkAll(stage, [...baselines, ...contenders]);
    const times = contenders.length ? await measure(stage, load, baselines, contenders, (round) => console.log(round ? `round ${round} of ${ROUNDS}` : 'warmed up')) : {};
    const lines = [];
    for (const row of rows) lines.push(line(row, row.measure ? await row.measure({ stage, times }) : added(row, times)));
    const text = `${conditions(times)}\n\n${table(lines)}`;
    console.log(`\n${text}`);
    if (WRITE) writeTable(text);
  } finally {
    load.stop();
    await stage.stop();
  }
}

// Each running Envoy has a listener that kills it when this process ends.
process.setMaxListeners(0);
await main();
