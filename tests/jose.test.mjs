// Random and mutated tokens, judged by the core and by npm's `jose`. Whatever the core accepts `jose` must
// accept too, with the same payload; where the core refuses more, `STRICTER` says why.
//
// SEED repeats the choices of a run, CASES makes it longer; `make jose` builds what is needed.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { constants, generateKeyPairSync, sign } from 'node:crypto';
import { createRequire } from 'node:module';
import test from 'node:test';
import { pathToFileURL } from 'node:url';

const provider = createRequire(new URL('../envoy/provider/package.json', import.meta.url));
const { compactVerify, createLocalJWKSet } = await import(pathToFileURL(provider.resolve('jose')));

const CASES = Number(process.env.CASES ?? 1500);
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 32);
const JUDGE = process.env.JUDGE ?? 'target/debug/examples/jws';

/** The codes with which the core refuses what `jose` lets pass, and why it does. */
const STRICTER = {
  jws_base64url: 'base64url has one alphabet, no padding, no white space and no stray bits (RFC 7515 section 2)',
  jws_header_json: 'a header is strict JSON in UTF-8, without a duplicate member or a byte order mark (RFC 7515 section 4)',
  jws_header_type: 'kid, typ and cty are texts (RFC 7515 section 4.1)',
  jws_unencoded_payload: 'b64 is not supported, with or without crit (RFC 7797)',
  jws_critical: 'no critical extension is supported, b64 neither',
  jws_compressed: 'zip means nothing in a signed token (RFC 7516 section 4.1.3)',
  jws_nested: 'the payload is claims, no other token (RFC 7519 section 5.2)',
  jws_header_too_long: 'a header has at most 4 KiB',
};

/** Why the core does not use a key that `jose` uses. */
const STRICTER_KEYS = {
  'its coordinates are not a point of its curve that may be a key':
    'coordinates have exactly the length of the field (RFC 7518 section 6.2.1.2)',
  'its kid is of the wrong type': 'the name of a key is a text (RFC 7517 section 4.5)',
};

/** mulberry32: the same choices for the same seed. */
let state = SEED;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const below = (bound) => Math.floor(random() * bound);
const pick = (list) => list[below(list.length)];
const encode = (bytes) => Buffer.from(bytes).toString('base64url');

const pair = (type, options) => {
  const { privateKey, publicKey } = generateKeyPairSync(type, options);
  return { secret: privateKey, jwk: publicKey.export({ format: 'jwk' }) };
};
const RSA = [pair('rsa', { modulusLength: 2048 }), pair('rsa', { modulusLength: 2048 })];
const P256 = [pair('ec', { namedCurve: 'P-256' }), pair('ec', { namedCurve: 'P-256' })];
const P384 = [pair('ec', { namedCurve: 'P-384' })];
const P521 = [pair('ec', { namedCurve: 'P-521' })];
const ED25519 = [pair('ed25519'), pair('ed25519')];
const WEAK = pair('rsa', { modulusLength: 1024 });
const PAIRS = [...RSA, ...P256, ...P384, ...P521, ...ED25519, WEAK];

const ALGORITHMS = {
  RS256: RSA, RS384: RSA, RS512: RSA, PS256: RSA, PS384: RSA, PS512: RSA,
  ES256: P256, ES384: P384, ES512: P521, EdDSA: ED25519, Ed25519: ED25519,
};
const NAMES = Object.keys(ALGORITHMS);

