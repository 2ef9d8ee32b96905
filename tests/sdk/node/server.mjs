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
    server.file = join(server.folder, 'config.json');
    server.config = over(base, over(config, { http_server: { port: server.port } }));
    writeFileSync(server.file, JSON.stringify(server.config));
    server.command = ['serve', '--config', server.file, ...args];
    await server.#spawn();
    return server;
  }

  /** Where API, metrics and readiness stand: the internal port, if there is one. */
  get http() {
    return `http://127.0.0.1:${this.config.http_server.internal_port ?? this.port}`;
  }

  get websocket() {
    const scheme = this.config.http_server.tls?.enabled ? 'wss' : 'ws';
    return `${scheme}://127.0.0.1:${this.port}/connection/websocket`;
  }

  /** Writes `change` over the configuration and has it read; resolves with what is logged of it. */
  async reload(change = {}) {
    this.config = over(this.config, change);
    return this.reloadFrom(JSON.stringify(this.config));
  }

  /** Writes `text` as the configuration and has it read; resolves with what is logged of it. */
  async reloadFrom(text) {
    writeFileSync(this.file, text);
    const before = this.output.length;
    this.process.kill('SIGHUP');
    return this.logged(/SIGHUP: the configuration was (not )?reloaded/, before);
  }

  /** Resolves with what is logged from `from` on, once it matches. */
  async logged(pattern, from = 0) {
    for (const deadline = Date.now() + patience; ; await pause(20)) {
      const said = this.output.slice(from);
      if (pattern.test(said)) return said;
      assert.ok(Date.now() < deadline, `${pattern} was not logged:\n${this.output}`);
    }
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
    // Above 10080, the last of the ports that fetch refuses.
    const port = 10_100 + Math.floor(Math.random() * 19_900);
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
