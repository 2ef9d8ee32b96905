// TLS, and the two ports: stock clients over wss://, with certificates made here.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:https';
import { connect as plain } from 'node:net';
import { test } from 'node:test';
import { connect as dial } from 'node:tls';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import WebSocket from 'ws';

import { launch } from './browser.mjs';
import { certificate } from './certificate.mjs';
import { connect, each, event, Inbox, subscribe } from './sdk.mjs';
import { freePort, Server } from './server.mjs';

const first = certificate('first');
const second = certificate('second');
const third = certificate('third');

/** A public port with TLS, and an internal one without. */
async function options({ cert_pem = first.cert, key_pem = first.key, ...more } = {}) {
  const tls = { enabled: true, cert_pem, key_pem };
  return { config: { http_server: { internal_port: await freePort(), tls_external: true, tls }, ...more } };
}

/** The class `ws`, trusting these certificates only. */
function trusting(...certificates) {
  return class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { ca: certificates.map(({ cert }) => cert) });
    }
  };
}

/** The name in the certificate that the server shows now. */
function shown(server) {
  return new Promise((resolve, reject) => {
    const socket = dial({ host: '127.0.0.1', port: server.port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.end();
    });
    socket.on('error', reject);
  });
}

/** The status of a request to the public port. */
function status(server, path) {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: server.port, path, ca: first.cert }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on('error', reject).end();
  });
}

each(
  'a client publishes and receives over wss',
  async ({ server, open, pack, unpack }) => {
    const client = open({ websocket: trusting(first) });
    await connect(client);
    const inbox = new Inbox(await subscribe(client, 'news'), unpack);
    await client.publish('news', pack({ from: 'client' }));
    // Larger than a TLS record, and than what is copied at a time.
    const large = { text: 'x'.repeat(40_000) };
    await server.api('publish', { channel: 'news', data: large });
    assert.deepEqual(await inbox.whole(2), [{ from: 'client' }, large]);
  },
  await options(),
);

each(
  'a client over wss that stops reading is judged, and others are not',
  async ({ server, open, unpack }) => {
    let raw;
    const keeping = class extends trusting(first) {
      constructor(...args) {
        super(...args);
        raw = this;
      }
    };
    const stalled = open({ websocket: keeping, minReconnectDelay: 60_000, maxReconnectDelay: 60_000 });
    await connect(stalled);
    await subscribe(stalled, 'flood');
    const healthy = open({ websocket: trusting(first) });
    await connect(healthy);
    const inbox = new Inbox(await subscribe(healthy, 'flood'), unpack);
    raw.pause();
    const data = { text: 'x'.repeat(50_000) };
    for (let n = 1; n <= 60; n++) {
      await server.api('publish', { channel: 'flood', data });
      await inbox.whole(n);
    }
    const left = async () => (await server.api('info', {})).nodes[0].num_clients === 1;
    for (const deadline = Date.now() + 20_000; !(await left()); ) {
      assert.ok(Date.now() < deadline, 'the stalled client is closed');
    }
    const metrics = await (await fetch(`${server.http}/metrics`)).text();
    assert.match(metrics, /^tidegate_closes_total\{code="3008"\} 1$/m);
    const lost = event(stalled, 'connecting');
    raw.resume();
    await lost;
  },
  await options({
    client: { queue_max_size: 65_536, stalled_close_delay: '2s' },
    websocket: { write_timeout: '200ms' },
    channel: { without_namespace: { window_bytes: 4_194_304 } },
  }),
);

test('peers that never shake hands make room for those that do', async (t) => {
  const { config } = await options();
  const limits = { connection_limit: 8, ip_connection_limit: 0 };
  const server = await Server.start({ config: { http_server: { ...config.http_server, ...limits } } });
  const silent = [];
  t.after(async () => {
    silent.forEach((socket) => socket.destroy());
    await server.stop();
  });
  for (let n = 0; n < 20; n++) {
    silent.push(plain(server.port, '127.0.0.1').on('error', () => {}));
    await once(silent[n], 'connect');
  }
  assert.equal(await status(server, '/'), 200);
  assert.ok(silent.some((socket) => socket.destroyed) || (await once(silent[0], 'close')));
});

test('API, metrics and health stand on the internal port, clients on the public one', async (t) => {
  const server = await Server.start(await options());
  t.after(() => server.stop());
  assert.deepEqual(await Promise.all(['/', '/page.js'].map((path) => status(server, path))), [200, 200]);
  for (const path of ['/health', '/ready', '/metrics', '/api/info']) {
    assert.equal(await status(server, path), 404, `public ${path}`);
    const expected = path.startsWith('/api') ? 405 : 200;
    assert.equal((await fetch(`${server.http}${path}`)).status, expected, `internal ${path}`);
  }
  for (const path of ['/', '/connection/websocket']) {
    assert.equal((await fetch(`${server.http}${path}`)).status, 404, `internal ${path}`);
  }
  // http_api.external takes no restart.
  await server.reload({ http_api: { external: true } });
  assert.equal(await status(server, '/api/info'), 405);
  assert.equal(await status(server, '/metrics'), 404);
  await server.api('info', {});
});