/** A signature; `odd` has something that JWS does not have. */
function signature(algorithm, secret, text, odd) {
  const hash = `sha${algorithm.slice(2)}`;
  const bytes = Buffer.from(text);
  switch (algorithm.slice(0, 2)) {
    case 'RS': return sign(odd ? 'sha1' : hash, bytes, secret);
    case 'PS': {
      const saltLength = odd ? below(60) : constants.RSA_PSS_SALTLEN_DIGEST;
      return sign(hash, bytes, { key: secret, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
    }
    case 'ES': return sign(hash, bytes, { key: secret, dsaEncoding: odd ? 'der' : 'ieee-p1363' });
    default: return sign(null, bytes, secret);
  }
}

/** Changes to the text of a header before it is signed. */
const HEADERS = [
  (header) => ({ ...header, typ: pick(['JWT', 'at+jwt', 'application/JWT', '', 7, null]) }),
  (header) => ({ ...header, cty: pick(['JWT', 'jwt', 'application/jwt', 'json', 3]) }),
  (header) => ({ ...header, crit: pick([[], ['exp'], ['b64'], 'b64', null, ['b64', 'b64']]) }),
  (header) => ({ ...header, b64: pick([true, false, 'false']) }),
  (header) => ({ ...header, b64: pick([true, false]), crit: ['b64'] }),
  (header) => ({ ...header, zip: 'DEF' }),
  (header) => ({ ...header, kid: pick(['', 'other', 'k1', 7, null, ['k1'], 'k'.repeat(513), 'k1\u0000']) }),
  ({ kid, ...header }) => header,
  ({ alg, ...header }) => header,
  (header) => ({ ...header, alg: pick([...NAMES, 'none', 'HS256', 'rs256', 'ES256K', '', null, ['RS256']]) }),
  (header) => ({ ...header, jwk: pick(PAIRS).jwk, jku: 'https://attacker.example', x5c: ['MIIB'] }),
  (header) => ({ ...header, padding: 'x'.repeat(below(4000)) }),
  (header) => ({ ...header, deep: JSON.parse('['.repeat(80) + ']'.repeat(80)) }),
];

/** The same header in other bytes. */
const SPELLINGS = [
  (text) => ` ${text}\n`,
  (text) => text.replace('"alg"', '"\\u0061lg"'),
  (text) => text.replace('{', '{"alg":"none",'),
  (text) => text.replace(/}$/, ',"alg":"none"}'),
  (text) => text.replace(/}$/, ',"kid":"k1","kid":"k1"}'),
  (text) => text.replace(/}$/, ',}'),
  (text) => `\ufeff${text}`,
  (text) => `${text}x`,
  (text) => text.replace(/}$/, ',"x":"\\ud800"}'),
  (text) => text.replace(/}$/, ',"x":1e999}'),
  (text) => text.replace(/}$/, ',"__proto__":{"alg":"none"}}'),
  (text) => Buffer.concat([Buffer.from(text.replace(/}$/, ',"x":"')), Buffer.from([0xff]), Buffer.from('"}')]),
  () => pick(['null', '[]', '"x"', '', '{}']),
];

/** Changes to the text of a token. */
const TEXTS = [
  (text) => flip(text, below(text.length)),
  (text) => part(text, below(3), (bytes) => { bytes[below(bytes.length)] ^= 1 << below(8); return bytes; }),
  (text) => part(text, 2, (bytes) => bytes.subarray(0, below(bytes.length))),
  (text) => part(text, 2, (bytes) => Buffer.concat([bytes, Buffer.alloc(1 + below(3))])),
  (text) => part(text, 2, (bytes) => Buffer.concat([Buffer.alloc(1), bytes])),
  (text) => part(text, 2, (bytes) => Buffer.alloc(bytes.length, pick([0, 255]))),
  (text) => part(text, 2, (bytes) => Buffer.concat([bytes.subarray(bytes.length / 2), bytes.subarray(0, bytes.length / 2)])),
  (text) => text.split('.').with?.(2, '').join('.') ?? `${text.split('.').slice(0, 2).join('.')}.`,
  (text) => `${text}${pick(['=', '==', '\n', ' ', '.', 'A', '%'])}`,
  (text) => `${pick([' ', '\n', '\ufeff', '.'])}${text}`,
  (text) => text.replaceAll('-', '+').replaceAll('_', '/'),
  (text) => piece(text, (p) => p + '='.repeat((4 - (p.length % 4)) % 4)),
  (text) => piece(text, (p) => `${p.slice(0, 5)}${pick([' ', '\n', '\t', '?', '\u0000', '+'])}${p.slice(5)}`),
  (text) => piece(text, strayBits),
  (text) => text.split('.').slice(0, 2).join('.'),
  (text) => `${text}.e30.e30`,
  (text) => text.split('.').reverse().join('.'),
];

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const flip = (text, at) => text.slice(0, at) + pick([...ALPHABET, '=', '.', '+']) + text.slice(at + 1);
const change = (text, at, to) => text.split('.').map((p, i) => (i === at ? to(p) : p)).join('.');
const part = (text, at, to) => change(text, at, (p) => (p ? encode(to(Buffer.from(p, 'base64url'))) : p));
const piece = (text, to) => change(text, below(3), to);

/** The same bytes, written with bits that nobody looks at. */
function strayBits(text) {
  if (text.length % 4 < 2) return text;
  return text.slice(0, -1) + ALPHABET[ALPHABET.indexOf(text.at(-1)) ^ 1];
}

/**
 * Changes to the key that signed. Four are left out because the core is the more lenient one there, on
 * purpose: a set with a member that is no key is still a set (RFC 7517 section 5); a key without a kid may be
 * the one that a token names; a public key that is said to sign as well as to verify can verify; Ed25519 and
 * EdDSA are one algorithm by two names (RFC 9864).
 */
