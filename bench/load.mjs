// The load generator: a fixed number of requests over a few connections, each waiting for its response before
// it sends the next. It is a separate process, so that it runs on another core. Over IPC it gets
// - `{keep, texts}`: requests to keep under a name;
// - `{port, connections, kept, from, count}`: send `count` of the kept requests in a cycle that begins at
//   `from`. It replies with `{statuses: {200: n}}`.

import { each } from './connection.mjs';

const kept = new Map();

async function run({ port, connections, kept: name, from, count }) {
  const texts = kept.get(name);
  const statuses = {};
  await each(port, connections, count, async (connection, index) => {
    const { status } = await connection.send(texts[(from + index) % texts.length]);
    statuses[status] = (statuses[status] ?? 0) + 1;
  });
  return { statuses };
}

process.on('message', async (order) => {
  try {
    if (order.keep) kept.set(order.keep, order.texts);
    process.send(order.keep ? {} : await run(order));
  } catch (error) {
    process.send({ error: error.message });
  }
});
process.on('disconnect', () => process.exit());
