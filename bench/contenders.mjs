// The contenders: who is measured, and with which requests.
//
// - `envoy`: its configuration, by its name in `envoys.mjs`.
// - `path`, `headers`, `status`: the request and the status of the response.
// - `credentials(stage)`: headers that authenticate the request; with `renewed`, again for each round. Or
//   `many(stage)`: a list of such headers, which the requests use in a cycle; with `once`, each only once.
// - `receives`: headers that the upstream receives, although the client sends an identity of somebody else.
// - `guarded`: without credentials, or with false ones, a request does not reach the upstream.
// - `extends`: the responses extend the cookie of the session.
// - `alone`: the baseline, if it is not `alone`.

import { NAVIGATION } from '../wasm-test/client.mjs';
import { cookiesOf, login } from './sessions.mjs';
import { NEW_REQUESTS, ROUNDS, SESSIONS } from './settings.mjs';
import { ALGORITHMS, accessToken } from './tokens.mjs';

/** Headers of a current browser, and cookies as an ordinary site sets them. */
export const BROWSER = {
  ...NAVIGATION,
  accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
  'accept-encoding': 'gzip, deflate, br, zstd',
  'accept-language': 'en-GB,en;q=0.9,de;q=0.8',
  'cache-control': 'max-age=0',
  priority: 'u=0, i',
  referer: 'https://app.example.com/orders?page=2',
  'sec-ch-ua': '"Chromium";v="140", "Not=A?Brand";v="24"',
  'sec-ch-ua-mobile': '?0',
  'sec-ch-ua-platform': '"Linux"',
  'sec-fetch-site': 'same-origin',
  'sec-fetch-user': '?1',
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
};
const OTHER_COOKIES = '_ga=GA1.1.1234567890.1700000000; _ga_ABCDEF1234=GS2.1.s1700000000$o3$g1$t1700000600$j60$l0$h0; '
  + 'consent=necessary%2Cstatistics; theme=dark; csrftoken=3u9XhJk2LmNpQrStUvWxYz0123456789; locale=en_GB';

/** The session of a browser, which has logged in at the demo's provider and keeps its cookies up to date. */
const session = (name, others) => async (stage) => {
  await stage.envoy(name);
  const browser = await stage.once(`browser ${name}`, () => login(stage.ports[name]));
  await browser.get(`http://localhost:${stage.ports[name]}/page`);
  return { cookie: [...(others ? [others] : []), cookiesOf(browser, stage.ports[name])].join('; ') };
};

/** The same with the first cookie, which is never updated. */
const oldSession = (name) => (stage) => stage.once(`old session ${name}`, () => session(name)(stage));

const sessions = (count) => async (stage) => (await stage.sessions()).slice(0, count).map((cookie) => ({ cookie }));
const authorization = (token) => ({ authorization: `Bearer ${token}` });
const token = (stage) => stage.once('token', async () => authorization(await accessToken(stage.key('RS256'), stage.issuer)));
const newTokens = (alg) => async (stage) => (await stage.tokens(alg, NEW_REQUESTS * (ROUNDS + 1))).map(authorization);

const ALICE = { 'x-auth-sub': 'alice', 'x-auth-email': 'alice@demo.example', 'x-auth-name': 'Alice Example', 'x-auth-roles': /./ };
const A_TOKEN = { authorization: /^Bearer \S{20,}$/ };
const page = { path: '/page', status: 200 };
const guardedPage = { ...page, guarded: true, receives: ALICE };
const api = { path: '/api/orders', status: 200, guarded: true, receives: ALICE };
const refusal = { path: '/api/orders', status: 401 };
const redirect = { path: '/page', headers: NAVIGATION, status: 302 };
const browser = { headers: BROWSER, alone: 'aloneBrowser' };

/** `{prefixRS256: contender('RS256'), ...}` */
const forEach = (prefix, contender) => Object.fromEntries(ALGORITHMS.map((alg) => [prefix + alg, contender(alg)]));

