// The server of `examples/minimal`, with the SDK as it is.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

import { freePort } from './server.mjs';

const binary = join(dirname(process.env.TIDEGATE_BIN), 'minimal');

test('a custom server judges by its own authenticator, and publishes by its handle', async () => {
  const address = `127.0.0.1:${await freePort()}`;
  const server = spawn(binary, [address], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(server, 'exit');
  try {
    await once(server.stdout, 'data');
    const open = (token) => new Centrifuge(`ws://${address}/`, { websocket: WebSocket, token });

    const stranger = open('please');
    const refused = new Promise((resolve) => stranger.once('disconnected', resolve));
    stranger.connect();
    assert.deepEqual(await refused, { code: 3500, reason: 'invalid token' });

    const client = open('open sesame ada');
    const ticks = client.newSubscription('ticks');
    const tick = new Promise((resolve) => ticks.once('publication', resolve));
    ticks.subscribe();
    client.connect();
    assert.equal((await tick).data, 'tick');

    const closed = new Promise((resolve) => client.once('connecting', resolve));
    server.kill('SIGINT');
    assert.deepEqual(await closed, { code: 3001, reason: 'shutdown' });
    client.disconnect();
    assert.deepEqual(await ended, [0, null]);
  } finally {
    server.kill('SIGKILL');
  }
});
