// SIGHUP: what changes under live connections, what waits for a restart, and what is refused as a whole.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

import { connect, event, Inbox, subscribe } from './sdk.mjs';
import { Server } from './server.mjs';

const config = {
  client: { token: { hmac_secret_key: 'old-secret' } },
  channel: { namespaces: [{ name: 'old', allow_subscribe_for_client: true }] },
};

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A connection token for `user`, signed with `secret`. */
function token(user, secret) {
  const text = `${encode({ alg: 'HS256' })}.${encode({ sub: user })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

/** A server, and clients that are closed at the end. */
async function start(t) {
  const server = await Server.start({ config });
  const clients = [];
  t.after(async () => {
    clients.forEach((client) => client.disconnect());
    await server.stop();
  });
  const open = (options) => {
    const client = new Centrifuge(server.websocket, { websocket: WebSocket, ...options });
    clients.push(client);
    return client;
  };
  return { server, open };
}

/** A connected client with a subscription, which must stay. */
async function settle(open, options) {
  const client = open(options);
  await connect(client);
  const subscription = await subscribe(client, 'old:room');
  const events = [];
  for (const name of ['connecting', 'disconnected', 'error']) client.on(name, () => events.push(name));
  for (const name of ['subscribing', 'unsubscribed', 'error']) subscription.on(name, () => events.push(name));
  return { client, inbox: new Inbox(subscription, (data) => data), events };
}

/** How a subscription to `channel` ends up. */
async function outcome(client, channel) {
  const subscription = client.newSubscription(channel);
  const result = await new Promise((resolve) => {
    subscription.on('subscribed', () => resolve('subscribed'));
    subscription.on('error', ({ error }) => resolve(error.code));
    subscription.on('unsubscribed', ({ code }) => resolve(code));
    subscription.subscribe();
  });
  subscription.unsubscribe();
  client.removeSubscription(subscription);
  return result;
}

test('namespaces, limits, keys and tokens change under a client that notices nothing', async (t) => {
  const { server, open } = await start(t);
  const { client, inbox, events } = await settle(open, { token: token('ann', 'old-secret') });
  assert.equal(await outcome(client, 'new:room'), 102);

  const said = await server.reload({
    channel: {
      namespaces: [
        { name: 'old', allow_subscribe_for_client: false },
        { name: 'new', allow_subscribe_for_client: true },
      ],
    },
    client: { channel_limit: 2, connection_limit: 2, token: { hmac_secret_key: 'new-secret' } },
    log: { level: 'debug' },
  });
  assert.match(said, /client\.channel_limit changed from 128 to 2/);
  assert.match(said, /client\.token\.hmac_secret_key changed/);
  assert.match(said, /channel\.namespaces changed/);
  assert.doesNotMatch(said, /restart/);
  assert.doesNotMatch(said, /old-secret|new-secret/);

  assert.equal(await outcome(client, 'new:room'), 'subscribed', 'a new namespace');
  assert.equal(await outcome(client, 'old:other'), 103, 'a permission that is gone');
  await subscribe(client, 'new:second');
  assert.equal(await outcome(client, 'new:third'), 106, 'the new limit of channels');

  const late = open({ token: token('bob', 'old-secret') });
  const refused = event(late, 'disconnected');
  late.connect();
  assert.equal((await refused).code, 3500, 'a token with the old key');
  const bob = open({ token: token('bob', 'new-secret') });
  await connect(bob);
  const full = new WebSocket(server.websocket);
  const status = await new Promise((resolve) => {
    full.on('unexpected-response', (_, response) => resolve(response.statusCode));
    full.on('open', () => resolve('open'));
  });
  full.on('error', () => {});
  full.terminate();
  assert.equal(status, 503, 'the new limit of connections');

  await server.reload({ http_api: { key: 'another-key' }, client: { connection_limit: 0 } });
  const call = (key) =>
    fetch(`${server.http}/api/publish`, {
      method: 'POST',
      headers: { 'X-API-Key': key },
      body: JSON.stringify({ channel: 'old:room', data: 'after' }),
    });
  assert.equal((await call('test-key')).status, 401);
  assert.equal((await call('another-key')).status, 200);
  assert.deepEqual(await inbox.whole(1), ['after']);
  assert.deepEqual(events, []);
});

test('a path moves, and an origin is refused, without a restart', async (t) => {
  const { server } = await start(t);
  const knock = (path, headers = {}) =>
    new Promise((resolve) => {
      const socket = new WebSocket(`ws://127.0.0.1:${server.port}${path}`, { headers });
      socket.on('open', () => resolve(101)).on('error', () => {});
      socket.on('unexpected-response', (_, response) => resolve(response.statusCode));
      socket.on('open', () => socket.close());
    });
  assert.equal(await knock('/connection/websocket', { Origin: 'https://other.test' }), 101);
  await server.reload({
    websocket: { handler_prefix: '/ws' },
    client: { allowed_origins: ['https://example.com'] },
  });
  assert.equal(await knock('/connection/websocket'), 404);
  assert.equal(await knock('/ws'), 101);
  assert.equal(await knock('/ws', { Origin: 'https://other.test' }), 403);
  assert.equal(await knock('/ws', { Origin: 'https://example.com' }), 101);
});