const KEYS = [
  (key) => ({ ...key, use: pick(['sig', 'enc', 'x', 1]) }),
  (key) => ({ ...key, key_ops: pick([['verify'], ['sign'], [], 'verify']) }),
  (key, name) => ({ ...key, alg: pick([name, 'RS256', 'PS256', 'ES256', 'ES521', 1]) }),
  (key) => ({ ...key, kid: pick(['k2', 'K1', 7]) }),
  (key) => ({ ...pick(PAIRS).jwk, kid: key.kid }),
  (key) => ({ ...key, kty: pick(['RSA', 'EC', 'OKP', 'oct', 'rsa']) }),
  (key) => ({ ...key, crv: pick(['P-256', 'P-384', 'Ed448', 'X25519', 'secp256k1']) }),
  (key) => number(key, (bytes) => Buffer.concat([Buffer.alloc(1), bytes])),
  (key) => number(key, (bytes) => bytes.subarray(1)),
  (key) => number(key, (bytes) => { bytes[below(bytes.length)] ^= 1 << below(8); return bytes; }),
  (key) => ({ ...key, e: pick(['AQAB', 'AQ', 'Aw', 'AAEAAQ', 'AQAC', '']) }),
  (key) => ({ ...key, x5c: ['MIIB'], x5t: 'x', ext: true, unknown: { a: 1 } }),
];

function number(key, to) {
  const member = pick(['n', 'x', 'y'].filter((name) => key[name]));
  return { ...key, [member]: encode(to(Buffer.from(key[member], 'base64url'))) };
}

function made() {
  const name = pick(NAMES);
  const signer = random() < 0.03 && name.startsWith('RS') ? WEAK : pick(ALGORITHMS[name]);
  const changes = below(3);
  const kinds = Array.from({ length: changes }, () => pick(['header', 'spelling', 'text', 'text', 'key', 'odd', 'set']));
  const has = (kind) => kinds.includes(kind);
  const isNamed = random() < 0.8;
  let header = { alg: name, ...(isNamed && { kid: 'k1' }) };
  if (has('header')) header = pick(HEADERS)(header);
  let text = JSON.stringify(header);
  if (has('spelling')) text = pick(SPELLINGS)(text);
  const payload = JSON.stringify({ sub: 'alice', n: below(1000), 'é': 'x'.repeat(below(20)) });
  const signed = `${encode(text)}.${encode(payload)}`;
  let jws = `${signed}.${encode(signature(name, signer.secret, signed, has('odd')))}`;
  if (has('text')) jws = pick(TEXTS)(jws);
  // Unless a token names none, every key has a name; see KEYS.
  const isNameless = !isNamed && !has('header') && !has('spelling') && random() < 0.5;
  let key = { ...signer.jwk, ...(!isNameless && { kid: 'k1' }) };
  if (has('key')) key = pick(KEYS)(key, name);
  const others = has('set') ? PAIRS.map((other, at) => ({ ...other.jwk, kid: pick(['k1', `other${at}`]) })) : [];
  const before = others.slice(below(9));
  return { kinds, jws, place: before.length, keys: { keys: [...before, key, ...others.slice(0, below(3))] } };
}

async function judgedByJose({ jws, keys }) {
  const options = { algorithms: NAMES };
  try {
    return { payload: encode((await compactVerify(jws, createLocalJWKSet(keys), options)).payload) };
  } catch (error) {
    if (error.code !== 'ERR_JWKS_MULTIPLE_MATCHING_KEYS') return { refused: error.code ?? error.name };
    for await (const key of error) {
      try {
        return { payload: encode((await compactVerify(jws, key, options)).payload) };
      } catch {
        // The next one, as the documentation of jose has it.
      }
    }
    return { refused: error.code };
  }
}

test('whatever is accepted here is accepted by jose, with the same payload', async (t) => {
  t.diagnostic(`SEED=${SEED} CASES=${CASES}`);
  const cases = Array.from({ length: CASES }, made);
  const input = cases.map(({ jws, keys }) => JSON.stringify({ jws, keys })).join('\n');
  const output = execFileSync(JUDGE, { input, maxBuffer: 2 ** 30 }).toString().trim().split('\n');
  assert.equal(output.length, CASES);
  const stricter = {};
  let both = 0;
  let neither = 0;
  for (const [at, line] of output.entries()) {
    const here = JSON.parse(line);
    const there = await judgedByJose(cases[at]);
    const shown = () => `${JSON.stringify({ here, there })} SEED=${SEED} case ${at}: ${JSON.stringify(cases[at])}`;
    if (here.payload !== undefined) {
      assert.equal(there.payload, here.payload, shown());
      both += 1;
    } else if (there.payload === undefined) {
      neither += 1;
    } else {
      const reason = STRICTER[here.refused] ?? STRICTER_KEYS[here.skipped[cases[at].place]];
      assert.ok(reason, `refused here, and nobody said why: ${shown()}`);
      stricter[reason] = (stricter[reason] ?? 0) + 1;
    }
  }
  t.diagnostic(`both accept ${both}, both refuse ${neither}`);
  for (const [reason, count] of Object.entries(stricter)) t.diagnostic(`${count} refused here only: ${reason}`);
  assert.ok(both > CASES / 5 && neither > CASES / 5, `${both} accepted, ${neither} refused: too few`);
});