test('while clients are sent away, the internal port still answers', async (t) => {
  const { config } = await options();
  const server = await Server.start({ config: { ...config, shutdown: { spread: '6s' } } });
  // Two, so that the second is sent away after half of the time.
  const clients = await Promise.all([live(server, trusting(first)), live(server, trusting(first))]);
  t.after(() => clients.forEach(({ sdk }) => sdk.disconnect()));
  const gone = new Promise((resolve) => clients.forEach(({ sdk }) => sdk.on('connecting', resolve)));
  const stopped = server.stop();
  assert.equal((await gone).code, 3001);
  clients.forEach(({ sdk }) => sdk.on('error', () => {}));
  const get = async (path) => (await fetch(`${server.http}${path}`)).status;
  assert.deepEqual(await Promise.all(['/ready', '/health', '/metrics'].map(get)), [503, 200, 200]);
  await assert.rejects(server.api('publish', { channel: 'live', data: 1 }), /108/);
  clients.forEach(({ sdk }) => sdk.disconnect());
  await stopped;
});

test('the page works over TLS', async (t) => {
  const server = await Server.start(await options());
  const browser = await launch('--disable-quic');
  t.after(async () => {
    await browser.close();
    await server.stop();
  });
  const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (/Content.Security.Policy|blocked|refused/i.test(message.text())) complaints.push(message.text());
  });
  await page.goto(`https://127.0.0.1:${server.port}/`);
  await page.waitForFunction(() => document.querySelector('#state').textContent.trim() === 'connected');
  await page.fill('#channel', 'page');
  await page.click('#subscribe');
  await page.fill('#message', 'over TLS');
  await page.click('#publish');
  await page.waitForFunction(() => document.querySelector('#messages').textContent.includes('over TLS'));
  assert.deepEqual(complaints, []);
});

test('a certificate is replaced under a live connection; a bad one is not taken', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-tls-'));
  const [cert_pem, key_pem] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const write = ({ cert, key }) => {
    writeFileSync(cert_pem, cert);
    writeFileSync(key_pem, key);
  };
  write(first);
  const server = await Server.start(await options({ cert_pem, key_pem }));
  const client = await live(server, trusting(first, second, third));
  t.after(async () => {
    client.sdk.disconnect();
    await server.stop();
    rmSync(folder, { recursive: true });
  });
  assert.equal(await shown(server), 'first');

  write(second);
  assert.match(await server.reload(), /http_server\.tls: a new certificate is in use/);
  assert.equal(await shown(server), 'second');

  for (const [broken, complaint] of [
    [{ cert: third.cert, key: second.key }, /http_server\.tls cannot be used: .*KeyMismatch/],
    [{ cert: 'nonsense', key: third.key }, /http_server\.tls\.cert_pem has no certificate in PEM/],
  ]) {
    write(broken);
    const said = await server.reload();
    assert.match(said, /not reloaded/);
    assert.match(said, complaint);
    assert.equal(await shown(server), 'second');
  }

  // And without a signal, where the files are looked at in between.
  const from = server.output.length;
  await server.reloadFrom(JSON.stringify(server.config)); // still broken: the interval is not taken either
  write(second);
  await server.reload({ http_server: { tls_check_interval: '100ms' } });
  write(third);
  await server.logged(/http_server\.tls: a new certificate is in use/, from);
  assert.equal(await shown(server), 'third');

  await client.undisturbed();
});

/** A client that is connected and subscribed, and says whether it stayed so. */
async function live(server, websocket) {
  const { Centrifuge } = await import('centrifuge');
  const sdk = new Centrifuge(server.websocket, { websocket });
  const before = await connect(sdk);
  const events = [];
  for (const name of ['connecting', 'disconnected', 'error']) sdk.on(name, () => events.push(name));
  const subscription = await subscribe(sdk, 'live');
  for (const name of ['subscribing', 'unsubscribed']) subscription.on(name, () => events.push(name));
  const inbox = new Inbox(subscription, (data) => data);
  return {
    sdk,
    async undisturbed() {
      await server.api('publish', { channel: 'live', data: 'still here' });
      assert.deepEqual(await inbox.whole(1), ['still here']);
      assert.deepEqual(events, []);
      assert.ok(before.client);
    },
  };
}
