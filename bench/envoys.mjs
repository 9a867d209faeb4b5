// The configurations of Envoy that are compared. Each responds by itself (`direct_response`), so no upstream
// adds noise.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CLIENT_ID, API } from '../envoy/provider/provider.mjs';
import { MODULE, ROOT, filterConfiguration, wasmFilter } from '../wasm-test/world.mjs';

export const NOOP = path.join(ROOT, '.build/noop.wasm');
/** The response to a request with this header shows what an upstream would receive. */
export const ECHO = 'x-bench-echo';
/** Identity headers and the claims in them. */
export const IDENTITY = { 'x-auth-sub': 'sub', 'x-auth-email': 'email', 'x-auth-name': 'name', 'x-auth-roles': 'roles' };

/** Whether the filter can be told to leave no signature to Envoy. */
export const CAN_VERIFY_IN_MODULE = 'verify_in_module' in JSON.parse(readFileSync(path.join(ROOT, 'vestibule.schema.json'), 'utf8')).properties;

const RULES = 256;
const PROVIDERS = 16;

const answer = { status: 200, body: { inline_string: 'ok' } };
const echoed = [...Object.keys(IDENTITY), 'authorization'];
/** For every path. */
export const ROUTES = [
  {
    match: { prefix: '/', headers: [{ name: ECHO, present_match: true }] },
    direct_response: answer,
    response_headers_to_add: echoed.map((name) => ({ header: { key: `seen-${name}`, value: `%REQ(${name})%` } })),
  },
  { match: { prefix: '/' }, direct_response: answer },
];

const jwtAuthn = (provider) => ({
  name: 'envoy.filters.http.jwt_authn',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
    providers: { demo: { ...provider, claim_to_headers: Object.entries(IDENTITY).map(([header_name, claim_name]) => ({ header_name, claim_name })) } },
    rules: [{ match: { prefix: '/' }, requires: { provider_name: 'demo' } }],
  },
});

const cache = { jwt_cache_config: { jwt_cache_size: 1_000 } };
const keySet = (stage) => ({ issuer: stage.issuer, local_jwks: { inline_string: JSON.stringify({ keys: stage.keys.map((key) => key.public()) }) } });
const bearer = (stage) => ({ ...keySet(stage), audiences: [API] });
/** The ID token in the cookie that `oauth2` has decrypted before. */
const ofCookie = (stage) => ({ ...keySet(stage), audiences: [CLIENT_ID], from_cookies: ['IdToken'], forward: true });

/** `oauth2` as in its documentation: tokens encrypted in cookies, the access token forwarded. */
const oauth2 = (stage, port) => ({
  name: 'envoy.filters.http.oauth2',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2',
    config: {
      token_endpoint: { cluster: 'provider', uri: `${stage.issuer}/token`, timeout: '5s' },
      authorization_endpoint: `${stage.issuer}/auth`,
      redirect_uri: `http://localhost:${port}/callback`,
      redirect_path_matcher: { path: { exact: '/callback' } },
      signout_path: { path: { exact: '/signout' } },
      credentials: { client_id: CLIENT_ID, token_secret: { name: 'token' }, hmac_secret: { name: 'hmac' } },
      auth_scopes: ['openid', 'profile', 'email'],
      auth_type: 'BASIC_AUTH',
      forward_bearer_token: true,
    },
  },
});

const vestibule = (stage, configuration) => wasmFilter(MODULE, configuration, stage.secrets);
const demo = (stage, port) => filterConfiguration({ site: `http://localhost:${port}`, issuer: stage.issuer });

/** Without an idle timeout, so that no session needs a new cookie during a run. */
function neverIdle(stage) {
  const configuration = demo(stage, stage.ports.vestibule);
  return { ...configuration, session: { ...configuration.session, idle_timeout_seconds: 0 } };
}

/** The largest number of rules and providers; those of the demo come last. */
function large(stage, port) {
  const { providers, rules, ...rest } = demo(stage, port);
  const further = Array.from({ length: PROVIDERS - 1 }, (_, index) => [`further${index}`, {
    ...providers.demo, callout: 'quick', issuer: `http://localhost:${stage.quickPort}/further${index}`, redirect_uri: `/oidc/callback/further${index}`,
  }]);
  const before = Array.from({ length: RULES - rules.length }, (_, index) => ({
    name: `service-${index}`, path_prefix: `/services/service-${index}`, provider: `further${index % further.length}`,
    require: { claims: [{ claim: 'roles', any_of: ['user', `user-of-${index}`] }] },
  }));
  return { ...rest, default_provider: 'demo', providers: { ...Object.fromEntries(further), ...providers }, rules: [...before, ...rules] };
}

const SITE = { vestibule: true, filters: (stage) => [vestibule(stage, neverIdle(stage))] };

/**
 * - `filters`: those before the router.
 * - `vestibule`: Vestibule is one of them.
 * - `login`: browsers log in here; this is the path of the callback.
 * - `quick`: the provider is the quick one.
 */
export const ENVOYS = {
  alone: { filters: () => [] },
  noop: { filters: () => [wasmFilter(NOOP, {})] },
  oauth2: { login: '/callback', filters: (stage, port) => [oauth2(stage, port)] },
  oauth2Jwt: { login: '/callback', filters: (stage, port) => [oauth2(stage, port), jwtAuthn({ ...ofCookie(stage), ...cache })] },
  jwt: { filters: (stage) => [jwtAuthn(bearer(stage))] },
  jwtCache: { filters: (stage) => [jwtAuthn({ ...bearer(stage), ...cache })] },
  vestibule: { login: '/oidc/callback', vestibule: true, filters: (stage, port) => [vestibule(stage, demo(stage, port))] },
  inModule: { vestibule: true, filters: (stage) => [vestibule(stage, { ...demo(stage, stage.ports.vestibule), verify_in_module: true })] },
  // Its session keeps the cookie of the login.
  extending: { login: '/oidc/callback', vestibule: true, filters: (stage, port) => [vestibule(stage, demo(stage, port))] },
  large: { login: '/oidc/callback', vestibule: true, filters: (stage, port) => [vestibule(stage, large(stage, port))] },
  // For many sessions, all on the host of `vestibule`. They begin in `logins`.
  one: SITE,
  thousand: SITE,
  many: SITE,
  unseen: SITE,
  logins: { ...SITE, quick: true },
};
