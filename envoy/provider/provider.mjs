// A real OpenID Provider (npm `oidc-provider`) with a login page and two users, for the demo and for the
// tests. Not for production: everything is in memory, and it accepts every password.

import http from 'node:http';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { interactionPolicy, Provider } from 'oidc-provider';
import { escapeHtml, page } from '../page.mjs';

/** The API for which the provider issues access tokens (RFC 8707 resource, RFC 9068 token). */
export const API = 'https://api.demo.example';
/** Another API: the demo's filter must not accept its tokens. */
export const OTHER_API = 'https://other.demo.example';

/** How people log in (`acr`): with a password, or also with a code. */
export const PASSWORD = 'urn:demo:password';
export const TWO_FACTORS = 'urn:demo:two-factors';

export const CLIENT_ID = 'vestibule-demo';
export const MACHINE_ID = 'orders-machine';

export const USERS = {
  alice: { name: 'Alice Example', email: 'alice@demo.example', email_verified: true, roles: ['admin', 'user'] },
  bob: { name: 'Bob Example', email: 'bob@demo.example', email_verified: false, roles: ['user'] },
};

let keysMade = 0;
function signingKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  keysMade += 1;
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: `demo-${keysMade}` };
}

/** The storage of the provider. It is separate, so that it survives a key rotation. */
function memoryAdapter() {
  const stored = new Map();
  const grants = new Map();
  return class MemoryAdapter {
    constructor(model) { this.model = model; }
    key(id) { return `${this.model}:${id}`; }
    async upsert(id, payload, expiresIn) {
      const key = this.key(id);
      stored.set(key, { payload, end: expiresIn ? Date.now() + expiresIn * 1000 : Infinity });
      if (payload.uid) stored.set(`uid:${payload.uid}`, { payload: id, end: Infinity });
      if (payload.grantId) grants.set(payload.grantId, [...(grants.get(payload.grantId) ?? []), key]);
    }
    read(key) {
      const found = stored.get(key);
      return found && found.end > Date.now() ? found.payload : undefined;
    }
    async find(id) { return this.read(this.key(id)); }
    async findByUid(uid) { const id = this.read(`uid:${uid}`); return id && this.find(id); }
    async findByUserCode() { return undefined; }
    async consume(id) { const found = this.read(this.key(id)); if (found) found.consumed = Math.floor(Date.now() / 1000); }
    async destroy(id) { stored.delete(this.key(id)); }
    async revokeByGrantId(grantId) {
      for (const key of grants.get(grantId) ?? []) stored.delete(key);
      grants.delete(grantId);
    }
  };
}

