// Hosts: which virtual host of a real Envoy responds, and which rule of the filter let the request through to
// it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { send2, sendBytes } from './client.mjs';
import { World } from './world.mjs';

const STATUS = 'status.example.com';
const PARTNER = 'partner.example.com';

/** The responses of the virtual hosts. */
const ANSWERS = { status: 221, partner: 222, rest: 223 };

const ODD = [
  ['HOST-01', ':1'], ['HOST-01', ':8443'], ['HOST-01', ':443'], ['HOST-01', ':65535'],
  ['HOST-02', '.'], ['HOST-02', '.:80'], ['HOST-02', '.:1'], ['HOST-02', ':'], ['HOST-02', ':00080'], ['HOST-02', ':080'],
  ['HOST-02', ':65616'], ['HOST-02', ':0'], ['HOST-04', '@rest.example.com'], ['HOST-04', ',rest.example.com'], ['HOST-04', ':80:80'],
];

describe('a rule of one virtual host', () => {
  let world;
  let token;

  before(async () => {
    world = await World.start({
      configure: (configuration) => {
        configuration.rules = [
          { name: 'status', hosts: [STATUS], accept: 'public' },
          { name: 'partner', hosts: [PARTNER], accept: 'bearer' },
          { name: 'rest', path_prefix: '/', require: { scopes: ['nobody.has.this'] } },
        ];
      },
      alter: (bootstrap) => {
        const [{ filter_chains: [{ filters: [{ typed_config: manager }] }] }] = bootstrap.static_resources.listeners;
        manager.route_config.virtual_hosts = [['status', STATUS], ['partner', PARTNER], ['rest', '*']].map(([name, domain]) => ({
          name, domains: [domain], routes: [{ match: { prefix: '/' }, direct_response: { status: ANSWERS[name] } }],
        }));
      },
    });
    token = await world.token();
  });
  after(() => world.stop());

  const authorization = () => ({ authorization: `Bearer ${token}` });
  const lines = (headers) => Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const bytes = (target, host, headers = {}) => sendBytes(world.port, Buffer.from(`GET ${target} HTTP/1.1\r\nhost: ${host}\r\n${lines(headers)}\r\n`, 'latin1'));

  /** The status of a request for each way to name a host. */
  const everyWay = (authority, headers = {}) => Promise.all([
    bytes('/x', authority, headers),
    bytes(`http://${authority}/x`, 'unheard.example.com', headers),
    send2(world.port, '/x', { headers: { ':authority': authority, ...headers } }).catch(() => ({ status: 0 })),
  ]).then((answers) => answers.map(({ status }) => status));

  test('HOST-03 holds for its host, in any letter case and with the usual port', async () => {
    for (const authority of [STATUS, STATUS.toUpperCase(), `${STATUS}:80`]) {
      assert.deepEqual(await everyWay(authority), [ANSWERS.status, ANSWERS.status, ANSWERS.status], authority);
    }
    for (const authority of [PARTNER, `${PARTNER}:80`]) {
      assert.deepEqual(await everyWay(authority, authorization()), [ANSWERS.partner, ANSWERS.partner, ANSWERS.partner], authority);
    }
  });

  test('HOST-01 HOST-02 HOST-04 HOST-05 opens no other virtual host, however its host is written', async () => {
    for (const [id, ending] of ODD) {
      const anonymous = await everyWay(`${STATUS}${ending}`);
      const known = await everyWay(`${PARTNER}${ending}`, authorization());
      for (const status of [...anonymous, ...known]) {
        assert.ok(status === 0 || (status >= 400 && status < 500), `${id} ${ending}: ${anonymous} ${known}`);
      }
    }
  });

  test('HOST-06 goes by the address in the request line where that and Host differ', async () => {
    assert.equal((await bytes(`http://${STATUS}/x`, 'rest.example.com')).status, ANSWERS.status);
    assert.equal((await bytes('http://rest.example.com/x', STATUS)).status, 401);
    assert.equal((await bytes(`http://${STATUS}:1/x`, STATUS)).status, 400);
    assert.equal((await bytes(`http://${STATUS}/x`, `${STATUS}:1`)).status, ANSWERS.status);
    for (const [authority, host] of [[STATUS, 'rest.example.com'], ['rest.example.com', STATUS]]) {
      const answer = await send2(world.port, '/x', { headers: { ':authority': authority, host } }).catch(() => ({ status: 0 }));
      assert.notEqual(answer.status, ANSWERS.rest, `HTTP/2: ${authority} ${host}`);
    }
  });
});
