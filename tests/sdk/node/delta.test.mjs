import assert from 'node:assert/strict';

import { connect, each, event, Inbox, recording, subscribe } from './sdk.mjs';

const channel = (options) => ({ config: { channel: { without_namespace: { allowed_delta_types: ['fossil'], ...options } } } });
const history = { history_size: 2000, history_ttl: '60s', force_recovery: true };
const fossil = { delta: 'fossil' };

each(
  '1,000 varied publications arrive as deltas as they do without',
  async ({ server, open, unpack }) => {
    const [plain, delta] = [open(), open()];
    await Promise.all([connect(plain), connect(delta)]);
    const expected = new Inbox(await subscribe(plain, 'news'), unpack);
    const subscription = await subscribe(delta, 'news', fossil);
    const inbox = new Inbox(subscription, unpack);
    const documents = varied(1000);
    await publish(server, 'news', documents);
    assert.deepEqual(await expected.whole(1000), documents);
    assert.deepEqual(await inbox.whole(1000), documents);
    const stats = subscription.deltaStats();
    // The first is whole, and so is what is shorter whole.
    assert.equal(stats.numPublications, 1000);
    assert.ok(stats.numFullPayloads >= 1 && stats.numDeltaPayloads > 400, JSON.stringify(stats));
  },
  channel({ delta_publish: true }),
);

each(
  'a small change of a large document needs a small delta',
  async ({ server, open, unpack }) => {
    const client = open();
    await connect(client);
    const subscription = await subscribe(client, 'news', fossil);
    const inbox = new Inbox(subscription, unpack);
    const documents = Array.from({ length: 50 }, (_, n) => ({ n, text: 'żółw 🐢 '.repeat(500), end: n % 3 }));
    await publish(server, 'news', documents);
    assert.deepEqual(await inbox.whole(50), documents);
    const { numFullPayloads, compressionRatio } = subscription.deltaStats();
    assert.equal(numFullPayloads, 1);
    assert.ok(compressionRatio > 0.95, `${compressionRatio}`);
  },
  channel({ delta_publish: true }),
);

each(
  'what is recovered comes as deltas, and what follows it',
  async ({ server, open, unpack }) => {
    const client = open();
    await connect(client);
    const subscription = await subscribe(client, 'news', fossil);
    const inbox = new Inbox(subscription, unpack);
    const documents = similar(60);
    const part = (from, to) => publish(server, 'news', documents.slice(from, to));
    await part(0, 10);
    await inbox.whole(10);
    for (const [from, to] of [[10, 30], [30, 31], [31, 31]]) {
      subscription.unsubscribe();
      const again = event(subscription, 'subscribed');
      await part(from, to);
      subscription.subscribe();
      const { wasRecovering, recovered } = await again;
      assert.deepEqual([wasRecovering, recovered], [true, true]);
      await inbox.whole(to);
    }
    await part(31, 60);
    assert.deepEqual(await inbox.whole(60), documents);
    const { numFullPayloads, numDeltaPayloads } = subscription.deltaStats();
    // The very first, and the first of each reply or behind an empty one.
    assert.ok(numFullPayloads <= 4 && numFullPayloads + numDeltaPayloads === 60, `${numFullPayloads}`);
  },
  channel({ ...history, delta_publish: true }),
);

each(
  'a reconnect with recovery and without leads to the same documents',
  async ({ server, open, unpack }) => {
    const [client, other] = [open(), open()];
    await Promise.all([connect(client), connect(other)]);
    const options = { ...fossil, recoverable: true };
    const inboxes = [];
    for (const one of [client, other]) inboxes.push(new Inbox(await subscribe(one, 'news', options), unpack));
    const documents = similar(300);
    for (let n = 0; n < 300; n += 50) {
      const connected = event(client, 'connected');
      client.disconnect();
      await publish(server, 'news', documents.slice(n, n + 25));
      client.connect();
      await connected;
      await publish(server, 'news', documents.slice(n + 25, n + 50));
      for (const inbox of inboxes) await inbox.whole(n + 50);
    }
    for (const inbox of inboxes) assert.deepEqual(await inbox.whole(300), documents);
  },
  channel({ ...history, delta_publish: true }),
);

each(
  'only what is published as a delta comes as one',
  async ({ server, open, unpack }) => {
    const client = open();
    await connect(client);
    const subscription = await subscribe(client, 'news', fossil);
    const inbox = new Inbox(subscription, unpack);
    const documents = similar(9);
    // Every third is not to be one, and what follows it has nothing to be one of.
    for (const [n, data] of documents.entries()) {
      await server.api('publish', { channel: 'news', data, delta: n % 3 !== 0 });
    }
    assert.deepEqual(await inbox.whole(9), documents);
    const { numFullPayloads, numDeltaPayloads } = subscription.deltaStats();
    assert.deepEqual([numFullPayloads, numDeltaPayloads], [6, 3]);
  },
  channel({}),
);

