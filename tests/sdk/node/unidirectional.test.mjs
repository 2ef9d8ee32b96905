// Clients without an SDK: what a browser, `curl` and a plain WebSocket read.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';

import { EventSource } from 'eventsource';
import WebSocket from 'ws';

import { Server } from './server.mjs';

const config = {
  uni_sse: { enabled: true },
  uni_http_stream: { enabled: true },
  uni_websocket: { enabled: true },
  client: {
    allow_anonymous_connect_without_token: true,
    subscribe_to_user_personal_channel: { enabled: true },
    token: { hmac_secret_key: 'secret' },
    insecure_skip_token_signature_verify: true,
  },
};

/** A token whose signature nobody looks at here. */
function token(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}.${'A'.repeat(43)}`;
}

const request = JSON.stringify({ token: token({ sub: '42', channels: ['news'] }) });
const query = `?cf_connect=${encodeURIComponent(request)}`;

/** What can be read from each: `next` waits for a push. */
const readers = {
  async EventSource(server) {
    const source = new EventSource(`${server.http}/connection/uni_sse${query}`);
    const inbox = queue();
    source.onmessage = ({ data }) => inbox.push(JSON.parse(data));
    return { next: inbox.next, close: () => source.close() };
  },
  async 'a WebSocket with its request in the URL'(server) {
    const socket = new WebSocket(`ws://127.0.0.1:${server.port}/connection/uni_websocket${query}`);
    const inbox = queue();
    socket.on('message', (data) => inbox.push(JSON.parse(data)));
    const closed = once(socket, 'close').then(([code, reason]) => ({ code, reason: `${reason}` }));
    return { next: inbox.next, close: () => socket.close(), closed };
  },
  async 'a WebSocket that says it first'(server) {
    const socket = new WebSocket(`ws://127.0.0.1:${server.port}/connection/uni_websocket`);
    const inbox = queue();
    socket.on('message', (data) => inbox.push(JSON.parse(data)));
    await once(socket, 'open');
    socket.send(request);
    socket.send('what it says later is not looked at');
    const closed = once(socket, 'close').then(([code, reason]) => ({ code, reason: `${reason}` }));
    return { next: inbox.next, close: () => socket.close(), closed };
  },
  async curl(server) {
    const curl = spawn('curl', ['-sN', `${server.http}/connection/uni_http_stream`, '-d', request]);
    const inbox = queue();
    createInterface({ input: curl.stdout }).on('line', (line) => inbox.push(JSON.parse(line)));
    return { next: inbox.next, close: () => curl.kill() };
  },
};

function queue() {
  const [waiting, there] = [[], []];
  return {
    push: (value) => (waiting.length > 0 ? waiting.shift()(value) : there.push(value)),
    next: () => (there.length > 0 ? there.shift() : new Promise((resolve) => waiting.push(resolve))),
  };
}

for (const [name, open] of Object.entries(readers)) {
  test(`${name} reads`, { timeout: 60_000 }, async (t) => {
    const server = await Server.start({ config });
    t.after(() => server.stop());
    const reader = await open(server);
    t.after(() => reader.close());
    const { connect } = await reader.next();
    assert.match(connect.client, /^[0-9a-f-]{36}$/);
    assert.deepEqual(Object.keys(connect.subs).sort(), ['#42', 'news']);
    assert.equal(connect.ping, 25);
    assert.equal(connect.pong, undefined);
    await server.api('publish', { channel: 'news', data: { n: 1 } });
    assert.deepEqual(await reader.next(), { channel: 'news', pub: { data: { n: 1 } } });
    await server.api('subscribe', { user: '42', channel: 'extra' });
    assert.deepEqual(await reader.next(), { channel: 'extra', subscribe: {} });
    assert.match(connect.session, /^[0-9a-f-]{36}$/);
    assert.notEqual(connect.session, connect.client);
    await server.api('unsubscribe', { user: '42', channel: 'extra', session: connect.session });
    const { unsubscribe } = await reader.next();
    assert.equal(unsubscribe.code, 2000);
    // A session that is another's is nobody's.
    await server.api('disconnect', { user: '42', session: 'another' });
    await server.api('publish', { channel: '#42', data: { n: 2 } });
    assert.deepEqual(await reader.next(), { channel: '#42', pub: { data: { n: 2 } } });
    await server.api('disconnect', { user: '42', session: connect.session, disconnect: { code: 4501, reason: 'enough' } });
    assert.deepEqual(await reader.next(), { disconnect: { code: 4501, reason: 'enough' } });
    if (reader.closed) assert.deepEqual(await reader.closed, { code: 4501, reason: 'enough' });
    reader.close();
  });
}

test('an EventSource that is refused reads why', { timeout: 60_000 }, async (t) => {
  const server = await Server.start({ config: { ...config, client: { token: { hmac_secret_key: 'secret' }, insecure: false } } });
  t.after(() => server.stop());
  const source = new EventSource(`${server.http}/connection/uni_sse${query}`);
  t.after(() => source.close());
  const { data } = await new Promise((resolve) => (source.onmessage = resolve));
  assert.deepEqual(JSON.parse(data), { disconnect: { code: 3500, reason: 'invalid token' } });
});

test('codes become others, as the configuration says', { timeout: 60_000 }, async (t) => {
  const expired = JSON.stringify({ token: token({ sub: '42', exp: 1 }) });
  const server = await Server.start({
    config: {
      ...config,
      client: {
        ...config.client,
        connect_code_to_unidirectional_disconnect: {
          enabled: true, transforms: [{ code: 109, to: { code: 4901, reason: 'log in again' } }],
        },
      },
      uni_http_stream: {
        enabled: true,
        connect_code_to_http_response: { enabled: true, transforms: [{ code: 109, to: { status_code: 401, body: 'log in again' } }] },
      },
      uni_websocket: { enabled: true, disable_disconnect_push: true },
    },
  });
  t.after(() => server.stop());
  const reply = await fetch(`${server.http}/connection/uni_http_stream`, { method: 'POST', body: expired });
  assert.deepEqual([reply.status, await reply.text()], [401, 'log in again']);
  const sse = await fetch(`${server.http}/connection/uni_sse`, { method: 'POST', body: expired });
  assert.equal(await sse.text(), 'data: {"disconnect":{"code":4901,"reason":"log in again"}}\n\n');
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}/connection/uni_websocket`);
  const messages = [];
  socket.on('message', (data) => messages.push(`${data}`));
  await once(socket, 'open');
  socket.send(expired);
  const [code, reason] = await once(socket, 'close');
  assert.deepEqual([code, `${reason}`, messages], [4901, 'log in again', []]);
});
