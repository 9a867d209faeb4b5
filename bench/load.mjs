// A load generator: a fixed number of requests over a few connections, each waiting for its response before
// it sends the next. It is a separate process, so that it runs on another core. It gets {port, connections,
// requests: [text, ...], count} over IPC, and sends {statuses: {200: n}}.

import net from 'node:net';

function run({ port, connections, requests, count }) {
  const texts = requests.map((text) => Buffer.from(text, 'latin1'));
  const statuses = {};
  let sent = 0;
  let answered = 0;
  return new Promise((resolve, reject) => {
    const next = (socket) => {
      if (sent === count) return;
      socket.write(texts[sent % texts.length]);
      sent += 1;
    };
    for (let i = 0; i < connections; i += 1) {
      const socket = net.connect(port, '127.0.0.1', () => next(socket));
      socket.setNoDelay(true);
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
        const head = text.indexOf('\r\n\r\n');
        if (head < 0) return;
        const length = Number(/\r\ncontent-length: (\d+)/i.exec(text.slice(0, head))?.[1] ?? 0);
        if (text.length < head + 4 + length) return;
        const status = text.slice(9, 12);
        statuses[status] = (statuses[status] ?? 0) + 1;
        text = text.slice(head + 4 + length);
        answered += 1;
        if (answered === count) {
          socket.removeAllListeners('close');
          resolve({ statuses });
        }
        next(socket);
      });
      socket.on('error', reject);
      socket.on('close', () => answered < count && reject(new Error(`the proxy closed a connection after ${answered} answers`)));
      sockets.push(socket);
    }
  }).finally(() => {
    for (const socket of sockets.splice(0)) {
      socket.removeAllListeners('close');
      socket.destroy();
    }
  });
}

const sockets = [];
process.on('message', async (order) => {
  try {
    process.send(await run(order));
  } catch (error) {
    process.send({ error: error.message });
  }
});
process.on('disconnect', () => process.exit());
