// A second real provider: Glewlwyd, from Debian. It reads the specifications in its own way, has opaque
// rotating refresh tokens, and its own kind of login.

import { execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { send } from './client.mjs';

const PROGRAM = 'glewlwyd';
/** The tables of the package. */
const TABLES = '/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3';
const MODULES = '/usr/lib/glewlwyd';
/** The instance name of the plugin, and so the last part of the issuer. */
const INSTANCE = 'oidc';
/** The package's tables do not declare that a client may have several of these addresses; the plugin reads a list. */
const FILL = `
import sqlite3, sys
tables = sqlite3.connect(sys.argv[1])
tables.executescript(open(sys.argv[2]).read())
known = '"data-format":{'
tables.execute('UPDATE g_client_module_instance SET gcmi_parameters = replace(gcmi_parameters, ?, ?)',
               (known, known + '"post_logout_redirect_uris":{"multiple":true,"read":true,"write":true},'))
tables.commit()
`;
export const CLIENT_ID = 'vestibule-demo';
export const PERSON = { username: 'alice', password: 'alice-password', name: 'Alice Example', email: 'alice@demo.example' };

function found() {
  return (process.env.PATH ?? '').split(path.delimiter).some((directory) => {
    try {
      accessSync(path.join(directory, PROGRAM), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Why the stories with Glewlwyd cannot run here, or false. It is installed where that is possible. If
 * `VESTIBULE_REQUIRES` names it, a missing Glewlwyd is a failure.
 */
export function missing() {
  if (found()) return false;
  if (process.getuid?.() === 0) {
    try {
      execFileSync('apt-get', ['install', '-y', '--no-install-recommends', PROGRAM], {
        stdio: ['ignore', 2, 2], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      });
    } catch {
      // Reported below.
    }
    if (found()) return false;
  }
  const why = 'Glewlwyd was not found (Debian: apt-get install glewlwyd)';
  if (process.env.VESTIBULE_REQUIRES?.split(' ').includes(PROGRAM)) throw new Error(why);
  return why;
}

const configuration = ({ port, database }) => `
port = ${port}
bind_address = "127.0.0.1"
external_url = "http://localhost:${port}"
login_url = "login.html"
api_prefix = "api"
cookie_domain = "localhost"
cookie_secure = 0
session_key = "GLEWLWYD2_SESSION_ID"
session_expiration = 3600
admin_session_authentication = "cookie"
profile_session_authentication = "cookie"
login_api_enabled = true
admin_scope = "g_admin"
profile_scope = "g_profile"
log_mode = "console"
log_level = "ERROR"
hash_algorithm = "SHA512"
user_module_path = "${MODULES}/user"
user_middleware_module_path = "${MODULES}/user_middleware"
client_module_path = "${MODULES}/client"
user_auth_scheme_module_path = "${MODULES}/scheme"
plugin_module_path = "${MODULES}/plugin"
database = { type = "sqlite3" path = "${database}" };
`;

/** Tokens are short-lived, and a refresh token can be used once. */
function plugin(issuer, accessTokenTtl) {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return {
    iss: issuer,
    'jwt-type': 'rsa', 'jwt-key-size': '256', key: privateKey, cert: publicKey, 'jwks-show': true,
    'access-token-duration': accessTokenTtl, 'refresh-token-duration': 3600, 'code-duration': 60,
    'refresh-token-rolling': true, 'refresh-token-one-use': 'always',
    'auth-type-code-enabled': true, 'auth-type-code-revoke-replayed': true, 'auth-type-refresh-enabled': true,
    'auth-type-token-enabled': false, 'auth-type-id-token-enabled': true, 'auth-type-none-enabled': false,
    'auth-type-password-enabled': false, 'auth-type-client-enabled': false, 'auth-type-device-enabled': false,
    'pkce-allowed': true, 'pkce-required': true, 'pkce-method-plain-allowed': false,
    'introspection-revocation-allowed': true, 'introspection-revocation-allow-target-client': true,
    'session-management-allowed': true, 'session-cookie-name': 'GLEWLWYD2_OIDC_SID', 'session-cookie-expiration': 3600,
    'back-channel-logout-allowed': true, 'front-channel-logout-allowed': false,
    'subject-type': 'public', 'name-claim': 'mandatory', 'email-claim': 'mandatory', 'scope-claim': 'no',
    'address-claim': { type: 'no' }, claims: [], 'allow-non-oidc': false, 'oauth-as-iss-id': true,
  };
}

/** A browser that uses Glewlwyd's API as its own pages do. */
class Conversation {
  constructor(port) {
    this.port = port;
    this.cookies = new Map();
  }

  async call(method, at, body, { accept = [200, 302] } = {}) {
    const answer = await send(this.port, at, {
      method,
      headers: {
        ...(body ? { 'content-type': 'application/json' } : {}),
        cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; '),
      },
      body: body && JSON.stringify(body),
    });
    for (const line of answer.all('set-cookie')) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      this.cookies.set(name, value);
    }
    if (!accept.includes(answer.status)) throw new Error(`Glewlwyd: ${method} ${at.split('?')[0]}: ${answer.status} ${answer.text}`);
    return answer;
  }

  /** What the login page does: authenticates the person, and consents to the client. */
  async logIn() {
    await this.call('POST', '/api/auth/', { username: PERSON.username, password: PERSON.password });
    await this.call('PUT', `/api/auth/grant/${CLIENT_ID}`, { scope: 'openid' });
  }
}

async function setUp({ port, issuer, site, clientSecret, accessTokenTtl }) {
  const administrator = new Conversation(port);
  // The default account of the package's tables, in a database that is deleted after the test.
  await administrator.call('POST', '/api/auth/', { username: 'admin', password: 'password' });
  await administrator.call('POST', '/api/mod/plugin/', {
    module: 'oidc', name: INSTANCE, display_name: INSTANCE, enabled: true, readonly: false, parameters: plugin(issuer, accessTokenTtl),
  });
  await administrator.call('POST', '/api/user/', { ...PERSON, scope: ['openid'], enabled: true });
  await administrator.call('POST', '/api/client/', {
    client_id: CLIENT_ID, name: 'Vestibule', enabled: true, confidential: true, password: clientSecret, scope: ['openid'],
    authorization_type: ['code', 'refresh_token'], token_endpoint_auth_method: ['client_secret_basic'],
    redirect_uri: [`${site}/oidc/callback`],
    post_logout_redirect_uris: [`${site}/oidc/logged-out`],
    backchannel_logout_uri: `${site}/oidc/backchannel-logout`,
    backchannel_logout_session_required: '1',
  });
}

/** The issuer of a Glewlwyd on `port`. */
export const issuerOn = (port) => `http://localhost:${port}/api/${INSTANCE}`;

/** Starts Glewlwyd with an empty database, one client and one person. For `World.start({ start })`. */
export async function startGlewlwyd({ port, site, clientSecret, accessTokenTtl = 600 }) {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'vestibule-glewlwyd-'));
  const database = path.join(directory, 'database');
  const file = path.join(directory, 'glewlwyd.conf');
  execFileSync('python3', ['-c', FILL, database, TABLES]);
  writeFileSync(file, configuration({ port, database }));
  const child = spawn(PROGRAM, [`--config-file=${file}`], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { said += chunk; });
  const ended = new Promise((resolve) => { child.once('close', resolve); });
  const kill = () => child.kill('SIGKILL');
  process.on('exit', kill);
  const running = {
    issuer: issuerOn(port),
    port,
    async stop() {
      kill();
      await ended;
      process.off('exit', kill);
      rmSync(directory, { recursive: true, force: true });
    },
  };
  try {
    for (let tries = 0; ; tries += 1) {
      const answer = await send(port, '/api/').catch(() => undefined);
      if (answer) break;
      if (tries === 200 || child.exitCode !== null) throw new Error(`Glewlwyd does not answer: ${said}`);
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
    await setUp({ port, issuer: running.issuer, site, clientSecret, accessTokenTtl });
    return running;
  } catch (error) {
    await running.stop();
    throw error;
  }
}

/** A person at Glewlwyd's pages. The pages are scripts; this class sends their requests. */
export class Person {
  constructor(world) {
    this.world = world;
    this.conversation = new Conversation(world.providerPort);
  }

  /** From the address of the authorization request to the authorization response. */
  async logIn(browser, url) {
    const { pathname, search } = new URL(url);
    const response = await this.conversation.call('GET', pathname + search);
    const page = new URL(response.header('location'), this.world.issuer);
    await this.conversation.logIn();
    const back = new URL(page.searchParams.get('callback_url'));
    const answer = await this.conversation.call('GET', `${back.pathname}${back.search}&g_continue`);
    return browser.get(answer.header('location'));
  }

  /** Confirms the page of the end session endpoint. Returns where it sends the browser, if anywhere. */
  async logOut(url) {
    const { pathname, search } = new URL(url);
    const response = await this.conversation.call('GET', pathname + search);
    const page = new URL(response.header('location'), this.world.issuer).searchParams;
    await this.endSession(page.get('sid'));
    return page.get('callback_url');
  }

  /** Ends the session at the provider, which notifies its clients. */
  async endSession(sid) {
    await this.conversation.call('DELETE', `/api/${INSTANCE}/session/${sid}/`);
  }
}
