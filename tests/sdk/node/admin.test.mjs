// The admin page, as an operator uses it, with clients and enemies at the other end.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

import { launch } from './browser.mjs';
import { connect, event, subscribe } from './sdk.mjs';
import { Server } from './server.mjs';

const password = 'a password of the tests';
const tokens = 'a key of the tests';
const hostile = '<script>window.hacked=1</script>';
const image = '"><img src=x onerror="window.hacked=1">';

let browser;
let server;
const clients = [];

before(async () => {
  server = await Server.start({
    config: {
      admin: { enabled: true, password, secret: 'a secret of the tests' },
      client: { token: { hmac_secret_key: tokens }, stalled_close_delay: '60s', queue_max_size: 8 << 20 },
      channel: { without_namespace: { window_bytes: 8 << 20 } },
    },
  });
  browser = await launch('--disable-quic');
});

after(async () => {
  clients.forEach((client) => client.disconnect());
  await browser?.close();
  await server?.stop();
});

test('nothing answers without a session, or to the page of another site', async () => {
  for (const path of ['channels', 'connections', 'stats', 'live?channel=news', 'session']) {
    const reply = await fetch(`${server.http}/admin/${path}`);
    assert.equal(reply.status, 401, path);
  }
  const post = (path, headers, body = {}) =>
    fetch(`${server.http}/admin/${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  for (const method of ['publish', 'disconnect', 'unsubscribe', 'info', 'channels', 'batch']) {
    assert.equal((await post(`api/${method}`, {}, { channel: 'news', data: 1 })).status, 401, method);
    assert.equal((await post(`api/${method}`, { 'X-API-Key': 'test-key' })).status, 401, method);
  }
  assert.equal((await post('login', {}, { password: 'wrong' })).status, 401);
  assert.equal((await post('login', { Origin: 'https://evil.example' }, { password })).status, 403);
  assert.equal((await post('login', { 'Sec-Fetch-Site': 'cross-site' }, { password })).status, 403);
  assert.equal((await post('login', { 'Content-Type': 'text/plain' }, { password })).status, 415);
  const demo = await fetch(`${server.http}/demo`);
  assert.match(await demo.text(), /<title>Tidegate<\/title>/);
});

test('an operator signs in, looks around, publishes, and sends a client away', async () => {
  const page = await visit();
  await page.waitForSelector('#login:not([hidden])');
  await page.fill('#password', 'not the password');
  await page.click('#login-form button');
  await shows(page, '#error', 'not the password');
  await page.fill('#password', password);
  await page.click('#login-form button');
  await page.waitForSelector('#desk:not([hidden])');
  await shows(page, '#link', 'live');
  await shows(page, '#channels-empty', 'Nobody is subscribed');
  await shows(page, '#connections-empty', 'No client is connected');

  const reader = open();
  const { client } = await connect(reader);
  const news = await subscribe(reader, 'news');
  const others = await populate();
  await shows(page, '#channels', 'news');
  await shows(page, '#connections', client);
  await shows(page, '#figure-connections .value', '6');

  await page.fill('#connections-search', client.slice(0, 13));
  await shows(page, '#connections-count', '1 of 1 that match');
  await page.fill('#connections-search', '');

  // What is published by hand comes to the client and into the live view.
  await page.click('#channels button:text-is("news")');
  await shows(page, '#live-state', 'watching');
  const published = event(news, 'publication');
  await page.fill('#data', '{"price": 12345678901234567890, "text": "by hand"}');
  await page.click('#publish');
  assert.equal((await published).data.text, 'by hand');
  await shows(page, '#live', '12345678901234567890');
  assert.equal(await page.inputValue('#data'), '');
  await server.api('publish', { channel: 'news', data: { headline: 'Spring tide at noon', level: 4.2 } });
  await shows(page, '#live', 'Spring tide');
  for (let n = 1; n <= 3; n++) await news.publish({ from: 'a client', n });
  await shows(page, '#live', `client ${client.slice(0, 8)}`);

  if (process.env.UPDATE_PICTURES === '1') await work(page, others.at(-1), 24);

  // One that does not read is seen to be behind: it answers for itself although nothing can be written to it.
  const slow = await stall('prices/eur');
  await page.waitForSelector('#connections .tag:text-is("stalled")');
  await page.selectOption('#channels-order', 'behind');
  await page.waitForFunction(() => document.querySelector('#channels tr').textContent.startsWith('prices/eur'));
  await page.waitForFunction(() => document.querySelector('#figure-behind .value').textContent !== '0');
  if (process.env.UPDATE_PICTURES === '1') await picture(page, others.at(-1));
  slow.terminate();

  // Its subscription can be ended, and it can be sent away: it does not come back.
  await page.click(`#connections button.name:text-is("${client}")`);
  const ended = event(news, 'unsubscribed');
  await page.click(`button[aria-label="Unsubscribe ${client} from news"]`);
  await page.click('#confirm-yes');
  assert.equal((await ended).code, 2000);
  const gone = event(reader, 'disconnected');
  await page.click(`button[aria-label="Disconnect ${client}"]`);
  await page.click('#confirm-yes');
  assert.equal((await gone).code, 3503);
  await page.waitForFunction((id) => !document.querySelector('#connections').textContent.includes(id), client);

  await page.click('#signout');
  await page.waitForSelector('#login:not([hidden])');
  assert.equal(await page.textContent('#connections'), '');
  await page.reload();
  await page.waitForSelector('#login:not([hidden])');
  assert.deepEqual(page.errors, []);
});

test('hostile names and payloads are text, and nothing else', async () => {
  const page = await visit();
  await signIn(page);
  const enemy = open({ name: hostile });
  await connect(enemy);
  const channel = `a${image}`.slice(0, 200);
  const subscription = await subscribe(enemy, channel);
  await subscribe(enemy, hostile);
  await shows(page, '#channels', hostile);
  await shows(page, '#channels', image);
  await page.click(`#channels button >> text=${image}`);
  await shows(page, '#live-state', 'watching');
  await subscription.publish(hostile);
  await subscription.publish({ html: image });
  await shows(page, '#live', hostile);
  await shows(page, '#live', 'onerror');
  // A name that turns the direction of what follows is shown for what it is.
  await server.api('publish', { channel, data: 'safe\u202egpj.exe' });
  await shows(page, '#live', 'safe\\u{202e}gpj.exe');
  for (const button of await page.$$('#connections button.name[aria-expanded=false]')) await button.click();
  await shows(page, '#connections', image);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.evaluate(() => document.querySelectorAll('main script, main img').length), 0);
  assert.deepEqual(page.errors, []);
});

