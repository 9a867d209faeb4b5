// Settings of a run, from the environment.

const number = (name, otherwise) => {
  const value = Number(process.env[name] ?? otherwise);
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name} must be a whole number above 0`);
  return value;
};

/** Measured rounds. One more comes first, because V8 compiles hot code a second time. */
export const ROUNDS = number('BENCH_ROUNDS', 9);
/** Requests of each contender in each round. */
export const REQUESTS = number('BENCH_REQUESTS', 4_000);
/** The same for tokens and sessions that were never seen: none of them is sent twice. */
export const NEW_REQUESTS = number('BENCH_NEW_REQUESTS', 1_000);
/** Sessions that take turns, for what a worker remembers. */
export const SESSIONS = number('BENCH_SESSIONS', 10_000);
/** Sessions that are made: each round needs some that were never seen, and so does the warm-up. */
export const ALL_SESSIONS = Math.max(SESSIONS, NEW_REQUESTS * (ROUNDS + 1));
/** Only rows that have this text in their first or third column, in any case. */
export const ONLY = (process.env.BENCH_ONLY ?? '').toLowerCase();
/** Whether the result replaces the one in docs/performance.md. */
export const WRITE = process.env.BENCH_WRITE === '1';
/** Connections of the load generator, each with one request at a time. */
export const CONNECTIONS = 16;