function loginPage(uid, { asksForCode = false, problem } = {}) {
  return page('Log in to the demo provider', `
${problem ? `<p class="note error" role="alert">${escapeHtml(problem)}</p>` : ''}
<p>Two people live here: <b>alice</b> (roles admin and user) and <b>bob</b> (role user). Any password
that is not empty is right.</p>
<form method="post" action="/interaction/${escapeHtml(uid)}/login">
<label for="login">User name</label>
<input id="login" name="login" autocomplete="username" autocapitalize="none" autofocus required>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
${asksForCode ? `<label for="code">One-time code (any will do; without one you have one factor)</label>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code">` : ''}
<button type="submit">Log in</button>
<button class="quiet" type="submit" formaction="/interaction/${escapeHtml(uid)}/cancel" formnovalidate>Cancel</button>
</form>`);
}

/** Grants what a first-party client requests, so that nobody has to consent to their own service. */
async function grantEverything(ctx) {
  const { oidc } = ctx;
  const known = oidc.session.grantIdFor(oidc.client.clientId);
  const grant = (known && await oidc.provider.Grant.find(known))
    ?? new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
  grant.addOIDCScope([...oidc.requestParamScopes].join(' '));
  for (const [indicator, server] of Object.entries(oidc.resourceServers ?? {})) {
    grant.addResourceScope(indicator, server.scope);
  }
  await grant.save();
  return grant;
}

/** Prompts a person whose login does not satisfy the requested `acr_values`, which are voluntary claims. */
function policy() {
  const { base, Check } = interactionPolicy;
  const prompts = base();
  prompts.get('login').checks.add(new Check('acr_values', 'another kind of login was requested', ({ oidc }) => {
    const requested = oidc.params.acr_values?.split(' ') ?? [];
    const unmet = requested.length > 0 && !requested.includes(oidc.session.acr) && !oidc.result?.login;
    return unmet ? Check.REQUEST_PROMPT : Check.NO_NEED_TO_PROMPT;
  }));
  return prompts;
}

function settings({ site, clientSecret, machineSecret, keys, cookieKey, adapter, accessTokenTtl, alter }) {
  const configuration = {
    adapter,
    clients: [
      {
        client_id: CLIENT_ID,
        client_secret: clientSecret,
        token_endpoint_auth_method: 'client_secret_basic',
        grant_types: ['authorization_code', 'refresh_token'],
        redirect_uris: [`${site}/oidc/callback`],
        post_logout_redirect_uris: [`${site}/oidc/logged-out`],
        backchannel_logout_uri: `${site}/oidc/backchannel-logout`,
        // The ID token has the `sid` of the provider's session, and the logout token ends just that session.
        backchannel_logout_session_required: true,
      },
      {
        client_id: MACHINE_ID,
        client_secret: machineSecret,
        token_endpoint_auth_method: 'client_secret_basic',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    jwks: { keys },
    acrValues: [PASSWORD, TWO_FACTORS],
    cookies: { keys: [cookieKey] },
    responseTypes: ['code'],
    pkce: { required: () => true },
    claims: {
      openid: ['sub'],
      profile: ['name', 'preferred_username', 'roles', 'realm_access'],
      email: ['email', 'email_verified'],
    },
    // The claims are in the ID token, so a filter that does not fetch userinfo gets them.
    conformIdTokenClaims: false,
    findAccount: (_ctx, id) => USERS[id] && {
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, realm_access: { roles: USERS[id].roles }, ...USERS[id] }),
    },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      revocation: { enabled: true },
      clientCredentials: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource(ctx, form) {
          ctx.body = page('Log out of the demo provider', `<p>You have logged out of the application. Log out of the provider too?</p>
${form}<button type="submit" form="op.logoutForm" name="logout" value="yes" autofocus>Log out</button>
<button class="quiet" type="submit" form="op.logoutForm">Stay logged in here</button>`);
        },
        postLogoutSuccessSource(ctx) {
          ctx.body = page('Logged out', '<p>You are logged out of the demo provider.</p>');
        },
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        getResourceServerInfo(_ctx, resource) {
          if (resource !== API && resource !== OTHER_API) throw new Error('unknown resource');
          return {
            scope: 'orders.read orders.write',
            audience: resource,
            accessTokenTTL: accessTokenTtl,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: 'RS256' } },
          };
        },
      },
    },
    // Logout tokens go to this machine, which the provider refuses by default.
    fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
    interactions: { policy: policy(), url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    loadExistingGrant: grantEverything,
    ttl: { AccessToken: accessTokenTtl, ClientCredentials: accessTokenTtl, Session: 3600, Grant: 3600, Interaction: 600, IdToken: 3600, AuthorizationCode: 60 },
    renderError(ctx, { error, error_description: description }) {
      ctx.type = 'html';
      ctx.body = page('The demo provider cannot go on', `<p>${escapeHtml(description ?? '')}</p><p><code>${escapeHtml(error)}</code></p>`);
    },
  };
  return alter(configuration) ?? configuration;
}

async function formBody(request) {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > 10_000) throw new Error('the form is too large');
  }
  return new URLSearchParams(text);
}

function sendPage(response, status, html) {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  response.end(html);
}

async function interaction(oidc, request, response, [, uid, action]) {
  if (request.method !== 'POST') {
    const { params } = await oidc.interactionDetails(request, response);
    return sendPage(response, 200, loginPage(uid, { asksForCode: params.acr_values?.includes(TWO_FACTORS) }));
  }
  if (action === 'cancel') {
    return oidc.interactionFinished(request, response,
      { error: 'access_denied', error_description: 'The person cancelled the login' }, { mergeWithLastSubmission: false });
  }
  const form = await formBody(request);
  const login = form.get('login')?.trim().toLowerCase();
  if (!Object.hasOwn(USERS, login) || !form.get('password')) {
    return sendPage(response, 400, loginPage(uid, { problem: 'Nobody of that name lives here. Try alice or bob, with any password.' }));
  }
  const acr = form.get('code') ? TWO_FACTORS : PASSWORD;
  return oidc.interactionFinished(request, response, { login: { accountId: login, acr } }, { mergeWithLastSubmission: false });
}

/**
 * Starts the provider.
 *
 * `site` is the origin of the service that people log in to. `alter` may change the provider's
 * configuration. The result has
 * - `requests`: the number of requests to each path, and `received`: their header lines;
 * - `intercept`: `(request, response) => true` if it has responded in place of the provider; the tests
 *   add delays, failures and forged responses with it;
 * - `changeSecret(secret)`: sets the only secret of the client;
 * - `rotateKeys({ keep })`: signs with a new key from now on, and publishes the old ones only with `keep`.
 */
export async function startProvider({
  port = 8001, address = '127.0.0.1', issuer = `http://localhost:${port}`, site = 'http://localhost:8000',
  clientSecret = randomBytes(24).toString('base64url'), machineSecret = 'machine-secret-of-the-demo',
  accessTokenTtl = 600, alter = () => undefined,
} = {}) {
  let keys = [signingKey()];
  const fixed = { site, clientSecret, machineSecret, accessTokenTtl, alter, adapter: memoryAdapter(), cookieKey: randomBytes(24).toString('hex') };
  const make = () => new Provider(issuer, settings({ ...fixed, keys }));
  let oidc = make();

  const running = {
    issuer, port, clientSecret, machineSecret,
    requests: {},
    received: [],
    intercept: undefined,
    signingKey: () => keys[0],
    changeSecret(secret) {
      fixed.clientSecret = secret;
      oidc = make();
    },
    rotateKeys({ keep = false } = {}) {
      keys = [signingKey(), ...(keep ? keys : [])];
      oidc = make();
    },
  };

  const server = http.createServer(async (request, response) => {
    const path = request.url.split('?')[0];
    running.requests[path] = (running.requests[path] ?? 0) + 1;
    running.received.push({ method: request.method, url: request.url, headers: request.headers });
    if (running.received.length > 1_000) running.received.shift();
    try {
      if (await running.intercept?.(request, response)) return;
      const place = /^\/interaction\/([\w-]+)(?:\/(login|cancel))?$/.exec(path);
      await (place ? interaction(oidc, request, response, place) : oidc.callback()(request, response));
    } catch (error) {
      if (response.headersSent) response.destroy();
      else sendPage(response, 400, page('The demo provider cannot go on', `<p>${escapeHtml(error.message)}</p>`));
    }
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, resolve);
  });
  running.stop = () => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  return running;
}
