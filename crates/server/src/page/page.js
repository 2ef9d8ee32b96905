// The page at `/`: a small client of the JSON protocol, written without an SDK so that it can be read
// as an example. Everything that comes from the network is shown with textContent, never as markup.

const REPLY_TIMEOUT = 10_000; // also bounds opening the socket, which can hang behind a bad network
const PING_GRACE = 10_000; // how late a ping may be before the connection counts as dead
const STABLE_AFTER = 5_000;
const MAX_MESSAGES = 200;
const MAX_SHOWN = 4_000; // characters of one message

/** Exponential back-off with full jitter: after a restart, the clients must not all return together. */
class Backoff {
  #attempt = 0;
  next() {
    return Math.random() * Math.min(20_000, 500 * 2 ** this.#attempt++);
  }
  reset() {
    this.#attempt = 0;
  }
}

/** One logical connection over any number of sockets: commands and replies, pings, reconnects. */
class Connection {
  state = 'disconnected';
  client = '';
  reconnects = 0;
  #url;
  #handlers; // onState(), onClose(code, reason), onRetry(ms), onConnected(result), onPush(push), onError(…)
  #token = '';
  #socket = null;
  #pending = new Map(); // command id -> {callback, timer}
  #lastId = 0;
  #backoff = new Backoff();
  #retryTimer;
  #pingTimer;
  #stableTimer;
  #pingInterval = 0;
  #pong = false;
  #wasConnected = false;

  constructor(url, handlers) {
    this.#url = url;
    this.#handlers = handlers;
  }

