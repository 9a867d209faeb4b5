// What the environment says about a run.

const number = (name, otherwise) => {
  const value = Number(process.env[name] ?? otherwise);
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name} must be a whole number above 0`);
  return value;
};

/** Rounds that count; one more comes before them, in which V8 compiles what is hot a second time. */
export const ROUNDS = number('BENCH_ROUNDS', 9);
/** Requests of each contender in each round. */
export const REQUESTS = number('BENCH_REQUESTS', 4_000);
/** How many of them where none may be repeated: tokens and sessions that were not seen before. */
export const NEW_REQUESTS = number('BENCH_NEW_REQUESTS', 1_000);
/** Sessions that take turns, for what a worker remembers. */
export const SESSIONS = number('BENCH_SESSIONS', 10_000);
/** All that are made: in each round some that were not seen before, and once more to warm up. */
export const ALL_SESSIONS = Math.max(SESSIONS, NEW_REQUESTS * (ROUNDS + 1));
/** Only the rows that have this text in their first or third column, in any case. */
export const ONLY = (process.env.BENCH_ONLY ?? '').toLowerCase();
/** Whether the table goes into docs/performance.md too. */
export const WRITE = process.env.BENCH_WRITE === '1';
/** Connections of the load, each with one request at a time. */
export const CONNECTIONS = 16;
