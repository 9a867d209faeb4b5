// What a login preserves, and repeated responses, in an Envoy with two workers.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { NAVIGATION } from './client.mjs';
import { World } from './world.mjs';

const FORM = { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' };
/** So many connections that each worker gets some. */
const REQUESTS = 12;

/** An attribute of the first element that has it, after `mark`. */
function attribute(page, mark, name) {
  const element = page.text.split(mark)[1] ?? assert.fail(`no ${mark}: ${page.text}`);
  const value = new RegExp(`${name}="([^"]*)"`).exec(element)[1];
  return value.replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&amp;', '&');
}

/** A page of the site submits a form from this browser. */
const sendForm = (browser, url, body, headers = {}) => browser.request(url, {
  method: 'POST', headers: { ...NAVIGATION, ...FORM, ...headers }, body,
});

/** From the response that preserves a form to the page that restores it. */
async function logInFor(browser, kept, user = 'alice') {
  const question = await browser.get(attribute(kept, 'id="to"', 'value'));
  return /id="kept"/.test(question.text) ? question : browser.submit(question, { login: user, password: user });
}

/** The form that the script of the page posts. */
const brought = (kept, landed) => new URLSearchParams({
  kept: attribute(kept, 'id="form"', 'value'), login: attribute(landed, 'name="login"', 'value'),
}).toString();

const codes = (answers) => answers.map(({ status, text }) => `${status} ${/Code <code>(\w+)/.exec(text)?.[1] ?? ''}`.trim()).sort();

describe('over a login', () => {
  let world;
  before(async () => {
    world = await World.start({ concurrency: 2 });
  });
  after(() => world?.stop());

  test('REDIR-12 a form is preserved, and sent once by all workers together', async () => {
    for (let round = 0; round < 4; round += 1) {
      const browser = world.browser();
      const kept = await sendForm(browser, `${world.site}/orders?round=${round}`, 'a=1&b=%22%0D%0A');
      assert.equal(kept.status, 401);
      assert.match(kept.header('content-security-policy'), /^default-src 'none'; .*script-src 'sha256-[^']{44}'$/);
      const landed = await logInFor(browser, kept);
      assert.equal(landed.status, 200, landed.text);
      const body = brought(kept, landed);
      // All at once, on separate connections: one of them gets the form.
      const answers = await Promise.all(Array.from({ length: REQUESTS }, () => sendForm(browser, `${world.site}/oidc/restore`, body)));
      assert.deepEqual(codes(answers), ['200', ...Array.from({ length: REQUESTS - 1 }, () => '400 kept_form_sent_before')]);
      const page = answers.find(({ status }) => status === 200);
      assert.equal(attribute(page, '<form', 'action'), `/orders?round=${round}`);
      assert.ok(page.text.includes('name="b" value="&quot;&#13;&#10;"'), page.text);
    }
    assert.equal(world.upstream.requests.filter(({ method }) => method === 'POST').length, 0, 'it is the browser that sends it');
  });

  test('REDIR-12 no other person and no other site gets a form', async () => {
    const [alice, bob] = [world.browser(), world.browser()];
    const kept = await sendForm(alice, `${world.site}/orders`, 'a=1');
    const baited = await sendForm(bob, `${world.site}/transfer`, 'to=bob');
    const landed = await logInFor(alice, kept);
    const elsewhere = await logInFor(bob, baited, 'bob');
    const give = (body, headers) => sendForm(alice, `${world.site}/oidc/restore`, body, headers);
    assert.deepEqual(codes([
      await give(brought(baited, elsewhere)),
      await give(brought(baited, landed)),
      await give(brought(kept, landed), { 'sec-fetch-site': 'cross-site' }),
    ]), ['400 kept_form_not_opened', '403 cross_site', '403 kept_form_other_person']);
    assert.equal((await give(brought(kept, landed))).status, 200);
  });

  test('a cross-site form is not preserved', async () => {
    for (const headers of [{ 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }, { 'sec-fetch-dest': 'iframe' }]) {
      const answer = await sendForm(world.browser(), `${world.site}/orders`, 'a=1', headers);
      assert.deepEqual([...codes([answer]), answer.all('set-cookie')], ['401 not_logged_in', []]);
    }
  });

  test('a large form is preserved whole, and a larger one is not', async () => {
    const browser = world.browser();
    const value = 'x'.repeat(64 * 1024 - 2);
    const kept = await sendForm(browser, `${world.site}/orders`, `a=${value}`);
    const page = await sendForm(browser, `${world.site}/oidc/restore`, brought(kept, await logInFor(browser, kept)));
    assert.ok(page.text.includes(`name="a" value="${value}"`));
    const larger = await sendForm(world.browser(), `${world.site}/orders`, `a=${value}y`);
    assert.deepEqual(codes([larger]), ['401 not_logged_in']);
    assert.match(larger.text, /not lost yet/);
  });

  test('a replayed authorization response leads to its page, or to a login for it', async () => {
    const browser = world.browser();
    const callback = await browser.untilCallback(`${world.site}/orders?page=2`);
    assert.equal((await browser.get(callback)).status, 200);
    for (let time = 0; time < REQUESTS; time += 1) {
      const again = await browser.request(callback);
      assert.deepEqual([again.status, again.header('location')], [302, '/orders?page=2']);
    }
    const stranger = await world.browser().request(callback);
    assert.deepEqual(codes([stranger]), ['400 login_no_cookie']);
    assert.ok(stranger.text.includes('/oidc/login?return_to=%2Forders%3Fpage%3D2'), stranger.text);
    assert.ok(stranger.all('set-cookie').every((cookie) => cookie.includes('Max-Age=0')));
  });

  test('a script reads who is logged in from every worker, and other sites cannot', async () => {
    const browser = world.browser();
    const script = { accept: '*/*', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin' };
    const fetchInfo = (method = 'GET', headers = {}) => browser.request(`${world.site}/oidc/session`, { method, headers: { ...script, ...headers } });
    const before = await fetchInfo();
    assert.deepEqual([before.status, before.header('content-type'), before.json().login], [401, 'application/problem+json', '/oidc/login']);
    await browser.login(`${world.site}/`);
    const answers = await Promise.all(Array.from({ length: REQUESTS }, (_, at) => fetchInfo(at % 2 ? 'GET' : 'POST')));
    for (const answer of answers) {
      assert.equal(answer.status, 200);
      assert.match(answer.header('cache-control'), /no-store/);
      assert.equal(answer.header('access-control-allow-origin'), undefined);
      assert.deepEqual(answer.json().claims, { sub: 'alice' });
      assert.deepEqual(Object.keys(answer.json()).sort(), ['claims', 'expires_in', 'idle_expires_in', 'logged_in', 'login', 'logout']);
    }
    for (const method of ['GET', 'POST']) {
      const answer = await fetchInfo(method, { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' });
      assert.deepEqual([answer.status, answer.json().code], [403, 'cross_site']);
    }
  });
});

test('where Envoy withholds the body, a form is not preserved and a page says so', { timeout: 60_000 }, async () => {
  const world = await World.start({ plugin: {} });
  try {
    const answer = await sendForm(world.browser(), `${world.site}/orders`, 'a=1');
    assert.equal(answer.status, 401);
    assert.match(answer.text, /not lost yet/);
    assert.deepEqual(answer.all('set-cookie'), []);
    assert.match(world.envoy.stderr, /not preserved over a login.*allow_on_headers_stop_iteration/);
    assert.equal(world.upstream.requests.length, 0);
  } finally {
    await world.stop();
  }
});
