// How often a proxy fetches documents of its provider, counted at the provider.

import { NAVIGATION } from '../wasm-test/client.mjs';
import { World } from '../wasm-test/world.mjs';

/** On separate connections, so that the kernel spreads them over the workers. */
const REQUESTS_PER_WORKER = 40;

const counts = ({ provider: { requests } }) => ({ metadata: requests['/.well-known/openid-configuration'] ?? 0, keys: requests['/jwks'] ?? 0 });

/** `{metadata, keys, newKey}` for a proxy with this number of workers. */
export async function fetches(workers) {
  const world = await World.start({ concurrency: workers });
  try {
    const inParallel = (path, headers) => Promise.all(Array.from({ length: workers * REQUESTS_PER_WORKER }, () => world.send(path, { headers })));
    await inParallel('/page', NAVIGATION);
    const atStart = counts(world);
    world.provider.rotateKeys({ keep: true });
    const authorization = `Bearer ${await world.token()}`;
    const answers = await inParallel('/api/orders', { authorization });
    const refused = answers.filter(({ status }) => status !== 200);
    if (refused.length) throw new Error(`with ${workers} workers ${refused.length} of ${answers.length} tokens of a new key were refused: ${refused[0].status} ${refused[0].text}`);
    return { ...atStart, newKey: counts(world).keys - atStart.keys };
  } finally {
    await world.stop();
  }
}
