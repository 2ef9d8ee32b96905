// The stock client over HTTP streaming and SSE, which it falls back to where WebSockets do not get through.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { Centrifuge as JsonClient } from 'centrifuge';
import { Centrifuge as ProtobufClient } from 'centrifuge/build/protobuf';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';

import { connect, event, Inbox, subscribe } from './sdk.mjs';
import { freePort, Server } from './server.mjs';

const json = { Client: JsonClient, pack: (value) => value, unpack: (data) => data };
const protobuf = {
  Client: ProtobufClient,
  pack: (value) => new TextEncoder().encode(JSON.stringify(value)),
  unpack: (data) => JSON.parse(new TextDecoder().decode(data)),
};
const transports = [
  { name: 'http_stream', encoding: 'json', ...json },
  { name: 'http_stream', encoding: 'protobuf', ...protobuf },
  { name: 'sse', encoding: 'json', ...json },
];
const config = { http_stream: { enabled: true }, sse: { enabled: true } };

/** A token that lives for so many seconds, and up to one more. */
function token(seconds) {
  const part = (value) => Buffer.from(value).toString('base64url');
  const claims = { sub: '42', exp: Math.ceil(Date.now() / 1000) + seconds };
  const signed = `${part('{"alg":"HS256","typ":"JWT"}')}.${part(JSON.stringify(claims))}`;
  return `${signed}.${createHmac('sha256', 'secret').update(signed).digest('base64url')}`;
}

/** A test over each of these transports, with a server of its own, which must end well. */
function each(name, body, changes = {}) {
  for (const { name: transport, encoding, Client, pack, unpack } of transports) {
    test(`${transport}, ${encoding}: ${name}`, async (t) => {
      const server = await Server.start({ config: { ...config, ...changes } });
      const clients = [];
      t.after(async () => {
        clients.forEach((client) => client.disconnect());
        await server.stop();
      });
      const open = (options = {}, before = []) => {
        const endpoints = [...before, { transport, endpoint: `${server.http}/connection/${transport}` }];
        const client = new Client(endpoints, {
          eventsource: EventSource,
          emulationEndpoint: `${server.http}/emulation`,
          timeout: 20_000,
          minReconnectDelay: 50,
          maxReconnectDelay: 200,
          ...options,
        });
        clients.push(client);
        return client;
      };
      await body({ server, open, pack, unpack, transport });
    });
  }
}

each('connects, subscribes, publishes and calls', async ({ server, open, pack, unpack, transport }) => {
  const client = open();
  const context = await connect(client);
  assert.equal(context.transport, transport);
  const subscription = await subscribe(client, 'news');
  const inbox = new Inbox(subscription, unpack);
  await server.api('publish', { channel: 'news', data: { from: 'api' } });
  await subscription.publish(pack({ from: 'client' }));
  assert.deepEqual(await inbox.whole(2), [{ from: 'api' }, { from: 'client' }]);
  const { clients } = await subscription.presence();
  assert.deepEqual(Object.keys(clients), [context.client]);
  assert.equal((await subscription.presenceStats()).numClients, 1);
  await assert.rejects(client.rpc('none', pack({})), { code: 108 });
  subscription.unsubscribe();
  assert.equal(subscription.state, 'unsubscribed');
}, {
  channel: {
    without_namespace: { presence: true, allow_presence_for_client: true, allow_presence_for_anonymous: true },
  },
});

each('reads history and recovers what it missed', async ({ server, open, unpack, transport }) => {
  const client = open();
  await connect(client);
  const subscription = await subscribe(client, 'log:a');
  const inbox = new Inbox(subscription, unpack);
  await server.api('publish', { channel: 'log:a', data: 1 });
  await inbox.whole(1);
  const { publications } = await subscription.history({ limit: 10 });
  assert.deepEqual(publications.map(({ data }) => unpack(data)), [1]);

  const gone = event(client, 'disconnected');
  client.disconnect();
  await gone;
  await server.api('publish', { channel: 'log:a', data: 2 });
  await server.api('publish', { channel: 'log:a', data: 3 });
  const recovered = event(subscription, 'subscribed');
  await connect(client);
  const { wasRecovering, recovered: whole } = await recovered;
  assert.deepEqual({ wasRecovering, whole }, { wasRecovering: true, whole: true });
  assert.deepEqual(await inbox.whole(3), [1, 2, 3], transport);
}, {
  channel: {
    namespaces: [{
      name: 'log', history_size: 10, history_ttl: '60s', force_recovery: true,
      allow_subscribe_for_client: true, allow_history_for_client: true,
      allow_subscribe_for_anonymous: true, allow_history_for_anonymous: true,
    }],
  },
});