export const CONTENDERS = {
  alone: { ...page, name: 'Envoy alone', envoy: 'alone' },
  aloneBrowser: { ...page, name: "Envoy alone, a browser's headers", envoy: 'alone', headers: { ...BROWSER, cookie: OTHER_COOKIES } },
  noop: { ...page, name: 'a Wasm filter that does nothing', envoy: 'noop' },

  oauth2: { ...guardedPage, name: '`oauth2`', envoy: 'oauth2', credentials: session('oauth2'), receives: A_TOKEN },
  oauth2Browser: { ...guardedPage, ...browser, name: "`oauth2`, a browser's headers", envoy: 'oauth2', credentials: session('oauth2', OTHER_COOKIES), receives: A_TOKEN },
  oauth2Jwt: { ...guardedPage, name: '`oauth2` + cached `jwt_authn`', envoy: 'oauth2Jwt', credentials: session('oauth2Jwt') },
  oauth2Redirect: { ...redirect, name: 'a redirect by `oauth2`', envoy: 'oauth2' },
  jwtCache: { ...api, name: '`jwt_authn` with its cache', envoy: 'jwtCache', credentials: token },
  jwtRefusal: { ...refusal, name: 'a 401 by `jwt_authn`', envoy: 'jwt' },
  ...forEach('jwt', (alg) => ({ ...api, name: '`jwt_authn` without cache', envoy: 'jwt', many: newTokens(alg), once: true })),

  public: { path: '/public/page', status: 200, receives: { 'x-auth-sub': undefined }, name: 'a public request', envoy: 'vestibule' },
  session: { ...guardedPage, name: 'a session seen before', envoy: 'vestibule', credentials: session('vestibule'), renewed: true },
  sessionBrowser: { ...guardedPage, ...browser, name: "a session seen before, a browser's headers", envoy: 'vestibule', credentials: session('vestibule', OTHER_COOKIES), renewed: true },
  sessionExtended: { ...guardedPage, name: 'a session whose cookie is written again', envoy: 'extending', credentials: oldSession('extending'), extends: true },
  sessionUnseen: { ...guardedPage, name: 'a session not seen by this worker', envoy: 'unseen', many: sessions(), once: true },
  sessionOne: { ...guardedPage, name: '1 session', envoy: 'one', many: sessions(1) },
  sessionThousand: { ...guardedPage, name: '1,000 sessions in turn', envoy: 'thousand', many: sessions(1_000) },
  sessionMany: { ...guardedPage, name: `${SESSIONS.toLocaleString('en')} sessions in turn`, envoy: 'many', many: sessions(SESSIONS) },
  sessionLarge: { ...guardedPage, name: 'a session seen before, 256 rules and 16 providers', envoy: 'large', credentials: session('large'), renewed: true },
  token: { ...api, name: 'a token seen before', envoy: 'vestibule', credentials: token },
  tokenLarge: { ...api, name: 'a token seen before, 256 rules and 16 providers', envoy: 'large', credentials: token },
  ...forEach('token', (alg) => ({ ...api, name: `${alg} never seen`, envoy: 'vestibule', many: newTokens(alg), once: true })),
  ...forEach('inModule', (alg) => ({ ...api, name: `${alg} never seen, verified in the module`, envoy: 'inModule', many: newTokens(alg), once: true })),
  refusal: { ...refusal, name: '401 for an API request', envoy: 'vestibule' },
  redirect: { ...redirect, name: 'redirect to the login', envoy: 'vestibule' },
};

/** The requests of a contender, but to an Envoy without filters: what reading them costs. */
export const reading = (id) => `reading ${id}`;
for (const [id, contender] of Object.entries(CONTENDERS)) {
  CONTENDERS[reading(id)] = { ...contender, envoy: 'alone', status: 200, guarded: false, receives: {}, extends: false };
}

/** The credentials of the requests of a contender. */
export async function credentials(stage, { many, credentials: one }) {
  if (many) return many(stage);
  return [await one?.(stage) ?? {}];
}
