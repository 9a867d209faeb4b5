// Wycheproof's signatures, verified by Envoy and by the module, which was compiled for Wasm: both give the result
// that Wycheproof expects. The module of this test verifies a signature of a request header. `make vectors` runs it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ROOT, World } from './world.mjs';

/** The algorithms that are left to Envoy. */
const BY_HOST = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512'];
/** Requests at a time. */
const LANES = 8;

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe("Wycheproof's signatures", () => {
  let world;
  let cases;
  before(async () => {
    const program = process.env.VECTORS ?? path.join(ROOT, 'target/debug/examples/vectors');
    cases = execFileSync(program, { encoding: 'utf8', maxBuffer: 1 << 28 }).trim().split('\n').map((line) => JSON.parse(line));
    world = await World.start({ module: path.join(ROOT, '.build/vestibule-test-trap.wasm') });
  });
  after(() => world?.stop());

  async function judge({ algorithm, jwk, message, signature }) {
    const line = [algorithm, encode(jwk), message, signature].join(' ');
    return (await world.send('/public', { headers: { 'x-vestibule-verify': line } })).header('x-vestibule-code');
  }

  /** Each case with its verdict. */
  async function judged(all) {
    const verdicts = [];
    const waiting = [...all];
    await Promise.all(Array.from({ length: LANES }, async () => {
      for (let next = waiting.pop(); next; next = waiting.pop()) verdicts.push([next, await judge(next)]);
    }));
    return verdicts;
  }

  for (const algorithm of [...BY_HOST, 'PS256', 'EdDSA']) {
    test(`of ${algorithm}`, async () => {
      const seen = { right: 0, wrong: 0, malformed: 0 };
      for (const [{ name, valid }, verdict] of await judged(cases.filter((one) => one.algorithm === algorithm))) {
        const right = BY_HOST.includes(algorithm) ? ['both_valid'] : ['module_valid'];
        // A signature of another length, or with numbers out of range, does not reach Envoy.
        const wrong = BY_HOST.includes(algorithm) ? ['both_invalid', 'module_invalid'] : ['module_invalid'];
        assert.ok((valid ? right : wrong).includes(verdict), `${name}: ${verdict}`);
        seen[valid ? 'right' : 'wrong'] += 1;
        seen.malformed += verdict === 'module_invalid';
      }
      assert.ok(seen.right > 0 && seen.wrong > 20, JSON.stringify(seen));
      if (BY_HOST.includes(algorithm)) assert.ok(seen.malformed < seen.wrong, 'some reach Envoy');
    });
  }
});
