// Checks that a contender does what its name says: one that admits everybody, or nobody, would be fast and its
// figure meaningless.

import { send } from '../wasm-test/client.mjs';
import { until } from '../wasm-test/world.mjs';
import { CONTENDERS, credentials } from './contenders.mjs';
import { ECHO } from './envoys.mjs';

const SOMEBODY_ELSE = { 'x-auth-sub': 'mallory' };
/** The cookie of a session in use is extended after a minute. */
const EXTENSION_DEADLINE_MS = 90_000;

/** The same with one character changed, in the sealed part or the signature. */
function falsified(headers) {
  const [name, value] = Object.entries(headers)[0];
  let at = Math.floor(value.length * 0.9);
  while (!/[A-Za-z0-9]/.test(value[at])) at -= 1;
  return { [name]: `${value.slice(0, at)}${value[at] === '7' ? '8' : '7'}${value.slice(at + 1)}` };
}

export async function check(stage, id) {
  const contender = CONTENDERS[id];
  const { envoy, path, headers, status, receives = {}, guarded, name } = contender;
  await stage.envoy(envoy);
  const [who] = await credentials(stage, contender);
  const ask = (these) => send(stage.ports[envoy], path, { headers: { host: stage.host(envoy), ...headers, ...these, ...SOMEBODY_ELSE, [ECHO]: '1' } });
  const fail = (what) => { throw new Error(`${name} (${id}): ${what}`); };

  if (contender.extends) await until('the cookie is extended', async () => (await ask(who)).header('set-cookie'), EXTENSION_DEADLINE_MS);
  const answer = await ask(who);
  if (answer.status !== status) fail(`status ${answer.status} instead of ${status}`);
  const isExtended = answer.header('set-cookie') !== undefined;
  if (status === 200 && isExtended !== Boolean(contender.extends)) fail(isExtended ? 'sets a cookie' : 'sets no cookie');
  for (const [header, wanted] of Object.entries(receives)) {
    const seen = answer.header(`seen-${header}`);
    if (wanted instanceof RegExp ? !wanted.test(seen) : seen !== wanted) fail(`the upstream receives ${header}: ${seen} instead of ${wanted}`);
  }
  if (!guarded) return;
  for (const strangers of [{}, falsified(who)]) {
    const refused = await ask(strangers);
    if (refused.status === status) fail(`admits ${Object.keys(strangers).length ? 'false' : 'no'} credentials`);
  }
}