test('what takes a restart is named, each time until it is so', async (t) => {
  const { server } = await start(t);
  const { port } = server;
  const warning = new RegExp(`http_server\\.port changed from ${port} to 9: takes effect after a restart`);
  for (let n = 0; n < 2; n++) {
    const said = await server.reload({ http_server: { port: 9 }, node: { name: 'other' } });
    assert.match(said, warning);
    assert.match(said, /node\.name changed from "" to "other": takes effect after a restart/);
    assert.ok((await fetch(`${server.http}/ready`)).ok, 'the port is the old one');
  }
  const said = await server.reload({ http_server: { port }, node: { name: '' } });
  assert.doesNotMatch(said, /restart/);
});

test('a bad configuration is refused as a whole', async (t) => {
  const { server, open } = await start(t);
  const { client, inbox, events } = await settle(open, { token: token('ann', 'old-secret') });
  const bad = (change) => JSON.stringify({ ...server.config, ...change });
  const better = { http_api: { key: 'another-key' } };
  for (const [text, complaint] of [
    ['{"client": ', /config\.json:1:/],
    [bad({ ...better, chanel: {} }), /chanel is not a known key/],
    [bad({ ...better, client: { ...server.config.client, channel_limit: 'many' } }), /client\.channel_limit is "many"/],
    [bad({ ...better, client: { ...server.config.client, token: { rsa_public_key: 'x' } } }), /client\.token\.rsa_public_key/],
    [bad({ ...better, client: { ...server.config.client, allowed_origins: ['a b'] } }), /the origin "a b"/],
    [bad({ ...better, websocket: { handler_prefix: '/health' } }), /websocket\.handler_prefix leads to the path "\/health"/],
  ]) {
    const said = await server.reloadFrom(text);
    assert.match(said, /not reloaded, the old one stays/);
    assert.match(said, complaint);
    assert.ok((await fetch(`${server.http}/ready`)).ok);
    await server.api('info', {}); // by the old key
  }
  assert.equal(await outcome(client, 'old:other'), 'subscribed');
  await server.api('publish', { channel: 'old:room', data: 'as before' });
  assert.deepEqual(await inbox.whole(1), ['as before']);
  assert.deepEqual(events, []);
  const metrics = await (await fetch(`${server.http}/metrics`)).text();
  assert.match(metrics, /^tidegate_reloads_total\{result="rejected"\} 6$/m);
});

test('a log that was moved away goes on in a new file', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-log-'));
  const file = join(folder, 'log');
  const server = await Server.start({ config: { ...config, log: { file } } });
  t.after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });
  renameSync(file, `${file}.1`);
  server.process.kill('SIGHUP');
  const read = () => {
    try {
      return readFileSync(file, 'utf8');
    } catch {
      return ''; // not there yet
    }
  };
  for (const deadline = Date.now() + 20_000; !/was reloaded/.test(read()); await pause(20)) {
    assert.ok(Date.now() < deadline, 'a line in the new file');
  }
  assert.match(readFileSync(`${file}.1`, 'utf8'), /serving http/);
});
