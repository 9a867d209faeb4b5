// Keys and secrets are rotated while sessions are in use, with two workers.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { NAVIGATION } from './client.mjs';
import { receivedAll, until, World } from './world.mjs';

const WORKERS = 2;
const secret = () => randomBytes(32).toString('base64url');

/** A listener that Envoy reloads when its file is replaced. */
class ReplaceableListener {
  directory = mkdtempSync(path.join(os.tmpdir(), 'vestibule-'));

  file = path.join(this.directory, 'listeners.json');

  versions = 0;

  /** Takes the listener out of the bootstrap, so that it is loaded from the file. */
  take(bootstrap) {
    [this.listener] = bootstrap.static_resources.listeners;
    delete bootstrap.static_resources.listeners;
    bootstrap.node = { id: 'one', cluster: 'one' };
    bootstrap.dynamic_resources = { lds_config: { resource_api_version: 'V3', path_config_source: { path: this.file } } };
    this.load();
  }

  load() {
    this.versions += 1;
    const resources = [{ '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener', ...this.listener }];
    writeFileSync(`${this.file}.new`, JSON.stringify({ version_info: String(this.versions), resources }));
    renameSync(`${this.file}.new`, this.file);
  }

  reconfigure(change) {
    const [filter] = this.listener.filter_chains[0].filters[0].typed_config.http_filters;
    change(filter.typed_config.config.configuration.value);
    this.load();
  }

  remove() {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

describe('a session key', () => {
  const [OLD, NEW] = [secret(), secret()];
  const replaceable = new ReplaceableListener();
  let world;

  const reconfigure = (keys) => replaceable.reconfigure((configuration) => { configuration.session.keys = keys; });

  before(async () => {
    world = await World.start({
      concurrency: WORKERS,
      configure: (configuration) => { configuration.session.keys = [OLD]; },
      alter: (bootstrap) => replaceable.take(bootstrap),
    });
  });
  after(async () => {
    await world?.stop();
    replaceable.remove();
  });

  const open = (cookie) => world.send('/page', { headers: { ...NAVIGATION, cookie } });

  test('is rotated by a reload, and nobody has to log in again', async () => {
    const browser = world.browser();
    assert.equal((await browser.login(`${world.site}/orders`)).status, 200);
    const byOld = browser.cookieHeader('/');
    /** The session is accepted by any worker with any configuration. */
    async function useUntil(what, condition) {
      await until(what, async () => {
        const answers = await Promise.all(Array.from({ length: 10 }, () => open(browser.cookieHeader('/'))));
        // A newly loaded configuration may not have the provider's documents yet; sessions do not need them.
        assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
        return condition(answers);
      }, 20_000);
    }

    reconfigure([NEW, OLD]);
    await useUntil('every worker writes the session under the new key', (answers) => answers.every((answer) => /vestibule=/.test(answer.all('set-cookie').join())));
    await browser.get(`${world.site}/page`);
    assert.notEqual(browser.cookieHeader('/'), byOld);
    await useUntil('and only once', (answers) => answers.every((answer) => answer.all('set-cookie').length === 0));

    reconfigure([NEW]);
    await useUntil('the old key opens nothing any more', async () => {
      const answers = await Promise.all(Array.from({ length: 10 }, () => open(byOld)));
      return answers.every(({ status }) => status !== 200);
    });
    assert.equal((await open(byOld)).header('location')?.startsWith(world.issuer), true);
    assert.equal(world.provider.requests['/token'], 1, 'one login in all that time');
  });
});

describe('a configuration that is replaced', () => {
  const TOKEN_SECONDS = 20;
  const replaceable = new ReplaceableListener();
  let world;
  before(async () => {
    world = await World.start({
      concurrency: WORKERS,
      drainSeconds: 1,
      configure: (configuration) => { configuration.identity.access_token_header = 'x-access-token'; },
      provider: {
        accessTokenTtl: TOKEN_SECONDS,
        alter: (configuration) => {
          configuration.issueRefreshToken = async () => true;
          configuration.rotateRefreshToken = () => true;
        },
      },
      alter: (bootstrap) => replaceable.take(bootstrap),
    });
  });
  after(async () => {
    await world?.stop();
    replaceable.remove();
  });

  test('keeps the result of a refresh in flight', async () => {
    const browser = world.browser();
    assert.equal((await browser.login(`${world.site}/orders`)).status, 200);
    const cookie = browser.cookieHeader('/');
    // Each on its own connection, because the old listener would keep an open one.
    const request = () => world.send('/page', { headers: { ...NAVIGATION, cookie, connection: 'close' } });
    const token = () => receivedAll(world.received(), 'x-access-token')[0];
    await request();
    const first = token();
    const held = [];
    world.provider.intercept = (request) => (request.url === '/token' ? new Promise((resolve) => { held.push(() => resolve(false)); }) : false);
    await until('a refresh is in flight', async () => {
      assert.equal((await request()).status, 200);
      return held.length > 0;
    }, TOKEN_SECONDS * 1_000);
    replaceable.reconfigure((configuration) => { configuration.log = { rate_limit: 7 }; });
    let began = false;
    await until('the old configuration is gone', async () => {
      const statistics = await world.statistics('total_(listeners|filter_chains)_draining$');
      const draining = Object.values(statistics).reduce((sum, number) => sum + number, 0);
      began ||= draining > 0;
      return began && draining === 0;
    }, 20_000);
    world.provider.intercept = undefined;
    held.forEach((answer) => answer());
    await until('the new configuration uses what the old one fetched', async () => {
      assert.equal((await request()).status, 200);
      return token() !== first;
    }, 5_000);
    assert.equal(world.provider.requests['/token'], 2, 'one login and one refresh');
  });
});

describe('a client secret', () => {
  let world;
  before(async () => {
    world = await World.start({
      concurrency: WORKERS,
      configure: (configuration, { secrets }) => {
        secrets.CLIENT_SECRET_NEXT = secret();
        const { demo } = configuration.providers;
        demo.client_secret_next = '${CLIENT_SECRET_NEXT}';
        demo.client_secret_expires_at = Math.floor(Date.now() / 1000) + 7 * 24 * 3600;
      },
    });
  });
  after(() => world?.stop());

  const counted = async (credential, outcome) => (await world.metrics())[`vestibule_client_authentications_credential_${credential}_outcome_${outcome}_provider_demo{}`] ?? 0;
  const logIn = async () => assert.equal((await world.browser().login(`${world.site}/orders`)).status, 200);

  test('is rotated at the provider, and every login succeeds', async () => {
    await logIn();
    world.provider.changeSecret(world.secrets.CLIENT_SECRET_NEXT);
    for (let i = 0; i < 12; i += 1) await logIn();
    const refused = world.provider.requests['/token'] - 13;
    assert.ok(refused >= 1 && refused <= WORKERS, `${refused} requests with the old secret`);
    await until('all are counted', async () => {
      const counts = [await counted('current', 'accepted'), await counted('current', 'refused'), await counted('next', 'accepted')];
      return JSON.stringify(counts) === JSON.stringify([1, refused, 12]);
    }, 5_000);
    assert.match(world.envoy.stderr, /code=client_refused the provider refuses client_secret;/);
  });

  test('is announced before it expires', async () => {
    await until('the warning', () => /code=client_secret_expires client_secret ends in \d days/.test(world.envoy.stderr), 5_000);
    await until('the gauge', async () => {
      const rest = (await world.metrics())['vestibule_client_secret_expires_in_seconds_provider_demo{}'];
      return rest > 6 * 24 * 3600 && rest <= 7 * 24 * 3600;
    }, 5_000);
  });
});
