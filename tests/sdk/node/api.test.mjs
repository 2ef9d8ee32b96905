// What the HTTP API does to clients.

import assert from 'node:assert/strict';

import { connect, each, event, Inbox, subscribe } from './sdk.mjs';

/** Anonymous clients are those of the user without a name. */
const user = '';

each('broadcast reaches each channel', async ({ server, open, unpack }) => {
  const client = open();
  await connect(client);
  const inboxes = [];
  for (const channel of ['one', 'two']) inboxes.push(new Inbox(await subscribe(client, channel), unpack));
  const { responses } = await server.api('broadcast', { channels: ['one', 'two'], data: 'both' });
  assert.equal(responses.length, 2);
  for (const inbox of inboxes) assert.deepEqual(await inbox.whole(1), ['both']);
});

each('unsubscribe ends one subscription with 2000', async ({ server, open, unpack }) => {
  const client = open();
  const { client: id } = await connect(client);
  const ended = await subscribe(client, 'ended');
  const kept = new Inbox(await subscribe(client, 'kept'), unpack);
  const unsubscribed = event(ended, 'unsubscribed');
  await server.api('unsubscribe', { user, client: id, channel: 'ended' });
  assert.equal((await unsubscribed).code, 2000);
  assert.equal(ended.state, 'unsubscribed');
  await server.api('publish', { channel: 'kept', data: 'still here' });
  assert.deepEqual(await kept.whole(1), ['still here']);
});

each('disconnect ends a connection with 3503', async ({ server, open }) => {
  const [client, other] = [open(), open()];
  const [{ client: id }] = await Promise.all([connect(client), connect(other)]);
  const gone = event(client, 'disconnected');
  await server.api('disconnect', { user, client: id });
  const { code, reason } = await gone;
  assert.deepEqual({ code, reason }, { code: 3503, reason: 'force disconnect' });
  await assert.rejects(other.rpc('none', null), { code: 108 });
});

each('disconnect with a terminal code of the user', async ({ server, open }) => {
  const client = open();
  const { client: id } = await connect(client);
  const gone = event(client, 'disconnected');
  await server.api('disconnect', { user, client: id, disconnect: { code: 4501, reason: 'go away' } });
  const { code, reason } = await gone;
  assert.deepEqual({ code, reason }, { code: 4501, reason: 'go away' });
});

each('disconnect with a code after which clients come back', async ({ server, open }) => {
  const client = open();
  const { client: id } = await connect(client);
  const connecting = event(client, 'connecting');
  const connected = event(client, 'connected');
  await server.api('disconnect', { user, client: id, disconnect: { code: 4001, reason: 'come back' } });
  const { code, reason } = await connecting;
  assert.deepEqual({ code, reason }, { code: 4001, reason: 'come back' });
  assert.notEqual((await connected).client, id);
});

each('subscribe and unsubscribe a client from the server', async ({ server, open, unpack }) => {
  const client = open();
  const { client: id } = await connect(client);
  const inbox = new Inbox(client, unpack);
  const subscribed = event(client, 'subscribed');
  await server.api('subscribe', { user, client: id, channel: 'granted' });
  assert.equal((await subscribed).channel, 'granted');
  await server.api('publish', { channel: 'granted', data: 'for you' });
  assert.deepEqual(await inbox.whole(1), ['for you']);
  const unsubscribed = event(client, 'unsubscribed');
  await server.api('unsubscribe', { user, client: id, channel: 'granted' });
  assert.equal((await unsubscribed).channel, 'granted');
});
