// Whether a contender does what its name says. One that lets everybody through, or nobody, would be fast
// and mean nothing.

import { send } from '../wasm-test/client.mjs';
import { until } from '../wasm-test/world.mjs';
import { CONTENDERS, credentials } from './contenders.mjs';
import { ECHO } from './envoys.mjs';

const SOMEBODY_ELSE = { 'x-auth-sub': 'mallory' };
/** A cookie in use is written again after a minute. */
const EXTENSION_DEADLINE_MS = 90_000;

/** The same with one character changed, where it matters: in the seal or the signature. */
function falsified(headers) {
  const [name, value] = Object.entries(headers)[0];
  let at = Math.floor(value.length * 0.9);
  while (!/[A-Za-z0-9]/.test(value[at])) at -= 1;
  return { [name]: `${value.slice(0, at)}${value[at] === '7' ? '8' : '7'}${value.slice(at + 1)}` };
}

export async function check(stage, id) {
  const contender = CONTENDERS[id];
  const { envoy, path, headers, status, tells = {}, guarded, name } = contender;
  await stage.envoy(envoy);
  const [who] = await credentials(stage, contender);
  const ask = (these) => send(stage.ports[envoy], path, { headers: { host: stage.host(envoy), ...headers, ...these, ...SOMEBODY_ELSE, [ECHO]: '1' } });
  const fail = (what) => { throw new Error(`${name} (${id}): ${what}`); };

  if (contender.extends) await until('the cookie is old enough', async () => (await ask(who)).header('set-cookie'), EXTENSION_DEADLINE_MS);
  const answer = await ask(who);
  if (answer.status !== status) fail(`status ${answer.status} instead of ${status}`);
  for (const [header, wanted] of Object.entries(tells)) {
    const seen = answer.header(`seen-${header}`);
    if (wanted instanceof RegExp ? !wanted.test(seen) : seen !== wanted) fail(`the upstream would receive ${header}: ${seen}, not ${wanted}`);
  }
  if (!guarded) return;
  for (const strangers of [{}, falsified(who)]) {
    const refused = await ask(strangers);
    if (refused.status === status) fail(`lets in ${Object.keys(strangers).length ? 'false' : 'no'} credentials`);
  }
}
