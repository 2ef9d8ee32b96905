// What the server refuses, and the codes it says.

import assert from 'node:assert/strict';

import { connect, each, event, subscribe } from './sdk.mjs';

/** The code with which a subscription to `channel` is refused for good. */
async function refusal(client, channel) {
  const subscription = client.newSubscription(channel);
  const refused = event(subscription, 'unsubscribed');
  subscription.subscribe();
  return (await refused).code;
}

const closed = (keys) => ({ config: { channel: { without_namespace: keys } } });

each('a remote call without a handler is refused with 108', async ({ open, pack }) => {
  const client = open();
  await connect(client);
  await assert.rejects(client.rpc('method', pack({})), { code: 108 });
});

each('presence and history that are off are refused with 108', async ({ open }) => {
  const client = open();
  await connect(client);
  const subscription = await subscribe(client, 'news');
  await assert.rejects(subscription.presence(), { code: 108 });
  await assert.rejects(subscription.presenceStats(), { code: 108 });
  await assert.rejects(subscription.history({ limit: 10 }), { code: 108 });
});

each('an unknown namespace is refused with 102', async ({ open, pack }) => {
  const client = open();
  await connect(client);
  assert.equal(await refusal(client, 'nowhere:news'), 102);
  await assert.rejects(client.publish('nowhere:news', pack({})), { code: 102 });
});

each('a channel name that is too long or not ASCII is refused with 107', async ({ open }) => {
  const client = open();
  await connect(client);
  assert.equal(await refusal(client, 'x'.repeat(256)), 107);
  assert.equal(await refusal(client, 'żółw'), 107);
  await subscribe(client, 'x'.repeat(255));
});

each(
  'publishing that is not allowed is refused with 103',
  async ({ open, pack }) => {
    const client = open();
    await connect(client);
    const subscription = await subscribe(client, 'news');
    await assert.rejects(subscription.publish(pack({})), { code: 103 });
    await assert.rejects(client.publish('other', pack({})), { code: 103 });
  },
  closed({ allow_publish_for_client: false }),
);

each(
  'subscribing that is not allowed is refused with 103',
  async ({ open }) => {
    const client = open();
    await connect(client);
    assert.equal(await refusal(client, 'news'), 103);
  },
  closed({ allow_subscribe_for_client: false }),
);

each(
  'anonymous clients need a permission of their own',
  async ({ open, pack }) => {
    const client = open();
    await connect(client);
    assert.equal(await refusal(client, 'news'), 103);
    await assert.rejects(client.publish('news', pack({})), { code: 103 });
  },
  closed({ allow_subscribe_for_anonymous: false, allow_publish_for_anonymous: false }),
);

each(
  'one channel too many is refused with 106',
  async ({ open }) => {
    const client = open();
    await connect(client);
    await subscribe(client, 'first');
    const second = await subscribe(client, 'second');
    assert.equal(await refusal(client, 'third'), 106);
    const left = event(second, 'unsubscribed');
    second.unsubscribe();
    await left;
    await subscribe(client, 'fourth');
  },
  { config: { client: { channel_limit: 2 } } },
);

each(
  'a connection without a token where one is needed ends with 3501',
  async ({ open }) => {
    const client = open();
    const gone = event(client, 'disconnected');
    client.connect();
    assert.equal((await gone).code, 3501);
  },
  { config: { client: { allow_anonymous_connect_without_token: false } } },
);
