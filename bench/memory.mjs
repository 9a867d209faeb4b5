// The linear memory of a worker's VM, and floods of unauthenticated clients.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { each, request } from './connection.mjs';
import { CONNECTIONS } from './settings.mjs';

const MIB = 2 ** 20;
/** V8 reserves this much for each linear memory; only its beginning is readable. */
const RESERVED = 8 * 1_024 * MIB;
const FLOOD = 10_000;

const mappings = (pid) => readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n').filter(Boolean).map((line) => {
  const [, from, to, access] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line);
  return { from: Number.parseInt(from, 16), to: Number.parseInt(to, 16), access };
});

/** The largest linear memory of a process in MiB, which is that of its worker. Its size is exact. */
export function linearMemory(pid) {
  const all = mappings(pid);
  const sizes = all.filter(({ from, to, access }, index) => {
    const rest = all[index + 1];
    return access === 'rw-p' && rest?.access === '---p' && rest.from === to && rest.to - from === RESERVED;
  }).map(({ from, to }) => (to - from) / MIB);
  if (!sizes.length) throw new Error('Envoy has no mapping that looks like a linear memory of V8');
  return Math.max(...sizes);
}

/** Distinct cookies that are not sealed, distinct tokens with a wrong signature, and distinct valid tokens. */
export async function flood(stage, name, tokens) {
  const [port, host] = [stage.ports[name], stage.host(name)];
  const garbage = (length) => randomBytes(length).toString('base64url');
  const send = (path, headers) => (connection, index) => connection.send(request(host, path, headers(index)));
  await each(port, CONNECTIONS, FLOOD, send('/page', () => ({ cookie: `vestibule=${garbage(360)}` })));
  await each(port, CONNECTIONS, FLOOD, send('/api/orders', (index) => {
    const [head, claims] = tokens[index % tokens.length].split('.');
    return { authorization: `Bearer ${head}.${claims}.${garbage(256)}` };
  }));
  await each(port, CONNECTIONS, tokens.length, send('/api/orders', (index) => ({ authorization: `Bearer ${tokens[index]}` })));
}
