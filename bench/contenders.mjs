// Who is compared, and what each is sent.
//
// - `envoy`: the name of its configuration.
// - `path`, `headers`: its request; `credentials(stage)`, who makes it. `each: true`: anew for each round.
// - `many(stage)`: the credentials of requests that take turns; `once`: each is sent in one round only.
// - `status`: its answer.
// - `tells`: what the upstream must have received with the credentials, beside a client that pretends to be
//   somebody else. Without the credentials it must receive nothing. Contenders without it guard nothing.

import { NAVIGATION } from '../wasm-test/client.mjs';
import { cookiesOf, login } from './sessions.mjs';
import { NEW_REQUESTS, ROUNDS } from './settings.mjs';
import { accessToken } from './tokens.mjs';

/** What a browser sends besides: header lines of a current one, and the cookies of a usual site. */
const BROWSER = {
  ...NAVIGATION,
  accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8',
  'accept-encoding': 'gzip, deflate, br, zstd',
  'accept-language': 'en-GB,en;q=0.9,de;q=0.8',
  'cache-control': 'max-age=0',
  priority: 'u=0, i',
  referer: 'https://app.example.com/orders?page=2',
  'sec-ch-ua': '"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"',
  'sec-ch-ua-mobile': '?0',
  'sec-ch-ua-platform': '"Linux"',
  'sec-fetch-site': 'same-origin',
  'sec-fetch-user': '?1',
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
};
const OTHER_COOKIES = '_ga=GA1.1.1234567890.1700000000; _ga_ABCDEF1234=GS2.1.s1700000000$o3$g1$t1700000600$j60$l0$h0; consent=necessary%2Cstatistics; theme=dark; csrftoken=3u9XhJk2LmNpQrStUvWxYz0123456789; locale=en_GB';

const signedIn = (stage, name) => stage.once(`browser ${name}`, async () => {
  await stage.envoy(name);
  return login(stage.ports[name]);
});

/** The cookies of a session in use, which takes up new ones as browsers do. */
const session = (name, { others } = {}) => async (stage) => {
  const browser = await signedIn(stage, name);
  await browser.get(`http://localhost:${stage.ports[name]}/page`);
  const cookie = cookiesOf(browser, stage.ports[name]);
  return { cookie: others ? `${others}; ${cookie}` : cookie };
};

/** The cookies of its login, for ever. */
const oldSession = (stage) => stage.once('old session', async () => ({ cookie: cookiesOf(await login(stage.ports.vestibule), stage.ports.vestibule) }));

const authorization = (token) => ({ authorization: `Bearer ${token}` });
const token = (alg = 'RS256') => (stage) => stage.once(`token ${alg}`, async () => authorization(await accessToken(stage.key(alg), stage.issuer)));
const newTokens = (alg) => async (stage) => (await stage.tokens(alg, NEW_REQUESTS * (ROUNDS + 1))).map(authorization);
const sessions = (count) => async (stage) => (await stage.sessions()).slice(0, count).map((cookie) => ({ cookie }));

const API_PATH = '/api/orders';
const ALICE = { 'x-auth-sub': 'alice' };
const page = { path: '/page', status: 200 };
const api = { path: API_PATH, status: 200, tells: ALICE };

const each = (names, make) => Object.fromEntries(names.map((name) => [`${make(name).id}`, make(name).contender]));
const ALGORITHMS = ['RS256', 'ES256', 'ES384', 'EdDSA'];

export const CONTENDERS = {
  alone: { ...page, name: 'Envoy alone', envoy: 'alone' },
  aloneBrowser: { ...page, name: "Envoy alone, a browser's headers", envoy: 'alone', headers: { ...BROWSER, cookie: OTHER_COOKIES } },
  noop: { ...page, name: 'a Wasm filter that does nothing', envoy: 'noop' },

  oauth2: { ...page, name: '`oauth2`', envoy: 'oauth2', credentials: session('oauth2'), tells: { authorization: /^Bearer \S{20,}$/ } },
  oauth2Browser: { ...page, name: "`oauth2`, a browser's headers", envoy: 'oauth2', headers: BROWSER, alone: 'aloneBrowser', credentials: session('oauth2', { others: OTHER_COOKIES }), tells: { authorization: /^Bearer \S{20,}$/ } },
  oauth2Jwt: { ...page, name: '`oauth2` + `jwt_authn` with its cache', envoy: 'oauth2Jwt', credentials: session('oauth2Jwt'), tells: ALICE },
  oauth2Redirect: { ...page, name: "`oauth2`'s redirect", envoy: 'oauth2', headers: NAVIGATION, status: 302 },
  jwtCache: { ...api, name: '`jwt_authn` with its cache', envoy: 'jwtCache', credentials: token() },
  jwt401: { ...api, name: "`jwt_authn`'s 401", envoy: 'jwt', status: 401, tells: undefined },
  ...each(ALGORITHMS, (alg) => ({ id: `jwt${alg}`, contender: { ...api, name: '`jwt_authn` without cache', envoy: 'jwt', many: newTokens(alg), once: true } })),

  session: { ...page, name: 'a session seen before', envoy: 'vestibule', credentials: session('vestibule'), each: true, tells: ALICE },
  sessionBrowser: { ...page, name: "a session seen before, a browser's headers", envoy: 'vestibule', headers: BROWSER, alone: 'aloneBrowser', credentials: session('vestibule', { others: OTHER_COOKIES }), each: true, tells: ALICE },
  sessionExtended: { ...page, name: 'a session whose cookie is written again', envoy: 'vestibule', credentials: oldSession, answers: 'set-cookie', tells: ALICE },
  sessionUnseen: { ...page, name: 'a session not seen by this worker', envoy: 'unseen', many: sessions(), once: true, tells: ALICE },
  sessionOne: { ...page, name: 'one session', envoy: 'one', many: sessions(1), tells: ALICE },
  sessionThousand: { ...page, name: '1,000 sessions in turn', envoy: 'thousand', many: sessions(1_000), tells: ALICE },
  sessionMany: { ...page, name: 'all sessions in turn', envoy: 'many', many: sessions(), tells: ALICE },
  sessionLarge: { ...page, name: '256 rules, 16 providers: a session', envoy: 'large', credentials: session('large'), each: true, tells: ALICE },
  token: { ...api, name: 'a token seen before', envoy: 'vestibule', credentials: token() },
  tokenLarge: { ...api, name: '256 rules, 16 providers: a token', envoy: 'large', credentials: token() },
  ...each(ALGORITHMS, (alg) => ({ id: `token${alg}`, contender: { ...api, name: `${alg} never seen`, envoy: 'vestibule', many: newTokens(alg), once: true } })),
  public: { name: 'a public request', envoy: 'vestibule', path: '/public/page', status: 200 },
  refusal: { ...api, name: '401 for an API request', envoy: 'vestibule', status: 401, tells: undefined },
  redirect: { ...page, name: 'redirect to the login', envoy: 'vestibule', headers: NAVIGATION, status: 302 },
};
