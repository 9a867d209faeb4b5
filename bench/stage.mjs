// What the contenders of a run share: providers, keys, secrets and the Envoys. An Envoy is started when the
// first contender needs it.

import { randomBytes } from 'node:crypto';
import { startProvider } from '../envoy/provider/provider.mjs';
import { NAVIGATION, send } from '../wasm-test/client.mjs';
import { Envoy, ROUTER, envoyBootstrap, freePort, until } from '../wasm-test/world.mjs';
import { ENVOYS, ROUTES } from './envoys.mjs';
import { startQuickProvider } from './quick-provider.mjs';
import { logins } from './sessions.mjs';
import { ALL_SESSIONS } from './settings.mjs';
import { ALGORITHMS, SigningKey, accessTokens } from './tokens.mjs';

const secret = () => randomBytes(32).toString('base64url');

const cluster = (name, port) => ({
  name,
  connect_timeout: '2s',
  load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } }] }] },
});

export class Stage {
  static async start() {
    const stage = new Stage();
    stage.made = new Map();
    stage.running = [];
    stage.ports = {};
    for (const name of Object.keys(ENVOYS)) stage.ports[name] = await freePort();
    stage.providerPort = await freePort();
    stage.quickPort = await freePort();
    stage.secrets = { CLIENT_SECRET: secret(), SESSION_KEY: secret() };
    const further = ALGORITHMS.filter((alg) => alg !== 'RS256').map((alg) => SigningKey.generate(alg));
    const returns = Object.entries(ENVOYS).filter(([, { login }]) => login).map(([name, { login }]) => `http://localhost:${stage.ports[name]}${login}`);
    const provider = await startProvider({
      port: stage.providerPort,
      clientSecret: stage.secrets.CLIENT_SECRET,
      accessTokenTtl: 3_600,
      alter(configuration) {
        configuration.clients[0].redirect_uris = returns;
        configuration.jwks.keys.push(...further.map(({ jwk }) => jwk));
      },
    });
    stage.running.push(provider);
    stage.issuer = provider.issuer;
    stage.keys = [new SigningKey(provider.signingKey()), ...further];
    stage.running.push(await startQuickProvider({ port: stage.quickPort, issuer: stage.issuer, key: stage.key('RS256') }));
    return stage;
  }

  /** The host in the requests to an Envoy: its own if browsers log in there, otherwise that of `vestibule`. */
  host(name) {
    return `localhost:${this.ports[ENVOYS[name].login ? name : 'vestibule']}`;
  }

  key(alg) {
    return this.keys.find(({ jwk }) => jwk.alg === alg);
  }

  /** The result of `make`, which is called once for each name. */
  once(name, make) {
    if (!this.made.has(name)) this.made.set(name, make());
    return this.made.get(name);
  }

  /** The configuration of an Envoy, in full. */
  async bootstrap(name, port = this.ports[name]) {
    const { filters, quick } = ENVOYS[name];
    const bootstrap = envoyBootstrap({
      port,
      adminPort: await freePort(),
      accessLog: false,
      filters: [...filters(this, port), ROUTER],
      routes: ROUTES,
      clusters: [cluster('provider', quick ? this.quickPort : this.providerPort), cluster('quick', this.quickPort)],
    });
    const { CLIENT_SECRET: token, SESSION_KEY: hmac } = this.secrets;
    bootstrap.static_resources.secrets = Object.entries({ token, hmac })
      .map(([of, value]) => ({ name: of, generic_secret: { secret: { inline_string: value } } }));
    return bootstrap;
  }

  /** The running Envoy with this name. */
  envoy(name) {
    return this.once(`envoy ${name}`, async () => {
      const envoy = await Envoy.start(await this.bootstrap(name), { concurrency: 1 });
      this.running.push(envoy);
      if (envoy.exit) throw new Error(`the Envoy "${name}" has ended:\n${envoy.stderr.slice(-3_000)}`);
      const answers = async () => (await send(this.ports[name], '/page', { headers: { host: this.host(name), ...NAVIGATION } })).status !== 503;
      if (ENVOYS[name].vestibule) await until('the filter knows its provider', answers);
      return envoy;
    });
  }

  /** `count` access tokens. */
  tokens(alg, count) {
    return this.once(`tokens ${alg}`, () => accessTokens(this.key(alg), this.issuer, count));
  }

  /** Sessions on the host of `vestibule` that no measured worker has seen. */
  sessions() {
    return this.once('sessions', async () => {
      const envoy = await this.envoy('logins');
      const sessions = await logins(this.ports.logins, this.host('logins'), this.issuer, ALL_SESSIONS);
      this.running.splice(this.running.indexOf(envoy), 1);
      await envoy.stop();
      return sessions;
    });
  }

  async stop() {
    for (const one of this.running.reverse()) await one.stop();
  }
}
