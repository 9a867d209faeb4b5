// Tokens, valid and forged.

import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';

const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** Signs with the provider's own key unless `options` has another: only `claims` are wrong. */
export function mint(provider, claims = {}, { header = {}, key = provider.signingKey() } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const all = {
    iss: provider.issuer, aud: 'https://api.demo.example', sub: 'orders-machine', client_id: 'orders-machine',
    scope: 'orders.read', iat: now, exp: now + 300, jti: `${now}-${Math.random()}`, ...claims,
  };
  const head = { alg: 'RS256', typ: 'at+jwt', kid: provider.signingKey().kid, ...header };
  const drop = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
  const signed = `${encode(drop(head))}.${encode(drop(all))}`;
  const signature = sign('sha256', Buffer.from(signed), createPrivateKey({ key, format: 'jwk' }));
  return `${signed}.${signature.toString('base64url')}`;
}

/** The key of a stranger. */
export function strangersKey() {
  return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
}

/** The token with another header and its old signature. */
export function reheaded(token, header) {
  const [, payload, signature] = token.split('.');
  return `${encode(header)}.${payload}.${signature}`;
}

/** One flipped bit of the signature. */
export function flipped(token) {
  const [header, payload, signature] = token.split('.');
  const bytes = Buffer.from(signature, 'base64url');
  bytes[10] ^= 1;
  return `${header}.${payload}.${bytes.toString('base64url')}`;
}
