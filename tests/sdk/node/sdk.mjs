// The stock client in both encodings, and what tests say with it.

import { test } from 'node:test';

import { Centrifuge as JsonClient } from 'centrifuge';
import { Centrifuge as ProtobufClient } from 'centrifuge/build/protobuf';
import WebSocket from 'ws';

import { Server } from './server.mjs';

/** Payloads are JSON values in the one encoding, and bytes in the other; here they hold the same. */
const encodings = [
  { name: 'json', Client: JsonClient, pack: (value) => value, unpack: (data) => data },
  {
    name: 'protobuf',
    Client: ProtobufClient,
    pack: (value) => new TextEncoder().encode(JSON.stringify(value)),
    unpack: (data) => JSON.parse(new TextDecoder().decode(data)),
  },
];

/**
 * A test in each encoding with a server of its own, which must end well.
 *
 * `body` gets `{ server, open, pack, unpack }`; `open(options)` makes a client that is closed at the end.
 */
export function each(name, body, serverOptions) {
  for (const { name: encoding, Client, pack, unpack } of encodings) {
    test(`${encoding}: ${name}`, async (t) => {
      const server = await Server.start(serverOptions);
      const clients = [];
      t.after(async () => {
        clients.forEach((client) => client.disconnect());
        await server.stop();
      });
      const open = (options) => {
        const client = new Client(server.websocket, {
          websocket: WebSocket,
          timeout: 20_000,
          minReconnectDelay: 50,
          maxReconnectDelay: 200,
          ...options,
        });
        clients.push(client);
        return client;
      };
      await body({ server, open, pack, unpack });
    });
  }
}

/** Connects and returns the context of the `connected` event. */
export async function connect(client) {
  const connected = event(client, 'connected');
  client.connect();
  return connected;
}

/** Subscribes, waits for the reply, and returns the subscription. */
export async function subscribe(client, channel, options) {
  const subscription = client.newSubscription(channel, options);
  subscription.subscribe();
  await subscription.ready(patience);
  return subscription;
}

/** The next event of this name that `matches`; ask before causing it. */
export function event(emitter, name, matches = () => true) {
  return within(`event "${name}"`, (resolve) => {
    emitter.on(name, function listen(context) {
      if (!matches(context)) return;
      emitter.off(name, listen);
      resolve(context);
    });
  });
}

/** Collects what a subscription (or a client, for server-side ones) receives. */
export class Inbox {
  #changed = () => {};

  constructor(emitter, unpack) {
    this.received = [];
    emitter.on('publication', (context) => {
      this.received.push(unpack(context.data));
      this.#changed();
    });
  }

  /** Everything received, once it is `count`. */
  async whole(count) {
    await within(
      `${count} publications`,
      (resolve) => {
        this.#changed = () => this.received.length >= count && resolve();
        this.#changed();
      },
      () => `got ${this.received.length}`,
    );
    return this.received;
  }
}

/** The class `ws`, keeping each frame that comes in `frames`. */
export function recording(frames) {
  return class extends WebSocket {
    constructor(...args) {
      super(...args);
      this.on('message', (data) => frames.push(Buffer.from(data)));
    }
  };
}

function within(what, executor, state = () => 'none came') {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`waited ${patience} ms for ${what}: ${state()}`)), patience);
    executor((value) => {
      clearTimeout(late);
      resolve(value);
    });
  });
}

const patience = 20_000;
