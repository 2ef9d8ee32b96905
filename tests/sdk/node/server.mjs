// A tidegate process under test.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const base = JSON.parse(readFileSync(new URL('../config.json', import.meta.url)));
const key = base.http_api.key;

/** Longest wait for the server to get ready, or to end. */
const patience = 30_000;

export class Server {
  /**
   * Starts a server and waits until it is ready.
   *
   * @param config keys laid over `../config.json`
   * @param args further arguments of `tidegate serve`
   */
  static async start({ config = {}, args = [] } = {}) {
    const server = new Server();
    server.port = await freePort();
    server.folder = mkdtempSync(join(tmpdir(), 'tidegate-'));
    const file = join(server.folder, 'config.json');
    writeFileSync(file, JSON.stringify(over(base, over(config, { http_server: { port: server.port } }))));
    server.command = ['serve', '--config', file, ...args];
    await server.#spawn();
    return server;
  }

  get http() {
    return `http://127.0.0.1:${this.port}`;
  }

  get websocket() {
    return `ws://127.0.0.1:${this.port}/connection/websocket`;
  }

  /** Calls the HTTP API and returns its `result`. */
  async api(method, request) {
    const reply = await fetch(`${this.http}/api/${method}`, {
      method: 'POST',
      headers: { 'X-API-Key': key, 'Content-Type': 'application/json' },
      body: JSON.stringify(request),
    });
    assert.equal(reply.status, 200, `${method}: HTTP status`);
    const { result, error } = await reply.json();
    assert.equal(error, undefined, `${method}: ${JSON.stringify(error)}`);
    return result;
  }

  /** Ends the process, which must end well. */
  async stop() {
    await this.halt();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Ends the process, which must end well; `resume` starts it again on the same port. */
  async halt() {
    if (!this.process) return;
    const { process: child, ended } = this;
    this.process = undefined;
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), patience);
    const [code, signal] = await ended;
    clearTimeout(late);
    running.delete(child);
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, `the server ended badly:\n${this.output}`);
  }

  async resume() {
    await this.#spawn();
  }

  async #spawn() {
    const child = spawn(process.env.TIDEGATE_BIN, this.command, { stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    this.process = child;
    this.output = '';
    this.ended = once(child, 'exit');
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => (this.output += text));
    }
    const deadline = Date.now() + patience;
    while (!(await this.#ready())) {
      assert.equal(child.exitCode ?? child.signalCode, null, `the server did not start:\n${this.output}`);
      assert.ok(Date.now() < deadline, `the server did not get ready:\n${this.output}`);
      await pause(20);
    }
  }

  async #ready() {
    try {
      return (await fetch(`${this.http}/ready`)).ok;
    } catch {
      return false; // not listening yet
    }
  }
}

/** Below the ports that outgoing connections take, so that a restarted server finds its own free. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const probe = createServer();
    try {
      await once(probe.listen(port, '127.0.0.1'), 'listening');
      return port;
    } catch {
      // taken: another one
    } finally {
      await new Promise((closed) => probe.close(closed));
    }
  }
}

/** `change` laid over `whole`, objects member by member. */
function over(whole, change) {
  const merged = { ...whole };
  for (const [name, value] of Object.entries(change)) {
    const nested = typeof value === 'object' && !Array.isArray(value) && typeof whole[name] === 'object';
    merged[name] = nested ? over(whole[name], value) : value;
  }
  return merged;
}

// A test that is torn down early leaves no process behind.
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
