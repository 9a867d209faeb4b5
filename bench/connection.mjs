// Persistent connections that send one request at a time. The clients of the tests open a connection for
// each request, which would cost more than what is measured.

import net from 'node:net';

const END_OF_HEAD = '\r\n\r\n';

/** The bytes of a GET request. */
export const request = (host, path, headers = {}) => {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return `GET ${path} HTTP/1.1\r\nhost: ${host}\r\n${lines}\r\n`;
};

/** All values of a response header. `name` is in lower case, as Envoy writes it. */
export const values = ({ head }, name) => head.split('\r\n').slice(1)
  .filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));

export class Connection {
  static open(port) {
    return new Promise((resolve, reject) => {
      const connection = new Connection();
      connection.text = '';
      connection.socket = net.connect(port, '127.0.0.1', () => resolve(connection));
      connection.socket.setNoDelay(true);
      connection.socket.on('data', (chunk) => connection.read(chunk));
      connection.socket.on('error', (error) => connection.fail(error, reject));
      connection.socket.on('close', () => connection.fail(new Error('the proxy closed a connection'), reject));
    });
  }

  /** Sends a request, and returns `{status, head}` after the end of the response. */
  send(text) {
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.socket.write(text, 'latin1');
    });
  }

  read(chunk) {
    this.text += chunk.toString('latin1');
    const end = this.text.indexOf(END_OF_HEAD);
    if (end < 0) return;
    const head = this.text.slice(0, end);
    const whole = end + END_OF_HEAD.length + Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (this.text.length < whole) return;
    this.text = this.text.slice(whole);
    const { resolve } = this.waiting;
    this.waiting = undefined;
    resolve({ status: Number(head.slice(9, 12)), head });
  }

  fail(error, notOpen) {
    notOpen(error);
    this.waiting?.reject(error);
  }

  close() {
    this.socket.destroy();
  }
}

/** Calls `work(connection, index)` for each index below `count`, on several connections in parallel. */
export async function each(port, connections, count, work) {
  let next = 0;
  const one = async () => {
    const connection = await Connection.open(port);
    try {
      while (next < count) {
        const index = next;
        next += 1;
        await work(connection, index);
      }
    } finally {
      connection.close();
    }
  };
  await Promise.all(Array.from({ length: connections }, one));
}
