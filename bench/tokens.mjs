// Signed tokens in large numbers. Node.js signs in its thread pool, so on all cores.

import { constants, createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { API, USERS } from '../envoy/provider/provider.mjs';

const signed = promisify(sign);
const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
/** Tokens that are signed in parallel. */
const AT_ONCE = 64;

const FAMILIES = {
  RS256: { generate: () => generateKeyPairSync('rsa', { modulusLength: 2_048 }), digest: 'sha256' },
  PS256: { generate: () => generateKeyPairSync('rsa', { modulusLength: 2_048 }), digest: 'sha256', padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 },
  ES256: { generate: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }), digest: 'sha256', dsaEncoding: 'ieee-p1363' },
  ES384: { generate: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }), digest: 'sha384', dsaEncoding: 'ieee-p1363' },
  EdDSA: { generate: () => generateKeyPairSync('ed25519'), digest: null },
};
export const ALGORITHMS = Object.keys(FAMILIES);

export class SigningKey {
  /** A new key for an algorithm. */
  static generate(alg) {
    const jwk = FAMILIES[alg].generate().privateKey.export({ format: 'jwk' });
    return new SigningKey({ ...jwk, alg, use: 'sig', kid: `bench-${alg}` });
  }

  constructor(jwk) {
    this.jwk = jwk;
    this.key = createPrivateKey({ key: jwk, format: 'jwk' });
  }

  /** Its member of a key set. */
  public() {
    const { alg, use, kid } = this.jwk;
    return { ...createPublicKey(this.key).export({ format: 'jwk' }), alg, use, kid };
  }

  async token(claims, header = {}) {
    const { alg, kid } = this.jwk;
    const text = `${base64url({ alg, kid, ...header })}.${base64url(claims)}`;
    const { digest, padding, saltLength, dsaEncoding } = FAMILIES[alg];
    const signature = await signed(digest, Buffer.from(text), { key: this.key, padding, saltLength, dsaEncoding });
    return `${text}.${signature.toString('base64url')}`;
  }
}

/** An access token for the demo's API (RFC 9068). Four of its claims become headers. */
export function accessToken(key, issuer) {
  const now = Math.floor(Date.now() / 1000);
  const { name, email, roles } = USERS.alice;
  const claims = { iss: issuer, aud: API, sub: 'alice', client_id: 'bench', scope: 'orders.read', name, email, roles, iat: now, exp: now + 3_600, jti: randomUUID() };
  return key.token(claims, { typ: 'at+jwt' });
}

/** `count` different access tokens. */
export async function accessTokens(key, issuer, count) {
  const all = [];
  while (all.length < count) {
    const some = Math.min(AT_ONCE, count - all.length);
    all.push(...await Promise.all(Array.from({ length: some }, () => accessToken(key, issuer))));
  }
  return all;
}