  connect(token) {
    if (this.#socket) this.#end(0, 'closed by this page', false);
    this.#token = token;
    this.#backoff.reset();
    this.#open();
  }

  disconnect() {
    if (this.state !== 'disconnected') this.#end(0, 'closed by this page', false);
  }

  /** Skips the rest of the wait, for instance when the browser says the network is back. */
  retryNow() {
    if (this.state === 'connecting' && !this.#socket) this.#open();
  }

  /**
   * Sends a command. It takes a callback and not a promise because a promise runs its continuation
   * later: a push in the same frame as the reply would then be handled before the reply.
   */
  call(command, callback) {
    if (this.state !== 'connected') callback({ code: 0, message: 'not connected' });
    else this.#send(command, callback);
  }

  #open() {
    clearTimeout(this.#retryTimer);
    this.#setState('connecting');
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    // Events of a socket that has been given up can still arrive; they say nothing about the current one.
    const current = (handler) => (event) => socket === this.#socket && handler(event);
    const timer = setTimeout(current(() => this.#end(0, 'no answer to the opening handshake', true)), REPLY_TIMEOUT);
    let opened = false;
    socket.onopen = current(() => {
      opened = true;
      clearTimeout(timer);
      const connect = { name: 'page' };
      if (this.#token) connect.token = this.#token;
      this.#send({ connect }, (error, reply) => this.#onConnectReply(error, reply));
    });
    socket.onmessage = current((event) => this.#onFrame(socket, event.data));
    socket.onclose = (event) => {
      clearTimeout(timer);
      if (socket !== this.#socket) return;
      this.#end(event.code, event.reason || guessReason(event.code, opened), !isTerminal(event.code));
    };
  }

  #send(command, callback) {
    const id = ++this.#lastId;
    const timer = setTimeout(() => this.#end(0, 'no reply to a command', true), REPLY_TIMEOUT);
    this.#pending.set(id, { callback, timer });
    this.#socket.send(JSON.stringify({ id, ...command }));
  }

  /** A frame holds one or more JSON objects separated by newlines; `{}` is the server's ping. */
  #onFrame(socket, text) {
    for (const line of text.split('\n')) {
      if (socket !== this.#socket) return; // an earlier line of this frame ended the connection
      if (!line.trim()) continue;
      let reply;
      try {
        reply = JSON.parse(line);
      } catch {
        return this.#end(0, 'the server sent something that is not JSON', false);
      }
      if (reply.id) {
        const pending = this.#pending.get(reply.id);
        if (!pending) continue;
        this.#pending.delete(reply.id);
        clearTimeout(pending.timer);
        pending.callback(reply.error ?? null, reply);
      } else if (reply.push) {
        this.#handlers.onPush(reply.push);
      } else {
        this.#watchPing();
        if (this.#pong) socket.send('{}');
      }
    }
  }

  #onConnectReply(error, reply) {
    if (error) {
      // A temporary error is worth another try; with any other one, the same token would fail again.
      if (error.code) this.#handlers.onError('connect', error);
      if (this.#socket) this.#end(error.code, error.message, Boolean(error.temporary));
      return;
    }
    const result = reply.connect ?? {};
    this.client = result.client ?? '';
    this.#pingInterval = (result.ping ?? 0) * 1000;
    this.#pong = Boolean(result.pong);
    if (this.#wasConnected) this.reconnects += 1;
    this.#wasConnected = true;
    this.#watchPing();
    // A server that accepts and closes at once is not healthy: the back-off starts anew only later.
    this.#stableTimer = setTimeout(() => this.#backoff.reset(), STABLE_AFTER);
    this.#setState('connected');
    this.#handlers.onConnected(result);
  }

  /** A broken network often closes nothing: the missing ping is the only sign. */
  #watchPing() {
    clearTimeout(this.#pingTimer);
    if (!this.#pingInterval) return;
    this.#pingTimer = setTimeout(() => this.#end(0, 'no ping from the server', true), this.#pingInterval + PING_GRACE);
  }

  /** Ends the current socket at once: on a dead network its close event may take minutes. */
  #end(code, reason, again) {
    const socket = this.#socket;
    this.#socket = null;
    for (const timer of [this.#retryTimer, this.#pingTimer, this.#stableTimer]) clearTimeout(timer);
    this.#pingInterval = 0;
    this.client = '';
    const wait = this.#backoff.next();
    this.#setState(again ? 'connecting' : 'disconnected');
    if (socket || code) this.#handlers.onClose(code, reason);
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { callback, timer } of pending) {
      clearTimeout(timer);
      callback({ code: 0, message: 'the connection closed before the reply' });
    }
    socket?.close();
    if (again) {
      this.#retryTimer = setTimeout(() => this.#open(), wait);
      this.#handlers.onRetry(wait);
    }
  }

  #setState(state) {
    this.state = state;
    this.#handlers.onState();
  }
}

/** What this page wants to be subscribed to. It outlives connections. */
class Subscriptions {
  #connection;
  #handlers; // onChange(sub), onRemove(sub), onPublication(channel, pub), onError(what, error), onNote(text)
  #subs = new Map();

  constructor(connection, handlers) {
    this.#connection = connection;
    this.#handlers = handlers;
  }

  has(channel) {
    return this.#subs.has(channel);
  }

  add(channel, fromServer = false) {
    if (this.has(channel)) return;
    const sub = { channel, fromServer, state: 'waiting', position: null, backoff: new Backoff() };
    this.#subs.set(channel, sub);
    this.#set(sub, fromServer ? 'by the server' : 'waiting');
    if (!fromServer && this.#connection.state === 'connected') this.#subscribe(sub);
  }

  remove(channel) {
    const sub = this.#subs.get(channel);
    if (!sub) return;
    this.#drop(sub);
    // Without a connection there is nothing to undo: the server forgets subscriptions with it.
    if (this.#connection.state !== 'connected') return;
    this.#connection.call({ unsubscribe: { channel } }, (error) => {
      if (error?.code) this.#handlers.onError('unsubscribe', error);
    });
  }

  connected(serverSubs = {}) {
    for (const sub of [...this.#subs.values()]) {
      // The connect reply says which subscriptions of the server's hold now; they are added below.
      if (sub.fromServer || Object.hasOwn(serverSubs, sub.channel)) this.#drop(sub);
      else this.#subscribe(sub);
    }
    for (const channel of Object.keys(serverSubs)) this.add(channel, true);
  }

  disconnected() {
    for (const sub of this.#subs.values()) this.#set(sub, 'waiting');
  }

  onPush({ channel, pub, subscribe, unsubscribe }) {
    if (subscribe) return this.add(channel, true);
    const sub = this.#subs.get(channel);
    if (!sub) return; // a last push that crossed our unsubscribe
    if (pub) this.#deliver(sub, pub);
    if (!unsubscribe) return;
    if (unsubscribe.code >= 2500 && !sub.fromServer) return this.#retry(sub);
    this.#drop(sub);
    this.#handlers.onNote(`The server ended the subscription to ${channel}: ${unsubscribe.code} ${unsubscribe.reason ?? ''}`);
  }

  #subscribe(sub) {
    this.#set(sub, 'subscribing');
    const { channel, position } = sub;
    // With a known position, the server can send what was published while we were away.
    this.#connection.call({ subscribe: { channel, ...(position && { recover: true, ...position }) } }, (error, reply) => {
      if (this.#subs.get(channel) !== sub) return; // unsubscribed meanwhile
      if (error) {
        if (!error.code) return; // the connection closed: connected() comes back to it
        if (error.temporary) this.#retry(sub);
        else this.#drop(sub);
        return this.#handlers.onError('subscribe', error);
      }
      const result = reply.subscribe ?? {};
      sub.backoff.reset();
      const keepsPosition = result.recoverable || result.positioned;
      sub.position = keepsPosition ? { epoch: result.epoch ?? '', offset: result.offset ?? 0 } : null;
      this.#set(sub, 'subscribed');
      for (const pub of result.publications ?? []) this.#deliver(sub, pub);
      if (result.was_recovering && !result.recovered) {
        this.#handlers.onNote(`Messages of ${channel} were lost while this page was away: the history no longer has them all.`);
      }
    });
  }

  #deliver(sub, pub) {
    if (sub.position && pub.offset) sub.position.offset = pub.offset;
    this.#handlers.onPublication(sub.channel, pub);
  }

  #retry(sub) {
    this.#set(sub, 'waiting');
    setTimeout(() => {
      const wanted = this.#subs.get(sub.channel) === sub && sub.state === 'waiting';
      if (wanted && this.#connection.state === 'connected') this.#subscribe(sub);
    }, sub.backoff.next());
  }

  #drop(sub) {
    this.#subs.delete(sub.channel);
    this.#handlers.onRemove(sub);
  }

  #set(sub, state) {
    sub.state = state;
    this.#handlers.onChange(sub);
  }
}

/** The list of subscriptions. Rows are updated in place, or a keyboard user would lose the focus. */
class SubscriptionList {
  #list;
  #onUnsubscribe;
  #rows = new Map();

  constructor(list, onUnsubscribe) {
    this.#list = list;
    this.#onUnsubscribe = onUnsubscribe;
  }

  change(sub) {
    let row = this.#rows.get(sub.channel);
    if (!row) {
      const state = element('span', 'quiet', '');
      const button = element('button', 'plain', 'Unsubscribe');
      button.type = 'button';
      button.setAttribute('aria-label', `Unsubscribe from ${sub.channel}`);
      button.addEventListener('click', () => this.#onUnsubscribe(sub.channel));
      row = { item: element('li', ''), state };
      row.item.append(element('span', 'name', sub.channel), state, button);
      this.#rows.set(sub.channel, row);
      this.#list.append(row.item);
    }
    row.state.textContent = sub.state;
  }

  remove(sub) {
    this.#rows.get(sub.channel)?.item.remove();
    this.#rows.delete(sub.channel);
  }
}

/** The newest messages. Bounded, so that a busy channel cannot fill the browser's memory. */
class MessageLog {
  #list;
  constructor(list) {
    this.#list = list;
  }

  add(channel, data, who) {
    const plain = typeof data === 'string';
    const text = plain ? data : (JSON.stringify(data) ?? '');
    const now = new Date();
    const time = element('time', '', now.toLocaleTimeString());
    time.dateTime = now.toISOString();
    const item = element('li', '');
    item.append(
      time,
      element('span', 'channel', channel),
      element('span', plain ? 'data' : 'data json', text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text),
      element('span', 'who', who),
    );
    this.#list.prepend(item);
    while (this.#list.children.length > MAX_MESSAGES) this.#list.lastElementChild.remove();
  }

  clear() {
    this.#list.replaceChildren();
  }
}

/** Joins the parts to the elements of index.html. */
class Page {
  #log = new MessageLog(byId('messages'));
  #list = new SubscriptionList(byId('subscriptions'), (channel) => {
    this.#subs.remove(channel);
    byId('channel').focus(); // the button that had the focus is gone
  });
  #connection = new Connection(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/connection/websocket`, {
    onState: () => this.#showState(),
    onClose: (code, reason) => show('reason', `${code || ''} ${reason}`.trim()),
    onRetry: (ms) => show('retry', `next try in ${(ms / 1000).toFixed(1)} s`),
    onConnected: (result) => this.#subs.connected(result.subs),
    onPush: (push) => {
      if (push.message) this.#log.add('–', push.message.data, 'server');
      else this.#subs.onPush(push);
    },
    onError: (what, error) => this.#showError(what, error),
  });
  #subs = new Subscriptions(this.#connection, {
    onChange: (sub) => this.#list.change(sub),
    onRemove: (sub) => this.#list.remove(sub),
    onPublication: (channel, pub) => this.#log.add(channel, pub.data, this.#who(pub.info)),
    onError: (what, error) => this.#showError(what, error),
    onNote: (text) => show('note', text),
  });

  start() {
    this.#onSubmit('connect-form', () => this.#connection.connect(byId('token').value.trim()));
    this.#onSubmit('subscribe-form', () => this.#subs.add(byId('channel').value.trim()));
    this.#onSubmit('publish-form', () => this.#publish());
    byId('disconnect').addEventListener('click', () => this.#connection.disconnect());
    byId('clear').addEventListener('click', () => this.#log.clear());
    addEventListener('online', () => this.#connection.retryNow());
    this.#connection.connect(byId('token').value.trim());
  }

  #publish() {
    const channel = byId('channel').value.trim();
    const input = byId('message');
    const text = input.value;
    this.#connection.call({ publish: { channel, data: parseData(text) } }, (error) => {
      if (error) return this.#showError('publish', error);
      if (input.value === text) input.value = ''; // kept after an error, so that nothing has to be typed again
      if (!this.#subs.has(channel)) show('note', `Published. This window is not subscribed to ${channel}, so it does not show the message.`);
    });
  }

  /** Every action starts with clean notices, so that what is shown belongs to it. */
  #onSubmit(id, action) {
    byId(id).addEventListener('submit', (event) => {
      event.preventDefault();
      if (id !== 'connect-form') {
        const channel = byId('channel');
        channel.value = channel.value.trim(); // an empty channel would end the connection with 3501
        if (!channel.reportValidity()) return;
      }
      show('error', '');
      show('note', '');
      action();
    });
  }

  #showState() {
    const { state, client, reconnects } = this.#connection;
    show('state', state);
    byId('state').dataset.state = state;
    show('client', client || '–');
    show('reconnects', reconnects);
    show('retry', '');
    show('connect', state === 'disconnected' ? 'Connect' : 'Reconnect');
    if (state !== 'connected') this.#subs?.disconnected();
  }

  #showError(what, { code, message }) {
    const hint = hintFor(what, code);
    show('error', `${what}: ${code ? `error ${code}, ` : ''}${message ?? ''}.${hint ? ` ${hint}` : ''}`);
  }