each('40 subscriptions and as many publications at once', async ({ open, pack, unpack }) => {
  const client = open();
  const subscriptions = Array.from({ length: 40 }, (_, n) => client.newSubscription(`many-${n}`));
  const inboxes = subscriptions.map((subscription) => new Inbox(subscription, unpack));
  subscriptions.forEach((subscription) => subscription.subscribe());
  client.connect();
  await Promise.all(subscriptions.map((subscription) => subscription.ready(20_000)));
  await Promise.all(subscriptions.map(({ channel }) => client.publish(channel, pack({ to: channel }))));
  for (const [n, inbox] of inboxes.entries()) assert.deepEqual(await inbox.whole(1), [{ to: `many-${n}` }]);
});

each('answers pings', async ({ open }) => {
  const client = open();
  let left = false;
  client.on('connecting', ({ code }) => (left ||= code !== 0));
  await connect(client);
  // Several pings: who does not answer the first is gone before the second.
  await pause(2200);
  assert.equal(client.state, 'connected');
  assert.equal(left, false);
}, { client: { ping_interval: '1s', pong_timeout: '400ms' } });

each('comes back when the server restarts', async ({ server, open, unpack }) => {
  const client = open();
  const first = await connect(client);
  const subscription = await subscribe(client, 'news');
  const inbox = new Inbox(subscription, unpack);
  const connecting = event(client, 'connecting');
  await server.halt();
  const { code, reason } = await connecting;
  assert.deepEqual({ code, reason }, { code: 3001, reason: 'shutdown' });
  const subscribed = event(subscription, 'subscribed');
  const connected = event(client, 'connected');
  await server.resume();
  assert.notEqual((await connected).client, first.client);
  await subscribed;
  await server.api('publish', { channel: 'news', data: { after: 'restart' } });
  assert.deepEqual(await inbox.whole(1), [{ after: 'restart' }]);
});

each('is told why it is closed', async ({ server, open }) => {
  const client = open();
  const { client: id } = await connect(client);
  const disconnected = event(client, 'disconnected');
  await server.api('disconnect', { user: '', client: id, disconnect: { code: 4500, reason: 'enough' } });
  const { code, reason } = await disconnected;
  assert.deepEqual({ code, reason }, { code: 4500, reason: 'enough' });
});

each('refreshes its token', async ({ open }) => {
  const asked = { times: 0 };
  // The next one is asked for when the last was taken, with the life that its reply tells.
  const twice = new Promise((resolve) => (asked.resolve = resolve));
  const client = open({
    token: token(1),
    getToken: async () => {
      asked.times += 1;
      if (asked.times === 2) asked.resolve();
      return token(1);
    },
  });
  await connect(client);
  await twice;
  assert.equal(client.state, 'connected');
}, { client: { token: { hmac_secret_key: 'secret' } } });

each('is refused with an error that it is told', async ({ open }) => {
  const client = open({ token: 'not a token' });
  const disconnected = event(client, 'disconnected');
  client.connect();
  assert.equal((await disconnected).code, 3500);
});

each('is fallen back to from a WebSocket that fails', async ({ server, open, unpack, transport }) => {
  const nowhere = { transport: 'websocket', endpoint: `ws://127.0.0.1:${await freePort()}/connection/websocket` };
  const elsewhere = { transport: 'websocket', endpoint: `ws://127.0.0.1:${server.port}/connection/${transport}` };
  for (const broken of [nowhere, elsewhere]) {
    const client = open({ websocket: WebSocket }, [broken]);
    const context = await connect(client);
    assert.equal(context.transport, transport);
    const inbox = new Inbox(await subscribe(client, 'news'), unpack);
    await server.api('publish', { channel: 'news', data: { hello: 1 } });
    assert.deepEqual(await inbox.whole(1), [{ hello: 1 }]);
  }
});

each('leaves at once', async ({ server, open }) => {
  const client = open();
  await connect(client);
  const { nodes: [{ num_clients: before }] } = await server.api('info', {});
  assert.equal(before, 1);
  client.disconnect();
  const late = Date.now() + 2000;
  for (;;) {
    const { nodes: [{ num_clients: left }] } = await server.api('info', {});
    if (left === 0) break;
    assert.ok(Date.now() < late, 'its place is not free after 2 s');
    await pause(20);
  }
});

each('connects again when its node does not know it', async ({ server, open, transport }) => {
  let lost = 0;
  const client = open({
    // As behind a balancer that sends what is posted to another node.
    fetch: (url, options) => {
      if (!`${url}`.endsWith('/emulation') || lost++ > 0) return fetch(url, options);
      const broken = Buffer.from(options.body).toString('latin1').replace(/[0-9a-f]{8}-[0-9a-f]{4}/g, '00000000-0000');
      return fetch(url, { ...options, body: Buffer.from(broken, 'latin1') });
    },
  });
  await connect(client);
  const subscription = client.newSubscription('news');
  const again = event(client, 'connected');
  subscription.subscribe();
  assert.equal((await again).transport, transport);
  await subscription.ready(20_000);
  assert.ok(lost > 0);
  assert.equal((await server.api('info', {})).nodes[0].num_clients, 1);
});
