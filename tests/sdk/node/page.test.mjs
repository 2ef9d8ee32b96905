// The page at `/`, as two people would use it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';


import { launch } from './browser.mjs';
import { Server } from './server.mjs';

const channel = 'page-test';

let browser;
let server;

before(async () => {
  server = await Server.start({ args: ['--dev'] });
  browser = await launch('--disable-quic');
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

test('the page connects, subscribes, publishes, and comes back after a restart', async () => {
  const [reader, writer] = await Promise.all([visit(), visit()]);
  await Promise.all([subscribe(reader), subscribe(writer)]);
  await subscribers(2);
  await publish(writer, 'hello from the other page');
  await shows(reader, '#messages', 'hello from the other page');
  await shows(writer, '#messages', 'hello from the other page');
  if (process.env.UPDATE_PICTURES === '1') {
    await reader.screenshot({ path: fileURLToPath(new URL('../../../docs/page.png', import.meta.url)) });
  }

  await server.halt();
  await state(reader, false);
  await state(writer, false);
  await server.resume();
  await state(reader, true);
  await state(writer, true);
  await subscribers(2);
  await publish(writer, 'hello again');
  await shows(reader, '#messages', 'hello again');
  assert.deepEqual([...reader.errors, ...writer.errors], []);
});

async function visit() {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(20_000);
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(error));
  await page.goto(`${server.http}/`);
  await state(page, true);
  return page;
}

async function subscribe(page) {
  await page.fill('#channel', channel);
  await page.click('#subscribe');
}

/** Waits until the channel has this many subscribers; the page says nothing of it. */
async function subscribers(count) {
  for (const deadline = Date.now() + 20_000; ; await pause(20)) {
    const { channels } = await server.api('channels', { pattern: channel });
    if (channels[channel]?.num_clients === count) return;
    assert.ok(Date.now() < deadline, `${count} subscribers of ${channel}; got ${JSON.stringify(channels)}`);
  }
}

async function publish(page, message) {
  await page.fill('#message', message);
  await page.click('#publish');
}

/** Waits until the page says that it is connected, or that it is not. */
function state(page, connected) {
  return page.waitForFunction(
    (connected) => (document.querySelector('#state').textContent.trim() === 'connected') === connected,
    connected,
  );
}

function shows(page, place, text) {
  return page.waitForFunction(
    ([place, text]) => document.querySelector(place).textContent.includes(text),
    [place, text],
  );
}
