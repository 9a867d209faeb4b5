// Broken connections to a provider: what Envoy reports to the filter for each, and what the filter logs.

import assert from 'node:assert/strict';
import https from 'node:https';
import { describe, test } from 'node:test';
import { NAVIGATION, send } from './client.mjs';
import { until, World } from './world.mjs';

/** For op.example.com, self-signed, valid for a hundred years. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBozCCAUqgAwIBAgIUcmGzGpsHs+rVQx4v9NjD2BL3GtgwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOb3AuZXhhbXBsZS5jb20wIBcNMjYxMTMwMjAyOTA4WhgPMjEy
NjExMDYyMDI5MDhaMBkxFzAVBgNVBAMMDm9wLmV4YW1wbGUuY29tMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEjQrXFeksElJCvYBoNcqgVfTmNrHcOUMOi0ItX2Ao
aEqjSs4RZ0VWPetoE9xhYkSpFRI0kzExd+fxZDX3eZgp6aNuMGwwHQYDVR0OBBYE
FBHqblrVGW5sGMytlp8bmy+YWKVRMB8GA1UdIwQYMBaAFBHqblrVGW5sGMytlp8b
my+YWKVRMA8GA1UdEwEB/wQFMAMBAf8wGQYDVR0RBBIwEIIOb3AuZXhhbXBsZS5j
b20wCgYIKoZIzj0EAwIDRwAwRAIgUUKIocTv27Oq15FCpMNJsv+rE0TO066VXh24
DFkbEQ4CIFkElfzM9+P1LzD4kcINbZTzpM3cDAG2sQ2VpdzcBVOQ
-----END CERTIFICATE-----`;
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgB2On3CMuMUiGYc2u
Xwkg1KdJFty2hqq+HviIIuSZDMShRANCAASNCtcV6SwSUkK9gGg1yqBV9OY2sdw5
Qw6LQi1fYChoSqNKzhFnRVY962gT3GFiRKkVEjSTMTF35/FkNfd5mCnp
-----END PRIVATE KEY-----`;
/** The same name, and another key. */
const STRANGER = `-----BEGIN CERTIFICATE-----
MIIBozCCAUqgAwIBAgIUI7REd1maau9et5MwbnFRHf5fn1IwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOb3AuZXhhbXBsZS5jb20wIBcNMjYxMTMwMjAyOTA4WhgPMjEy
NjExMDYyMDI5MDhaMBkxFzAVBgNVBAMMDm9wLmV4YW1wbGUuY29tMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAE1QlUkjStc80tjOs4wVeDBHy7chGfAAsl9wEcJ8xm
CEuN5tghFDc01cRUDlubNpHxxGiouk4DU0pdovz99jGkiqNuMGwwHQYDVR0OBBYE
FOKkNTzuPZPF4CzRsfNf4v/5MInSMB8GA1UdIwQYMBaAFOKkNTzuPZPF4CzRsfNf
4v/5MInSMA8GA1UdEwEB/wQFMAMBAf8wGQYDVR0RBBIwEIIOb3AuZXhhbXBsZS5j
b20wCgYIKoZIzj0EAwIDRwAwRAIgUNOgZpNGgFyD4C6ITo5fWCFeOrN9pVzmCT9g
WQ3oT0ICID9Fo/5jkjtoXmoes98Yuae3u2rbBfzDQQ2rvlTdF6en
-----END CERTIFICATE-----`;

/** TLS of a cluster that trusts one certificate with one name. */
const tls = (trusted, name = 'op.example.com') => ({
  name: 'envoy.transport_sockets.tls',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
    sni: 'op.example.com',
    common_tls_context: {
      validation_context: {
        trusted_ca: { inline_string: trusted },
        match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: name } }],
      },
    },
  },
});

/**
 * A world whose provider is `server` on https, behind a cluster that `change` changes. Checks the log line about the
 * unreachable provider.
 */
async function checkLine({ server, change = () => undefined, callout = 'provider' }, check) {
  const world = await World.start({
    providerUp: false,
    configure: ({ providers: { demo } }) => {
      Object.assign(demo, { issuer: 'https://op.example.com', callout });
      delete demo.insecure_allow_http;
    },
    alter: ({ static_resources: { clusters } }) => change(clusters.find(({ name }) => name === 'provider')),
  });
  const listening = server?.listen(world.providerPort, '127.0.0.1');
  try {
    const line = async (...parts) => until(`a line with ${parts.join(', ')}`, () => world.envoy.stderr.split('\n').find((text) => parts.every((part) => text.includes(part))));
    await check({ world, line });
  } finally {
    await world.stop();
    listening?.closeAllConnections();
    listening?.close();
  }
}

const secure = () => https.createServer({ key: KEY, cert: CERTIFICATE }, (request, response) => response.end('{}'));
const PLACE = 'the metadata of the provider (https://op.example.com/.well-known/openid-configuration by the callout target "provider")';
const UNREACHABLE = 'provider=demo code=provider_unreachable next attempt in';

describe('a provider that cannot be reached', () => {
  for (const [title, way, cause] of [
    ['whose certificate another authority signed', { server: secure(), change: (cluster) => { cluster.transport_socket = tls(STRANGER); } }, 'CERTIFICATE_VERIFY_FAILED'],
    ['whose certificate names another host', { server: secure(), change: (cluster) => { cluster.transport_socket = tls(CERTIFICATE, 'other.example.com'); } }, 'SAN'],
    ['where nobody listens', { change: (cluster) => { cluster.transport_socket = tls(CERTIFICATE); } }, 'Connection refused'],
  ]) {
    test(`${title}: the line names endpoint, address and cluster, and the component of Envoy that shows the cause`, () => checkLine(way, async ({ world, line }) => {
      assert.match(await line(UNREACHABLE, PLACE, 'the connection failed'), /--component-log-level pool:debug/);
      assert.equal((await world.send('/orders', { headers: NAVIGATION })).status, 503);
      assert.ok(!world.envoy.stderr.includes(cause), 'at the default level the cause is not there');
      await send(world.adminPort, '/logging?pool=debug', { method: 'POST' });
      await line('[pool]', 'failure reason', cause);
    }));
  }

  test('that wants TLS where the cluster has none: the line says so', () => checkLine({ server: secure() }, ({ line }) => line(UNREACHABLE, PLACE, 'transport_socket')));

  test('whose name does not resolve: the line says so', () => checkLine({
    change: (cluster) => {
      cluster.type = 'STRICT_DNS';
      cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address = 'nowhere.invalid';
    },
  }, ({ line }) => line(UNREACHABLE, PLACE, 'no host that is up', 'DNS')));

  test('by a cluster that Envoy does not know: the line says so', () => checkLine({ callout: 'providr' }, ({ line }) => line(UNREACHABLE, 'callout target "providr"', 'no cluster of this name')));
});

test('the recovery of a provider is logged once for all workers', async () => {
  const world = await World.start({ providerUp: false });
  try {
    const lines = (part) => world.envoy.stderr.split('\n').filter((line) => line.includes(part));
    await until('it is said to be away', () => lines(UNREACHABLE).length > 0);
    await world.startProvider();
    await world.ready();
    await until('it is said to be back', () => lines('code=provider_recovered').length > 0);
    assert.equal(lines('code=provider_recovered').length, 1);
  } finally {
    await world.stop();
  }
});