test('the page says when the server has gone, and goes on when it is back', async () => {
  const page = await visit();
  await signIn(page);
  await page.fill('#channel', 'nowhere:at-all');
  await page.click('#watch');
  await shows(page, '#error', 'names a namespace');
  clients.forEach((client) => client.disconnect());
  await server.halt();
  await shows(page, '#link', 'not connected');
  await shows(page, '#error', 'cannot be reached');
  await server.resume();
  // The session is signed, not remembered: it outlives a restart.
  await shows(page, '#link', 'live');
  await page.waitForFunction(() => document.querySelector('#error').textContent === '');
  // Another password ends everybody's session, without a restart.
  await server.reload({ admin: { password: 'another one' } });
  await page.waitForSelector('#login:not([hidden])');
  await shows(page, '#note', 'Your session is over');
  assert.deepEqual(page.errors, []);
});

async function visit() {
  const page = await (await browser.newContext({ viewport: { width: 1320, height: 1060 } })).newPage();
  page.setDefaultTimeout(20_000);
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(error));
  page.on('console', (message) => {
    if (/Content Security Policy/.test(message.text())) page.errors.push(message.text());
  });
  await page.goto(`${server.http}/`);
  return page;
}

async function signIn(page) {
  await page.fill('#password', password);
  await page.click('#login-form button');
  await shows(page, '#link', 'live');
}