each(
  'after a gap the next is whole, and deltas go on from there',
  async ({ server, open, unpack }) => {
    const client = open();
    await connect(client);
    const subscription = await subscribe(client, 'news', fossil);
    const inbox = new Inbox(subscription, unpack);
    const last = new Promise((resolve) =>
      subscription.on('publication', ({ data }) => unpack(data).n === 'last' && resolve()),
    );
    const documents = similar(2000);
    await publish(server, 'news', documents, 1000);
    await server.api('publish', { channel: 'news', data: { ...documents[0], n: 'last' } });
    await last;
    const got = inbox.received.slice(0, -1);
    // No client reads so fast that it sees all of a thousand in a row through a window of three.
    assert.ok(got.length < 2000, `${got.length}`);
    const numbers = got.map(({ n }) => n);
    assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b));
    assert.deepEqual(got, numbers.map((n) => documents[n]));
    const { numFullPayloads, numDeltaPayloads } = subscription.deltaStats();
    assert.ok(numFullPayloads > 1, `${numFullPayloads} whole, ${numDeltaPayloads} deltas`);
  },
  channel({ delta_publish: true, window_size: 3, backpressure: 'skip_oldest' }),
);

each(
  'the newest is recovered whole in cache mode, and deltas follow',
  async ({ server, open, unpack }) => {
    const [client, other] = [open(), open()];
    await Promise.all([connect(client), connect(other)]);
    await subscribe(other, 'news', fossil);
    const documents = similar(30);
    await publish(server, 'news', documents.slice(0, 20));
    const subscription = client.newSubscription('news', { ...fossil, since: { offset: 0, epoch: '' } });
    const inbox = new Inbox(subscription, unpack);
    subscription.subscribe();
    await inbox.whole(1);
    await publish(server, 'news', documents.slice(20));
    assert.deepEqual(await inbox.whole(11), documents.slice(19));
    const { numFullPayloads, numDeltaPayloads } = subscription.deltaStats();
    assert.deepEqual([numFullPayloads, numDeltaPayloads], [1, 10]);
  },
  channel({ ...history, force_recovery_mode: 'cache', delta_publish: true }),
);

each('deltas that are not allowed do not come', async ({ server, open, unpack }) => {
  const frames = [];
  const client = open({ websocket: recording(frames) });
  await connect(client);
  const subscription = await subscribe(client, 'news', fossil);
  const inbox = new Inbox(subscription, unpack);
  for (const data of similar(3)) await server.api('publish', { channel: 'news', data, delta: true });
  assert.deepEqual(await inbox.whole(3), similar(3));
  assert.equal(subscription.deltaStats().numPublications, 0);
});

async function publish(server, channel, documents, batch = 100) {
  const commands = documents.map((data) => ({ publish: { channel, data } }));
  for (let n = 0; n < commands.length; n += batch) {
    const reply = await fetch(`${server.http}/api/batch`, {
      method: 'POST',
      headers: { 'X-API-Key': 'test-key' },
      body: JSON.stringify({ commands: commands.slice(n, n + batch) }),
    });
    const { replies } = await reply.json();
    assert.ok(replies.every((reply) => reply.publish), JSON.stringify(replies));
  }
}

/** Documents that differ a little from one to the next. */
function similar(count) {
  return Array.from({ length: count }, (_, n) => ({ symbol: 'TIDE', price: 100 + n / 4, note: 'ü'.repeat(200), n }));
}

/** Documents of all kinds: tiny and 64 KiB, similar and not, with characters of every width. */
function varied(count) {
  const dice = generator(20_261_126);
  const words = ['sea', 'żółw', 'море', '潮', '🌊', '"\\\n\u2028', '\u0001', ' ', '{}', '\ud7ff'];
  const text = (length) => Array.from({ length }, () => words[dice(words.length)]).join('');
  let document = { head: text(50), list: [1, 2, 3], deep: { body: text(300) } };
  return Array.from({ length: count }, (_, n) => {
    switch (n % 100 === 50 ? 9 : dice(9)) {
      case 0:
        return n;
      case 1:
        return text(dice(3));
      case 2:
        return (document = { head: text(20), list: [], deep: { body: text(dice(500)) } });
      case 9:
        return { ...document, body: text(16_000) }; // some 64 KiB
      default: {
        const at = dice(document.deep.body.length + 1);
        const body = [...document.deep.body];
        body.splice(at, dice(20), text(dice(10)));
        return (document = { ...document, list: [...document.list, n].slice(-20), deep: { body: body.join('') } });
      }
    }
  });
}

/** Whole numbers below a bound, the same in each run. */
function generator(seed) {
  let state = BigInt(seed);
  return (below) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffff_ffff_ffff_ffffn;
    return Number((state >> 33n) % BigInt(below));
  };
}
