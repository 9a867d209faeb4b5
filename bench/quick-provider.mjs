// A provider without login pages, because ten thousand logins at a real one would take minutes. It uses the
// issuer, the key and the claims of the demo's provider, so its sessions are the same. It is also any
// number of other providers, each with its own path.

import { randomBytes } from 'node:crypto';
import http from 'node:http';
import { CLIENT_ID, USERS } from '../envoy/provider/provider.mjs';

const LIFETIME_SECONDS = 3_600;

const metadata = (issuer) => ({
  issuer,
  authorization_endpoint: `${issuer}/auth`,
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/jwks`,
  // A session contains its tokens only if the provider has these endpoints, as the demo's has.
  end_session_endpoint: `${issuer}/session/end`,
  revocation_endpoint: `${issuer}/token/revocation`,
  response_types_supported: ['code'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['RS256'],
  authorization_response_iss_parameter_supported: true,
});

/** The client sends the nonce as the code, so this provider keeps no state. */
async function tokens(issuer, key, body) {
  const now = Math.floor(Date.now() / 1000);
  const { name, email, email_verified, roles } = USERS.alice;
  const claims = {
    sub: 'alice', name, email, email_verified, roles, preferred_username: 'alice', realm_access: { roles },
    nonce: new URLSearchParams(body).get('code'), sid: randomBytes(16).toString('base64url'),
    aud: CLIENT_ID, iss: issuer, iat: now, auth_time: now, exp: now + LIFETIME_SECONDS,
  };
  return {
    access_token: randomBytes(32).toString('base64url'), token_type: 'Bearer', expires_in: LIFETIME_SECONDS,
    scope: 'openid profile email', id_token: await key.token(claims),
  };
}

async function text(request) {
  let all = '';
  for await (const chunk of request) all += chunk;
  return all;
}

/** `issuer` is its identifier at the root path; at `/NAME` it is `http://localhost:PORT/NAME`. */
export async function startQuickProvider({ port, issuer, key }) {
  const server = http.createServer(async (request, response) => {
    const [, below, endpoint] = /^(\/[a-z0-9]+)?(\/\.well-known\/openid-configuration|\/jwks|\/token)$/.exec(request.url) ?? [];
    const name = below ? `http://localhost:${port}${below}` : issuer;
    const reply = {
      '/.well-known/openid-configuration': () => metadata(name),
      '/jwks': () => ({ keys: [key.public()] }),
      '/token': async () => tokens(name, key, await text(request)),
    }[endpoint];
    response.writeHead(reply ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(reply ? await reply() : {}));
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    stop: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}
