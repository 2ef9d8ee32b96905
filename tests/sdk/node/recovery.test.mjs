import assert from 'node:assert/strict';

import { connect, each, event, Inbox, subscribe } from './sdk.mjs';

const channel = (options) => ({ config: { channel: { without_namespace: options } } });

/** Cuts the client's socket, as a network does, and publishes `publications` before it may come back. */
async function miss(server, client, subscription, publications) {
  const [connecting, again] = [event(client, 'connecting'), event(subscription, 'subscribed')];
  client._transport.close();
  await connecting;
  for (const data of publications) await server.api('publish', { channel: 'news', data });
  return again;
}

each(
  'a dropped socket costs nothing where history is kept',
  async ({ server, open, unpack }) => {
    const client = open({ minReconnectDelay: 500, maxReconnectDelay: 600 });
    await connect(client);
    const subscription = await subscribe(client, 'news');
    const inbox = new Inbox(subscription, unpack);
    await server.api('publish', { channel: 'news', data: 1 });
    await inbox.whole(1);
    const { wasRecovering, recovered, hasRecoveredPublications } = await miss(server, client, subscription, [2, 3, 4]);
    assert.deepEqual({ wasRecovering, recovered, hasRecoveredPublications }, { wasRecovering: true, recovered: true, hasRecoveredPublications: true });
    await server.api('publish', { channel: 'news', data: 5 });
    assert.deepEqual(await inbox.whole(5), [1, 2, 3, 4, 5]);
  },
  channel({ history_size: 10, history_ttl: '60s', force_recovery: true }),
);

each(
  'a history that is too small is not taken for a whole one',
  async ({ server, open, unpack }) => {
    const client = open({ minReconnectDelay: 500, maxReconnectDelay: 600 });
    await connect(client);
    const subscription = await subscribe(client, 'news');
    const inbox = new Inbox(subscription, unpack);
    await server.api('publish', { channel: 'news', data: 1 });
    await inbox.whole(1);
    const { wasRecovering, recovered } = await miss(server, client, subscription, [2, 3, 4, 5]);
    assert.deepEqual({ wasRecovering, recovered }, { wasRecovering: true, recovered: false });
    await server.api('publish', { channel: 'news', data: 6 });
    assert.deepEqual(await inbox.whole(2), [1, 6]);
  },
  channel({ history_size: 2, history_ttl: '60s', force_recovery: true }),
);

each(
  '100 clients are present, and join and leave in order',
  async ({ open }) => {
    const watcher = open();
    const { client: own } = await connect(watcher);
    const subscription = await subscribe(watcher, 'news', { joinLeave: true });
    const heard = [];
    subscription.on('join', ({ info }) => heard.push(`+${info.client}`));
    subscription.on('leave', ({ info }) => heard.push(`-${info.client}`));
    const clients = Array.from({ length: 99 }, () => open());
    const ids = (await Promise.all(clients.map(connect))).map(({ client }) => client);
    await Promise.all(clients.map((client) => subscribe(client, 'news')));
    const present = await subscription.presence();
    assert.deepEqual(Object.keys(present.clients).sort(), [own, ...ids].sort());
    assert.deepEqual(await subscription.presenceStats(), { numClients: 100, numUsers: 1 });
    const gone = new Set();
    const last = event(subscription, 'leave', ({ info }) => gone.add(info.client).size === 99);
    clients.forEach((client) => client.disconnect());
    await last;
    // Of each its join, once, and then its leave, once; a subscriber's own join comes, its leave cannot.
    for (const id of ids) assert.deepEqual(heard.filter((what) => what.endsWith(id)), [`+${id}`, `-${id}`]);
    assert.equal((await subscription.presenceStats()).numClients, 1);
  },
  channel({
    presence: true,
    join_leave: true,
    force_push_join_leave: true,
    allow_presence_for_subscriber: true,
    allow_presence_for_anonymous: true,
  }),
);

each(
  'what unsubscribing in the middle of a recovery leaves out comes with the next subscribing',
  async ({ server, open, unpack }) => {
    const client = open();
    await connect(client);
    const subscription = await subscribe(client, 'news');
    subscription.unsubscribe();
    for (const data of [1, 2, 3]) await server.api('publish', { channel: 'news', data });
    const inbox = new Inbox(subscription, unpack);
    for (const [event_, expected] of [['subscribed', []], ['publication', [1]]]) {
      subscription.once(event_, () => subscription.unsubscribe());
      const unsubscribed = event(subscription, 'unsubscribed');
      subscription.subscribe();
      await unsubscribed;
      assert.deepEqual(inbox.received, expected);
    }
    subscription.subscribe();
    assert.deepEqual(await inbox.whole(3), [1, 2, 3]);
  },
  channel({ history_size: 10, history_ttl: '60s', force_recovery: true }),
);

each(
  'an application that keeps the state itself reads it again where a position is lost',
  async ({ server, open, unpack }) => {
    const client = open();
    await connect(client);
    let reads = 0;
    const getState = async () => {
      reads += 1;
      const { offset, epoch } = await server.api('history', { channel: 'news', limit: 0 });
      return { offset, epoch };
    };
    const subscription = await subscribe(client, 'news', { getState, minResubscribeDelay: 50, maxResubscribeDelay: 100 });
    assert.equal(reads, 1);
    // Of these, two are kept: the server is asked to refuse, and does.
    subscription.unsubscribe();
    for (const data of [1, 2, 3, 4, 5]) await server.api('publish', { channel: 'news', data });
    const inbox = new Inbox(subscription, unpack);
    subscription.subscribe();
    await subscription.ready(20_000);
    assert.equal(reads, 2);
    await server.api('publish', { channel: 'news', data: 6 });
    assert.deepEqual(await inbox.whole(1), [6]);
  },
  channel({ history_size: 2, history_ttl: '60s', force_recovery: true }),
);
