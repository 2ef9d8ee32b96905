import assert from 'node:assert/strict';

import { connect, each, event, Inbox, subscribe } from './sdk.mjs';

const allowed = (options) => ({ config: { channel: { without_namespace: { allow_tags_filter: true, ...options } } } });
const leaf = (key, cmp, val) => (Array.isArray(val) ? { key, cmp, vals: val } : val === undefined ? { key, cmp } : { key, cmp, val });

/** Each filter, and the same said here. */
const filters = [
  [leaf('kind', 'eq', 'a'), ({ kind }) => kind === 'a'],
  [leaf('kind', 'neq', 'a'), ({ kind }) => kind !== 'a'],
  [leaf('kind', 'in', ['a', 'ż']), ({ kind }) => kind === 'a' || kind === 'ż'],
  [leaf('kind', 'nin', ['a', 'ż']), ({ kind }) => kind !== 'a' && kind !== 'ż'],
  [leaf('kind', 'ex'), ({ kind }) => kind !== undefined],
  [leaf('kind', 'nex'), ({ kind }) => kind === undefined],
  [leaf('name', 'sw', 'ab'), ({ name }) => !!name?.startsWith('ab')],
  [leaf('name', 'ew', 'ba'), ({ name }) => !!name?.endsWith('ba')],
  [leaf('name', 'ct', 'bab'), ({ name }) => !!name?.includes('bab')],
  [leaf('price', 'gt', '-0.5'), ({ price }) => Number(price) > -0.5],
  [leaf('price', 'gte', '1.50'), ({ price }) => Number(price) >= 1.5],
  [leaf('price', 'lt', '+10'), ({ price }) => Number(price) < 10],
  [leaf('price', 'lte', '2'), ({ price }) => Number(price) <= 2],
  [
    { op: 'and', nodes: [leaf('kind', 'ex'), { op: 'or', nodes: [leaf('price', 'gt', '5'), leaf('name', 'sw', 'b')] }] },
    ({ kind, price, name }) => kind !== undefined && (Number(price) > 5 || !!name?.startsWith('b')),
  ],
  [{ op: 'not', nodes: [leaf('price', 'lt', '5')] }, ({ price }) => !(Number(price) < 5)],
];

/** What is published: its tags, and itself. */
function publications(count) {
  let state = 20_261_126;
  const dice = (below) => (state = (state * 48_271) % 2_147_483_647) % below;
  const pick = (list) => list[dice(list.length)];
  return Array.from({ length: count }, (_, n) => {
    const tags = {
      kind: pick([undefined, 'a', 'b', 'ż']),
      name: pick([undefined, Array.from({ length: dice(6) }, () => pick(['a', 'b'])).join('')]),
      price: pick([undefined, '-3', '-0.5', '0', '1.5', '2.0', '5', '9.99', '10', '011', 'dear']),
    };
    Object.keys(tags).forEach((key) => tags[key] === undefined && delete tags[key]);
    return { tags, data: { n, tags } };
  });
}

for (const [name, options] of [
  ['', {}],
  [', with history', { history_size: 1000, history_ttl: '60s', force_recovery: true }],
  [', in subscribers that share no log', undefined],
]) {
  each(
    `a filter lets through what the plain stream has of it${name}`,
    async ({ server, open, unpack }) => {
      const client = open();
      await connect(client);
      const all = new Inbox(await subscribe(client, 'news'), unpack);
      const inboxes = [];
      for (const [tagsFilter] of filters) {
        const reader = open();
        await connect(reader);
        inboxes.push(new Inbox(await subscribe(reader, 'news', { tagsFilter }), unpack));
      }
      // What most get comes last, so that nothing is missing where that is there.
      const last = { kind: 'a', name: 'ababa', price: '7' };
      const sent = [...publications(400), { tags: last, data: { n: 'last', tags: last } }];
      await publish(server, sent);
      const plain = await all.whole(sent.length);
      assert.deepEqual(plain, sent.map(({ data }) => data));
      for (const [i, [filter, wanted]] of filters.entries()) {
        const expected = plain.filter(({ tags }) => wanted(tags));
        assert.ok(expected.length > 0 && expected.length < sent.length, JSON.stringify(filter));
        assert.deepEqual(await inboxes[i].whole(expected.length), expected, JSON.stringify(filter));
      }
    },
    options ? allowed(options) : { config: { channel: { tags_filter: { logs: 2 }, without_namespace: { allow_tags_filter: true } } } },
  );
}

