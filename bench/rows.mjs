// The rows of the table: what is compared, and the target.
//
// - `mine`, `peer`: contenders. Their time is what they add to an Envoy without filters that gets a request
//   without credentials, so it includes reading the cookies. With `same`, that Envoy gets the same request;
//   with `whole`, nothing is subtracted.
// - `what`, `beside`, `measure({stage, times})`: a row that is not about time per request. `measure` returns the
//   values of both sides, `{mine: [..], peer: [..]}`. It may also return `shown`, the text for `mine`, and
//   `failure`, the reason why the target is missed whatever the values are. `needs`: contenders that must have run.
// - `unit`: microseconds by default.
// - The target is one of `ratio`, `amount` (of `mine` alone) and `more` (of the difference).

import { statSync } from 'node:fs';
import { MODULE } from '../wasm-test/world.mjs';
import { CAN_VERIFY_IN_MODULE, NOOP } from './envoys.mjs';
import { fetches } from './fetches.mjs';
import { flood, linearMemory } from './memory.mjs';
import { NEW_REQUESTS, ROUNDS, SESSIONS } from './settings.mjs';
import { starts } from './startup.mjs';
import { median } from './statistics.mjs';

/** The largest ratio of two equal things, because measurements of one thing differ too. */
const THE_SAME = 1.1;
const WORKERS = [1, 2, 8];

const start = (what) => async ({ stage }) => {
  const all = await stage.once('starts', () => starts(stage, ['alone', 'noop', 'vestibule']));
  return { mine: all.vestibule[what], peer: all.alone[what] };
};

const kilobytes = (file) => statSync(file).size / 1_000;

const memoryOf = (name) => async ({ stage }) => ({ mine: [linearMemory((await stage.envoy(name)).child.pid)] });

/** The memory for all sessions counts only if the worker remembers all of them. */
async function memoryOfMany({ stage, times }) {
  const added = (id) => median(times[id]) - median(times.alone);
  const ratio = added('sessionMany') / added('sessionOne');
  return { ...await memoryOf('many')({ stage }), ...(ratio > THE_SAME && { failure: 'missed: not all of them are remembered' }) };
}

async function twoFloods({ stage }) {
  const { child: { pid } } = await stage.envoy('many');
  const tokens = await stage.tokens('RS256', NEW_REQUESTS * (ROUNDS + 1));
  const after = [];
  for (let time = 0; time < 2; time += 1) {
    await flood(stage, 'many', tokens);
    after.push(linearMemory(pid));
  }
  return { mine: [after[1]], peer: [after[0]] };
}

const fetched = (what) => async ({ stage }) => {
  const all = await stage.once('fetches', async () => {
    const counts = [];
    for (const workers of WORKERS) counts.push(await fetches(workers));
    return counts;
  });
  const counts = all.map((one) => one[what]);
  return { mine: [Math.max(...counts)], shown: counts.join(', ') };
};

/** Signatures on a proxy without a verifier. Envoy never verifies PS256, which is RSA too. */
const IN_MODULE = CAN_VERIFY_IN_MODULE
  ? [{ mine: 'inModuleRS256', peer: 'jwtRS256', amount: 500 }, { mine: 'inModuleES256', peer: 'jwtES256', amount: 500 }]
  : [{ what: 'PS256 never seen, verified in the module', mine: 'tokenPS256', peer: 'jwtPS256', amount: 500 }];

export const ROWS = [
  { mine: 'session', peer: 'oauth2', ratio: 0.8 },
  { mine: 'session', peer: 'oauth2', same: true, ratio: 0.8 },
  { mine: 'sessionBrowser', peer: 'oauth2Browser', ratio: 0.8 },
  { mine: 'session', peer: 'oauth2Jwt' },
  { mine: 'session', peer: 'noop' },
  { mine: 'sessionUnseen', peer: 'oauth2Jwt', ratio: 1.5 },
  { mine: 'sessionThousand', peer: 'sessionOne', ratio: THE_SAME },
  { mine: 'sessionMany', peer: 'sessionOne', ratio: THE_SAME },
  { mine: 'sessionExtended', peer: 'session' },
  { mine: 'sessionLarge', peer: 'session', ratio: 1.3 },

  { mine: 'token', peer: 'jwtCache', ratio: 1.5 },
  { mine: 'token', peer: 'jwtCache', same: true, ratio: 1.5 },
  { mine: 'tokenLarge', peer: 'token', ratio: 1.3 },
  { mine: 'tokenRS256', peer: 'jwtRS256', ratio: 1 },
  { mine: 'tokenES256', peer: 'jwtES256', ratio: 0.75 },
  { mine: 'tokenES384', peer: 'jwtES384', ratio: 0.75 },
  { mine: 'tokenEdDSA', peer: 'jwtEdDSA', ratio: 1.2 },
  ...IN_MODULE,

  { mine: 'public', peer: 'noop' },
  { mine: 'refusal', peer: 'public', ratio: 2 },
  { mine: 'refusal', peer: 'public', ratio: 2, whole: true },
  { mine: 'refusal', peer: 'jwtRefusal' },
  { mine: 'redirect', peer: 'public', ratio: 2 },
  { mine: 'redirect', peer: 'public', ratio: 2, whole: true },
  { mine: 'redirect', peer: 'oauth2Redirect' },

  { what: 'first response after a start', beside: 'Envoy alone', unit: 'ms', more: 500, measure: start('ready') },
  { what: 'CPU time until then', beside: 'Envoy alone', unit: 'ms', measure: start('cpu') },
  { what: 'resident memory, one worker', beside: 'Envoy alone', unit: 'MiB', measure: start('memory') },
  { what: 'module', beside: 'a Wasm filter that does nothing', unit: 'KB', amount: 1_100, measure: () => ({ mine: [kilobytes(MODULE)], peer: [kilobytes(NOOP)] }) },

  { what: 'linear memory of a worker, 1 session', unit: 'MiB', needs: ['sessionOne'], measure: memoryOf('one') },
  { what: 'linear memory of a worker, 1,000 sessions', unit: 'MiB', needs: ['sessionThousand'], measure: memoryOf('thousand') },
  { what: `linear memory of a worker, ${SESSIONS.toLocaleString('en')} sessions`, unit: 'MiB', amount: 8, needs: ['sessionMany', 'sessionOne'], measure: memoryOfMany },
  { what: 'linear memory after two floods of distinct cookies and tokens', beside: 'after the first of them', unit: 'MiB', ratio: 1, needs: ['sessionMany'], measure: twoFloods },

  { what: 'fetches of metadata at the start, with 1, 2 and 8 workers', unit: '', amount: 1, measure: fetched('metadata') },
  { what: 'fetches of keys at the start, with 1, 2 and 8 workers', unit: '', amount: 1, measure: fetched('keys') },
  { what: 'fetches of keys for a new `kid`, with 1, 2 and 8 workers', unit: '', amount: 1, measure: fetched('newKey') },
];
