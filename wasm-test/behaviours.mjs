// The provider of the demo, made to behave as the tests say where specifications leave it open. The list
// is `tests/provider_behaviours.json`, which the stories and the simulation share.
//
// `startProvider({ alter: behaviour.alter })`, then `provider.intercept = behaviour.intercept`.

import { readFileSync } from 'node:fs';

const ROWS = JSON.parse(readFileSync(new URL('../tests/provider_behaviours.json', import.meta.url), 'utf8'));

/** How the value of a row changes the token response. */
const TOKEN_ANSWERS = {
  refresh_token: {
    // The provider behind has repeated the token, so it stays valid.
    left_out: (answer, { isRefresh }) => { if (isRefresh) delete answer.refresh_token; },
  },
  expires_in: {
    minutes: () => {},
    absent: (answer) => { delete answer.expires_in; },
    zero: (answer) => { answer.expires_in = 0; },
    text: (answer) => { answer.expires_in = String(answer.expires_in); },
    second: (answer) => { answer.expires_in = 1; },
    year: (answer) => { answer.expires_in = 31_622_400; },
  },
  scope: {
    as_asked: () => {},
    absent: (answer, { isRefresh }) => { if (!isRefresh) delete answer.scope; },
    narrower: (answer, { isRefresh }) => { if (!isRefresh) answer.scope = 'openid'; },
    list: (answer, { isRefresh }) => { if (!isRefresh) answer.scope = answer.scope?.split(' '); },
  },
  scope_at_refresh: {
    same: () => {},
    absent: (answer, { isRefresh }) => { if (isRefresh) delete answer.scope; },
    narrower: (answer, { isRefresh }) => { if (isRefresh) answer.scope = 'openid'; },
  },
  token_type: {
    capital: () => {},
    small: (answer) => { answer.token_type = 'bearer'; },
  },
  id_token_at_refresh: {
    always: () => {},
    never: (answer, { isRefresh }) => { if (isRefresh) delete answer.id_token; },
    sometimes: (answer, { isRefresh, count }) => { if (isRefresh && count % 2 === 0) delete answer.id_token; },
  },
};

/** Which refresh tokens the provider behind rotates. */
const ROTATION = {
  rotated: () => true,
  repeated: () => false,
  left_out: () => false,
};

const REFUSALS = {
  invalid_grant: [400, { error: 'invalid_grant' }],
  invalid_client_400: [400, { error: 'invalid_client' }],
  invalid_client_401: [401, { error: 'invalid_client' }],
  unauthorized_client: [403, { error: 'unauthorized_client' }],
  temporarily_unavailable: [503, { error: 'temporarily_unavailable' }],
  without_body: [400, undefined],
};

const DOCUMENTS = { unsaid: undefined, minutes: 'max-age=300', minute: 'max-age=60', not_at_all: 'no-store' };

const TIMES = { at_once: true, late: true, cut_off: true };

/** Delay of a response of the token endpoint. Milliseconds. */
const LATE = 2_000;

function checked(choices) {
  for (const [name, value] of Object.entries(choices)) {
    const row = ROWS.find((row) => row.name === name);
    if (!row) throw new Error(`${name} is not in tests/provider_behaviours.json`);
    if (!Object.hasOwn(row.values, value)) throw new Error(`${name} cannot be ${value}, but ${Object.keys(row.values)}`);
    const can = { ...TOKEN_ANSWERS, refresh_token: ROTATION, refusal: REFUSALS, documents: DOCUMENTS, answers: TIMES }[name];
    if (!can || !Object.hasOwn(can, value)) throw new Error(`this provider does not support the value ${value} of ${name}`);
  }
  return choices;
}

/** The body of a request, which can still be read afterwards. */
function peek(request) {
  return new Promise((resolve) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      // npm's oidc-provider uses this in place of a stream that was read.
      request.body = body.toString();
      resolve(new URLSearchParams(request.body));
    });
  });
}

/** Buffers a whole response, and sends the result of `change`. */
function rewrite(response, change) {
  const { writeHead, end } = response;
  const chunks = [];
  response.write = (chunk) => { chunks.push(Buffer.from(chunk)); return true; };
  response.end = (chunk) => {
    if (chunk) chunks.push(Buffer.from(chunk));
    const { status, body, delay = 0, cutOff = false } = change(response.statusCode, Buffer.concat(chunks).toString());
    response.removeHeader('content-length');
    setTimeout(() => {
      writeHead.call(response, status, { 'content-length': Buffer.byteLength(body) });
      if (!cutOff) return end.call(response, body);
      response.constructor.prototype.write.call(response, body.slice(0, body.length / 2));
      return response.destroy();
    }, delay);
    return response;
  };
}

/**
 * `choices` has a value for some rows of the list; for all others the provider behaves as it does. A choice
 * that is not in the list, or that this provider does not support, is an error.
 */
export function behaving(choices) {
  const { refusal, documents, answers, ...others } = checked(choices);
  let count = 0;
  return {
    alter(configuration) {
      if (others.refresh_token) configuration.rotateRefreshToken = ROTATION[others.refresh_token];
    },
    async intercept(request, response) {
      const path = request.url.split('?')[0];
      if (documents && (path === '/jwks' || path.startsWith('/.well-known/'))) {
        const lifetime = DOCUMENTS[documents];
        if (lifetime) response.setHeader('cache-control', lifetime);
        return false;
      }
      if (path !== '/token') return false;
      const isRefresh = (await peek(request)).get('grant_type') === 'refresh_token';
      if (isRefresh) count += 1;
      rewrite(response, (status, text) => {
        const timing = { delay: answers === 'late' ? LATE : 0, cutOff: answers === 'cut_off' };
        if (status !== 200) {
          const [refused, body] = REFUSALS[refusal] ?? [status];
          return { status: refused, body: refusal ? (body ? JSON.stringify(body) : '') : text, ...timing };
        }
        const answer = JSON.parse(text);
        for (const [name, value] of Object.entries(others)) TOKEN_ANSWERS[name]?.[value]?.(answer, { isRefresh, count });
        return { status, body: JSON.stringify(answer), ...timing };
      });
      return false;
    },
  };
}
