// A real client of the Model Context Protocol, that knows nothing but the address of its server: it finds the
// provider by the metadata of the resource, registers, logs a person in, and calls a tool.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { API } from '../envoy/provider/provider.mjs';
import { Browser } from './client.mjs';
import { freePort, World } from './world.mjs';

/** Where the client would wait for the authorization response. Nobody listens: the story takes it from there. */
const CALLBACK = 'http://localhost:9/callback';

/** A server with one tool, which says who calls it. It knows no tokens: the filter is in front of it. */
async function startMcpServer(port) {
  const server = http.createServer(async (request, response) => {
    const mcp = new McpServer({ name: 'orders', version: '1' });
    mcp.registerTool('whoami', { description: 'Who calls' }, async ({ requestInfo }) => ({
      content: [{ type: 'text', text: `${requestInfo.headers['x-auth-sub']} ${requestInfo.headers.authorization ?? 'without a token'}` }],
    }));
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
    response.on('close', () => transport.close());
    await mcp.connect(transport);
    await transport.handleRequest(request, response);
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { stop: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }) };
}

/** What a client remembers between two runs. */
class Remembered {
  get redirectUrl() { return CALLBACK; }
  get clientMetadata() {
    return { client_name: 'agent', redirect_uris: [CALLBACK], grant_types: ['authorization_code'], response_types: ['code'], token_endpoint_auth_method: 'none' };
  }
  clientInformation() { return this.client; }
  saveClientInformation(client) { this.client = client; }
  tokens() { return this.saved; }
  saveTokens(tokens) { this.saved = tokens; }
  redirectToAuthorization(url) { this.authorization = url; }
  saveCodeVerifier(verifier) { this.verifier = verifier; }
  codeVerifier() { return this.verifier; }
}

/** A person logs in at the provider; the code in the authorization response. */
async function codeFor(authorization) {
  const browser = new Browser();
  let response = await browser.submit(await browser.get(authorization.href), { login: 'alice', password: 'a' }, { follow: false });
  while (!response.header('location').startsWith(CALLBACK)) response = await browser.request(Browser.target(response));
  return new URL(response.header('location')).searchParams.get('code');
}

describe('a client of the Model Context Protocol', () => {
  let world;
  let server;
  before(async () => {
    const port = await freePort();
    server = await startMcpServer(port);
    world = await World.start({
      configure(configuration, { site }) {
        configuration.rules.unshift(
          { name: 'mcp', path_prefix: '/mcp', accept: 'bearer', resource: `${site}/mcp`, require: { scopes: ['mcp.call'] } },
          { name: 'other', path_prefix: '/other', accept: 'bearer', resource: `${site}/other` },
        );
      },
      alter({ static_resources: { listeners, clusters } }) {
        const upstream = structuredClone(clusters.find(({ name }) => name === 'upstream'));
        upstream.name = upstream.load_assignment.cluster_name = 'mcp';
        upstream.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value = port;
        clusters.push(upstream);
        const manager = listeners[0].filter_chains[0].filters[0].typed_config;
        manager.route_config.virtual_hosts[0].routes.unshift({ match: { prefix: '/mcp' }, route: { cluster: 'mcp', timeout: '0s' } });
      },
      provider: {
        alter(settings) {
          settings.features.registration = { enabled: true };
          settings.scopes = [...(settings.scopes ?? ['openid']), 'mcp.call'];
          const { getResourceServerInfo } = settings.features.resourceIndicators;
          settings.features.resourceIndicators.getResourceServerInfo = (context, resource, client) => (/^http:\/\/localhost:\d+\/(mcp|other)$/.test(resource)
            ? { ...getResourceServerInfo(context, API, client), audience: resource, scope: 'mcp.call' }
            : getResourceServerInfo(context, resource, client));
        },
      },
    });
  });
  after(async () => { await world?.stop(); await server?.stop(); });

  test('finds the provider, logs in and calls a tool; its token opens nothing else', async () => {
    const remembered = new Remembered();
    const transport = () => new StreamableHTTPClientTransport(new URL(`${world.site}/mcp`), { authProvider: remembered });
    const first = transport();
    await assert.rejects(new Client({ name: 'agent', version: '1' }).connect(first), UnauthorizedError);
    const asked = remembered.authorization.searchParams;
    assert.ok(remembered.authorization.href.startsWith(`${world.issuer}/`), remembered.authorization.href);
    assert.equal(asked.get('resource'), `${world.site}/mcp`);
    assert.equal(asked.get('scope'), 'mcp.call');

    await first.finishAuth(await codeFor(remembered.authorization));
    const client = new Client({ name: 'agent', version: '1' });
    await client.connect(transport());
    assert.deepEqual((await client.listTools()).tools.map(({ name }) => name), ['whoami']);
    const { content } = await client.callTool({ name: 'whoami', arguments: {} });
    assert.equal(content[0].text, 'alice without a token');
    await client.close();

    const authorization = `Bearer ${remembered.saved.access_token}`;
    for (const [path, code] of [['/other', 'access_token_audience'], ['/api/orders', 'access_token_audience']]) {
      const answer = await world.send(path, { headers: { accept: 'application/json', authorization } });
      assert.deepEqual([answer.status, answer.json().code], [401, code]);
    }
    assert.equal(world.upstream.requests.length, 0);
  });

  test('without the scope is told which one the resource needs', async () => {
    const token = await world.token({ scope: '', resource: `${world.site}/mcp` });
    const answer = await world.send('/mcp', { method: 'POST', headers: { authorization: `Bearer ${token}` }, body: '{}' });
    assert.equal(answer.status, 403);
    assert.match(answer.header('www-authenticate'), /error="insufficient_scope".* scope="mcp\.call", resource_metadata="http:\/\/localhost:\d+\/\.well-known\/oauth-protected-resource\/mcp"$/);
  });
});