each(
  'what is recovered is filtered, too, and nothing comes twice',
  async ({ server, open, unpack }) => {
    const [filter, wanted] = filters[0];
    const client = open();
    await connect(client);
    const subscription = await subscribe(client, 'news', { tagsFilter: filter });
    const inbox = new Inbox(subscription, unpack);
    const all = publications(240);
    const expected = [];
    for (let n = 0; n < 240; n += 40) {
      const live = all.slice(n, n + 20);
      const missed = all.slice(n + 20, n + 40);
      await publish(server, live);
      expected.push(...live.filter(({ tags }) => wanted(tags)));
      await inbox.whole(expected.length);
      subscription.unsubscribe();
      await publish(server, missed);
      expected.push(...missed.filter(({ tags }) => wanted(tags)));
      const again = event(subscription, 'subscribed');
      subscription.subscribe();
      assert.equal((await again).recovered, true);
      await inbox.whole(expected.length);
    }
    assert.deepEqual(inbox.received, expected.map(({ data }) => data));
  },
  allowed({ history_size: 1000, history_ttl: '60s', force_recovery: true }),
);

each(
  'a filter that nothing matches does not make the client fall out of history',
  async ({ server, open }) => {
    const client = open();
    await connect(client);
    const subscription = await subscribe(client, 'news', { tagsFilter: leaf('kind', 'eq', 'none') });
    for (let turn = 0; turn < 4; turn++) {
      subscription.unsubscribe();
      await publish(server, publications(8));
      const again = event(subscription, 'subscribed');
      subscription.subscribe();
      assert.equal((await again).recovered, true, `turn ${turn}`);
    }
  },
  allowed({ history_size: 10, history_ttl: '60s', force_recovery: true }),
);

each('filters that make no sense are refused with 107', async ({ open }) => {
  const client = open();
  await connect(client);
  const deep = (depth) => (depth > 1 ? { op: 'not', nodes: [deep(depth - 1)] } : leaf('a', 'eq', 'b'));
  const wrong = [
    leaf('a', 'like', 'b'),
    leaf('', 'eq', 'b'),
    leaf('a', 'eq'),
    leaf('a', 'eq', ['b']),
    leaf('a', 'in', []),
    leaf('a', 'ex', 'b'),
    leaf('a', 'gt', 'dear'),
    { op: 'and', nodes: [] },
    { op: 'xor', nodes: [leaf('a', 'ex')] },
    { op: 'not', nodes: [leaf('a', 'ex'), leaf('b', 'ex')] },
    { key: 'a', cmp: 'ex', nodes: [leaf('a', 'ex')] },
    deep(12),
    { op: 'or', nodes: Array.from({ length: 64 }, () => leaf('a', 'ex')) },
    leaf('a', 'eq', 'x'.repeat(5000)),
  ];
  for (const [n, tagsFilter] of wrong.entries()) await refused(client, `news-${n}`, tagsFilter);
  await subscribe(client, 'deep', { tagsFilter: deep(10) });
}, allowed({}));

each('a filter where none is allowed is refused with 107', async ({ open }) => {
  const client = open();
  await connect(client);
  await refused(client, 'news', leaf('a', 'eq', 'b'));
});

async function refused(client, channel, tagsFilter) {
  const subscription = client.newSubscription(channel, { tagsFilter });
  const ended = event(subscription, 'unsubscribed');
  subscription.subscribe();
  assert.equal((await ended).code, 107, JSON.stringify(tagsFilter).slice(0, 100));
}

async function publish(server, publications) {
  const commands = publications.map((publication) => ({ publish: { channel: 'news', ...publication } }));
  const reply = await fetch(`${server.http}/api/batch`, {
    method: 'POST',
    headers: { 'X-API-Key': 'test-key' },
    body: JSON.stringify({ commands }),
  });
  const { replies } = await reply.json();
  assert.ok(replies.every((reply) => reply.publish), JSON.stringify(replies));
}
