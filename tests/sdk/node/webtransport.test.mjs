// The stock client over WebTransport in a browser, beside one over a WebSocket.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Centrifuge as JsonClient } from 'centrifuge';
import { Centrifuge as ProtobufClient } from 'centrifuge/build/protobuf';
import WebSocket from 'ws';

import { launch } from './browser.mjs';
import { connect, Inbox, subscribe } from './sdk.mjs';
import { freePort, Server } from './server.mjs';

const bundles = fileURLToPath(new URL('./node_modules/centrifuge/dist/', import.meta.url));

let browser;
let folder;
let hash;
let udp;
let config;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-webtransport-'));
  const [cert_pem, key_pem] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const said = execFileSync(process.env.TIDEGATE_BIN, ['cert', '--cert', cert_pem, '--key', key_pem]).toString();
  hash = /SHA-256 +(\S+)/.exec(said)[1];
  assert.ok(said.includes('serverCertificateHashes'), said);
  udp = await freePort();
  config = {
    client: { allowed_origins: ['http://127.0.0.1:*'] },
    webtransport: { enabled: true },
    quic: { port: udp, tls: { enabled: true, cert_pem, key_pem } },
  };
  browser = await launch('--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1');
});

after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A server, a page with a client over WebTransport in it, and a client over a WebSocket. */
async function meet(t, { Client, bundle }, body) {
  const server = await Server.start({ config });
  const context = await browser.newContext({ bypassCSP: true });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const other = new Client(server.websocket, { websocket: WebSocket, timeout: 20_000 });
  t.after(async () => {
    other.disconnect();
    await context.close();
    await server.stop();
  });
  await page.goto(`${server.http}/`);
  await page.addScriptTag({ path: join(bundles, bundle) });
  await page.evaluate(
    ({ udp, hash, binary }) => {
      // The SDK gives no options, and a certificate for development is known by its hash only.
      const Real = globalThis.WebTransport;
      const value = Uint8Array.from(atob(hash), (c) => c.charCodeAt(0));
      globalThis.WebTransport = function (url) {
        globalThis.asked = url;
        return new Real(url, { serverCertificateHashes: [{ algorithm: 'sha-256', value }] });
      };
      const endpoint = `https://127.0.0.1:${udp}/connection/webtransport`;
      globalThis.client = new globalThis.Centrifuge([{ transport: 'webtransport', endpoint }], {
        minReconnectDelay: 50,
        maxReconnectDelay: 200,
        timeout: 20_000,
      });
      globalThis.said = [];
      for (const name of ['connecting', 'connected', 'disconnected', 'error']) {
        client.on(name, (context) => said.push({ name, ...context }));
      }
      globalThis.pack = (data) => (binary ? new TextEncoder().encode(JSON.stringify(data)) : data);
      globalThis.unpack = (data) => (binary ? JSON.parse(new TextDecoder().decode(data)) : data);
    },
    { udp, hash, binary: Client === ProtobufClient },
  );
  await body({ server, page, other });
}

/** What the page's client has said of itself, once it has said `name` so often. */
async function hears(page, name, times = 1) {
  try {
    await page.waitForFunction(([name, times]) => said.filter((one) => one.name === name).length >= times, [
      name,
      times,
    ]);
  } catch (error) {
    throw new Error(`no "${name}" × ${times}: ${JSON.stringify(await page.evaluate(() => said))}`, { cause: error });
  }
  return page.evaluate((name) => said.filter((one) => one.name === name).at(-1), name);
}

for (const [name, Client, bundle] of [
  ['json', JsonClient, 'centrifuge.js'],
  ['protobuf', ProtobufClient, 'centrifuge.protobuf.js'],
]) {
  const pack = (data) => (name === 'json' ? data : new TextEncoder().encode(JSON.stringify(data)));
  const unpack = (data) => (name === 'json' ? data : JSON.parse(new TextDecoder().decode(data)));

  test(`${name}: a page over WebTransport and a client over a WebSocket reach each other`, (t) =>
    meet(t, { Client, bundle }, async ({ page, other }) => {
      await page.evaluate(() => client.connect());
      const connected = await hears(page, 'connected');
      assert.equal(connected.transport, 'webtransport');
      assert.equal((await page.evaluate(() => asked)).includes('cf_protocol=protobuf'), name === 'protobuf');
      await connect(other);
      const subscription = await subscribe(other, 'news');
      const inbox = new Inbox(subscription, unpack);
      await page.evaluate(async () => {
        globalThis.news = client.newSubscription('news');
        globalThis.got = [];
        news.on('publication', ({ data }) => got.push(unpack(data)));
        news.subscribe();
        await news.ready(20_000);
      });
      const long = 'x'.repeat(100_000);
      await subscription.publish(pack({ from: 'websocket' }));
      for (let i = 0; i < 50; i++) await subscription.publish(pack({ i, long: i % 10 ? '' : long.slice(0, 30_000) }));
      await page.waitForFunction(() => got.length === 51);
      const got = await page.evaluate(() => got.map(({ i, from }) => i ?? from));
      assert.deepEqual(got, ['websocket', ...Array.from({ length: 50 }, (_, i) => i)]);
      await page.evaluate(async () => {
        for (let i = 0; i < 50; i++) await news.publish(pack({ i }));
      });
      const numbers = (await inbox.whole(101)).slice(51).map(({ i }) => i);
      assert.deepEqual(numbers, Array.from({ length: 50 }, (_, i) => i));
      await page.evaluate(async () => {
        news.unsubscribe();
        await client.rpc('none', pack({})).catch((error) => (globalThis.refused = error.code));
      });
      assert.equal(await page.evaluate(() => refused), 108);
    }));

  test(`${name}: a page is told why it is closed, and comes back where it may`, (t) =>
    meet(t, { Client, bundle }, async ({ server, page }) => {
      await page.evaluate(() => client.connect());
      await hears(page, 'connected');
      await server.halt();
      await page.waitForFunction(() => said.some(({ name, code }) => name === 'connecting' && code === 3001));
      await server.resume();
      await hears(page, 'connected', 2);
      await server.api('disconnect', { user: '', client: (await hears(page, 'connected')).client });
      const { code, reason } = await hears(page, 'disconnected');
      assert.deepEqual({ code, reason }, { code: 3503, reason: 'force disconnect' });
    }));
}

test('pages of other origins are turned away, and other paths', (t) =>
  meet(t, { Client: JsonClient, bundle: 'centrifuge.js' }, async ({ server, page }) => {
    await page.goto(`http://localhost:${server.port}/`);
    const open = (path) =>
      page.evaluate(
        async ({ url, hash }) => {
          const value = Uint8Array.from(atob(hash), (c) => c.charCodeAt(0));
          const session = new WebTransport(url, { serverCertificateHashes: [{ algorithm: 'sha-256', value }] });
          session.closed.catch(() => {});
          return session.ready.then(() => 'open').catch(() => 'refused');
        },
        { url: `https://127.0.0.1:${udp}${path}`, hash },
      );
    assert.equal(await open('/connection/webtransport'), 'refused');
    await page.goto(`${server.http}/`);
    assert.equal(await open('/elsewhere'), 'refused');
    assert.equal(await open('/connection/webtransport'), 'open');
  }));
