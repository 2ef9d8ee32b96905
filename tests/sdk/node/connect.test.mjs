import assert from 'node:assert/strict';

import { connect, each, event, Inbox, subscribe } from './sdk.mjs';

each('a client connects and learns its id', async ({ open }) => {
  const client = open();
  const context = await connect(client);
  assert.match(context.client, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.equal(context.transport, 'websocket');
  assert.equal(client.state, 'connected');
});

each('a client that leaves may come back', async ({ open }) => {
  const client = open();
  const first = await connect(client);
  const gone = event(client, 'disconnected');
  client.disconnect();
  assert.equal((await gone).code, 0);
  const second = await connect(client);
  assert.notEqual(second.client, first.client);
});

each('a client connects with 50 subscriptions at once', async ({ open, pack, unpack }) => {
  const client = open();
  const subscriptions = Array.from({ length: 50 }, (_, n) => client.newSubscription(`many-${n}`));
  const inboxes = subscriptions.map((subscription) => new Inbox(subscription, unpack));
  subscriptions.forEach((subscription) => subscription.subscribe());
  client.connect();
  await Promise.all(subscriptions.map((subscription) => subscription.ready(20_000)));
  await Promise.all(subscriptions.map(({ channel }) => client.publish(channel, pack({ to: channel }))));
  for (const [n, inbox] of inboxes.entries()) {
    assert.deepEqual(await inbox.whole(1), [{ to: `many-${n}` }]);
  }
});

each('100 clients at once', async ({ server, open, unpack }) => {
  const clients = Array.from({ length: 100 }, () => open());
  const contexts = await Promise.all(clients.map(connect));
  assert.equal(new Set(contexts.map((context) => context.client)).size, 100);
  const subscriptions = await Promise.all(clients.map((client) => subscribe(client, 'crowd')));
  const inboxes = subscriptions.map((subscription) => new Inbox(subscription, unpack));
  await server.api('publish', { channel: 'crowd', data: { hello: 'all' } });
  for (const inbox of inboxes) assert.deepEqual(await inbox.whole(1), [{ hello: 'all' }]);
});

each('a client reconnects and subscribes again after the server restarts', async ({ server, open, unpack }) => {
  const client = open();
  const first = await connect(client);
  const subscription = await subscribe(client, 'news');
  const inbox = new Inbox(subscription, unpack);

  const connecting = event(client, 'connecting');
  const subscribing = event(subscription, 'subscribing');
  await server.halt();
  const { code, reason } = await connecting;
  assert.deepEqual({ code, reason }, { code: 3001, reason: 'shutdown' });
  await subscribing;

  const connected = event(client, 'connected');
  const subscribed = event(subscription, 'subscribed');
  await server.resume();
  assert.notEqual((await connected).client, first.client);
  await subscribed;
  await server.api('publish', { channel: 'news', data: { after: 'restart' } });
  assert.deepEqual(await inbox.whole(1), [{ after: 'restart' }]);
});