function open(options) {
  const client = new Centrifuge(server.websocket, { websocket: WebSocket, timeout: 20_000, ...options });
  clients.push(client);
  return client;
}

/** Five more clients in some channels. */
async function populate() {
  const names = ['news', 'harbour/tides', 'orders', 'chat/lobby', 'prices/eur', 'fleet/7'];
  return Promise.all(
    ['anna', 'ben', 'carol', 'dmitri', 'eve'].map(async (user, at) => {
      const client = open({ token: tokenOf(user) });
      await connect(client);
      return Promise.all(names.slice(0, at + 2).map((name) => subscribe(client, name)));
    }),
  );
}

/** A client that stops reading, and what is published until its socket takes nothing more. */
async function stall(channel) {
  const socket = new WebSocket(server.websocket);
  const messages = [];
  socket.on('message', (data) => messages.push(data.toString()));
  await once(socket, 'open');
  socket.send(JSON.stringify({ id: 1, connect: { token: tokenOf('sleepy') } }));
  socket.send(JSON.stringify({ id: 2, subscribe: { channel } }));
  while (!messages.some((message) => message.includes('"subscribe"'))) await once(socket, 'message');
  socket.pause();
  const data = 'x'.repeat(256 << 10);
  for (let n = 0; ; n++) {
    assert.ok(n < 200, 'a socket that nobody reads from takes no 50 MiB');
    await server.api('publish', { channel, data });
    if ((await behind()) > 0) return socket;
  }
}

/** How many subscribers are behind, and stay so: others are only on their way. */
async function behind() {
  let behind = 0;
  for (let look = 0; look < 2; look++) {
    await new Promise((resolve) => setTimeout(resolve, 60));
    const metrics = await (await fetch(`${server.http}/metrics`)).text();
    behind = Number(metrics.match(/^tidegate_subscribers_behind (\d+)/m)[1]);
    if (behind === 0) break;
  }
  return behind;
}

function tokenOf(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user })}`;
  return `${signed}.${createHmac('sha256', tokens).update(signed).digest('base64url')}`;
}

/** Publications for some seconds, so that the picture has something to show. */
async function work(page, subscriptions, seconds) {
  for (let second = 0; second < seconds; second++) {
    const burst = 24 + Math.round(12 * Math.sin(second / 3) + 6 * Math.random());
    await Promise.all([...Array(burst)].map((_, n) => subscriptions[(n * n) % 4].publish({ tick: second * 50 + n })));
    await page.waitForTimeout(900);
  }
}

/** A node at work, for the README. */
async function picture(page, subscriptions) {
  await page.click('#channels button:text-is("fleet/7")');
  await shows(page, '#live-state', 'watching');
  await page.click('#connections tr:has(.tag) button.name');
  for (const data of [
    { vessel: 'Anna', berth: 7, state: 'moored' },
    'pilot on board',
    { vessel: 'Njord', position: [53.55, 9.97], knots: 11.4 },
    { vessel: 'Anna', berth: 7, state: 'loading', containers: 212 },
    { vessel: 'Njord', position: [53.54, 9.94], knots: 9.1 },
    { vessel: 'Brise', eta: '14:20', draught: 8.3 },
  ]) {
    await (data.knots ? subscriptions.at(-1).publish(data) : server.api('publish', { channel: 'fleet/7', data }));
    await work(page, subscriptions, 1);
  }
  await page.mouse.move(0, 0);
  await page.evaluate(() => document.activeElement.blur());
  await work(page, subscriptions, 2);
  await page.screenshot({ fullPage: true, path: fileURLToPath(new URL('../../../docs/admin.png', import.meta.url)) });
  await page.emulateMedia({ colorScheme: 'dark' });
  if (process.env.DARK_PICTURE) await page.screenshot({ fullPage: true, path: process.env.DARK_PICTURE });
  await page.emulateMedia({ colorScheme: 'light' });
}

function shows(page, place, text) {
  return page.waitForFunction(
    ([place, text]) => document.querySelector(place).textContent.includes(text),
    [place, text],
  );
}