  #who(info) {
    if (!info) return 'server API';
    const name = info.user || `client ${(info.client ?? '').slice(0, 8)}`;
    return info.client && info.client === this.#connection.client ? `${name} (you)` : name;
  }
}

/** What to do about an error, in the terms of the configuration. */
function hintFor(what, code) {
  if (code === 103 && what === 'publish') {
    return 'Allow it with allow_publish_for_client (without a token also allow_publish_for_anonymous) or allow_publish_for_subscriber in the channel options, or try things out with "tidegate serve --dev".';
  }
  if (code === 103) {
    return 'Allow it with allow_subscribe_for_client (without a token also allow_subscribe_for_anonymous) in the channel options, or try things out with "tidegate serve --dev". A channel that starts with $ needs a subscription token.';
  }
  return {
    0: what === 'publish' ? 'Publish it again once the state is "connected".' : '',
    100: 'The server\'s log has the cause.',
    101: 'The token is missing or does not allow this: check the token field.',
    102: 'The part before ":" names a namespace: add it to channel.namespaces, or use a channel without one.',
    106: 'A limit is reached (client.channel_limit, for instance): unsubscribe from something, or raise it.',
    107: 'Check the channel name: at most 255 ASCII characters.',
    108: 'This is switched off for the channel: see its options.',
    109: 'The token has expired: paste a new one and press Connect.',
    111: 'Too many requests: wait a moment.',
  }[code] ?? '';
}

/** Browsers hide from a script why a socket failed, so a close without a reason gets the likely one. */
function guessReason(code, opened) {
  if (code === 1009) return 'the message was longer than the server allows';
  if (opened) return 'the connection was lost';
  return 'the server cannot be reached or refuses this page (see client.allowed_origins, or use "tidegate serve --dev")';
}

/** The protocol's rule: after these codes a client must not come back by itself. */
function isTerminal(code) {
  return (code >= 3500 && code <= 3999) || (code >= 4500 && code <= 4999);
}

function parseData(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function element(tag, className, text = '') {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function byId(id) {
  return document.getElementById(id);
}

function show(id, text) {
  byId(id).textContent = text;
}

new Page().start();
