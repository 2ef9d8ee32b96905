import assert from 'node:assert/strict';

import { connect, each, event, Inbox, recording, subscribe } from './sdk.mjs';

each('a subscriber receives what the API publishes', async ({ server, open, unpack }) => {
  const client = open();
  await connect(client);
  const subscription = await subscribe(client, 'news');
  const arrived = event(subscription, 'publication');
  const data = { text: 'żółw\n"quoted"', n: 1.5, list: [null, true, { deep: [] }] };
  await server.api('publish', { channel: 'news', data });
  const publication = await arrived;
  assert.equal(publication.channel, 'news');
  assert.deepEqual(unpack(publication.data), data);
  assert.equal(publication.info, undefined);
});

each('a subscriber receives what a client publishes, and who it was', async ({ open, pack, unpack }) => {
  const [reader, writer] = [open(), open()];
  const [, { client: id }] = await Promise.all([connect(reader), connect(writer)]);
  const subscription = await subscribe(reader, 'news');
  const arrived = event(subscription, 'publication');
  await writer.publish('news', pack({ text: 'hi' }));
  const publication = await arrived;
  assert.deepEqual(unpack(publication.data), { text: 'hi' });
  assert.equal(publication.info.client, id);
  assert.equal(publication.info.user, '');
});

each('a publisher that is subscribed sees its publication before the reply', async ({ open, pack, unpack }) => {
  const client = open();
  await connect(client);
  const subscription = await subscribe(client, 'news');
  const inbox = new Inbox(subscription, unpack);
  for (let n = 1; n <= 20; n++) {
    await subscription.publish(pack({ n }));
    assert.equal(inbox.received.length, n);
  }
});

each('1,000 publications arrive in order over 3 channels', async ({ open, pack, unpack }) => {
  const [reader, writer] = [open(), open()];
  await Promise.all([connect(reader), connect(writer)]);
  const channels = ['red', 'green', 'blue'];
  const inboxes = new Map();
  for (const channel of channels) {
    inboxes.set(channel, new Inbox(await subscribe(reader, channel), unpack));
  }
  const expected = new Map(channels.map((channel) => [channel, []]));
  const replies = [];
  for (let n = 0; n < 1000; n++) {
    const channel = channels[n % channels.length];
    expected.get(channel).push(n);
    replies.push(writer.publish(channel, pack(n)));
  }
  await Promise.all(replies);
  for (const channel of channels) {
    const sent = expected.get(channel);
    assert.deepEqual(await inboxes.get(channel).whole(sent.length), sent);
  }
});

each('nothing arrives after unsubscribing', async ({ server, open, unpack }) => {
  const frames = [];
  const [leaver, stayer] = [open({ websocket: recording(frames) }), open()];
  await Promise.all([connect(leaver), connect(stayer)]);
  const left = await subscribe(leaver, 'left');
  const kept = new Inbox(await subscribe(leaver, 'kept'), unpack);
  const others = new Inbox(await subscribe(stayer, 'left'), unpack);

  left.unsubscribe();
  assert.equal(left.state, 'unsubscribed');
  // The answer to a later command: the unsubscription before it is done.
  await assert.rejects(leaver.rpc('none', null), { code: 108 });
  await server.api('publish', { channel: 'left', data: 'unwanted' });
  await others.whole(1);
  await server.api('publish', { channel: 'kept', data: 'wanted' });
  await kept.whole(1);
  const text = Buffer.concat(frames).toString('latin1');
  assert.ok(text.includes('wanted'));
  assert.ok(!text.includes('unwanted'));
});

each('a subscription may be taken up again', async ({ server, open, unpack }) => {
  const client = open();
  await connect(client);
  const subscription = await subscribe(client, 'news');
  const inbox = new Inbox(subscription, unpack);
  for (let n = 1; n <= 5; n++) {
    const again = event(subscription, 'subscribed');
    subscription.unsubscribe();
    subscription.subscribe();
    await again;
    await server.api('publish', { channel: 'news', data: n });
    assert.equal((await inbox.whole(n)).at(-1), n);
  }
});

each('a client has one subscription to a channel', async ({ open }) => {
  const client = open();
  await connect(client);
  const subscription = await subscribe(client, 'news');
  assert.throws(() => client.newSubscription('news'), /already exists/);
  subscription.subscribe();
  assert.equal(subscription.state, 'subscribed');
});
