// Joins the parts to the elements of index.html.

import { byId, bytes, count, duration, element, payload, visible, write } from './dom.js';
import { Figures } from './figures.js';
import { Refused, Server } from './server.js';
import { Channels, Connections } from './tables.js';

/** Between two looks at the lists, in ms. */
const LOOK = 2000;
/** Publications that are kept in sight. */
const LOG = 200;
/** Channels and connections on a page. */
const PAGE = 50;

class Page {
  #server = new Server(() => this.#signedOut('Your session is over. Sign in again.'));
  #figures = new Figures(byId('figures'));
  #channels = new Channels(byId('channels'), (channel) => this.#watch(channel));
  #connections = new Connections(byId('connections'), {
    disconnect: (connection) => this.#act(() => this.#disconnect(connection)),
    unsubscribe: (connection, channel) => this.#act(() => this.#unsubscribe(connection, channel)),
    choose: (channel) => this.#watch(channel),
  });
  #stats;
  #live;
  #paused = false;
  #timer;
  /** The last client ids of the pages before this one. */
  #pages = [''];
  #last = '';
  /** Looks that were asked for; the answer to an older one is not shown. */
  #looks = 0;
  #signedIn = false;

  async start() {
    this.#onSubmit('login-form', () => this.#signIn());
    this.#onSubmit('live-form', () => this.#watch(byId('channel').value));
    this.#onSubmit('publish-form', () => this.#publish());
    byId('data').addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        byId('publish-form').requestSubmit();
      }
    });
    byId('signout').addEventListener('click', () => this.#act(() => this.#signOut()));
    byId('live-stop').addEventListener('click', () => this.#unwatch());
    byId('live-clear').addEventListener('click', () => byId('live').replaceChildren());
    byId('live-pause').addEventListener('click', () => this.#pause(!this.#paused));
    for (const id of ['channels-search', 'channels-order']) byId(id).addEventListener('input', () => this.#look());
    byId('connections-search').addEventListener('input', () => this.#turn(['']));
    byId('next').addEventListener('click', () => this.#turn([...this.#pages, this.#last]));
    byId('previous').addEventListener('click', () => this.#turn(this.#pages.slice(0, -1)));
    document.addEventListener('visibilitychange', () => this.#look());
    try {
      this.#welcome(await this.#server.get('session'));
    } catch (error) {
      this.#fail(error);
    }
  }

  // Sessions.

  async #signIn() {
    const session = await this.#server.post('login', JSON.stringify({ password: byId('password').value }));
    byId('password').value = '';
    this.#welcome(session);
  }

  async #signOut() {
    await this.#server.post('logout');
    this.#signedOut('You are signed out.');
  }

  #welcome({ insecure }) {
    this.#signedIn = true;
    byId('login').hidden = true;
    byId('desk').hidden = false;
    byId('signout').hidden = insecure;
    write(byId('note'), insecure ? 'admin.insecure: everybody who reaches this page may do everything. Never in production.' : '');
    this.#stats = this.#server.stream('stats', {}, {
      sample: (sample) => this.#sample(sample),
      up: () => state('link', 'good', 'live'),
      down: () => state('link', 'bad', 'not connected'),
    });
    this.#look();
  }

  #signedOut(text) {
    // Several requests may hear of it.
    if (!byId('login').hidden) return;
    const was = this.#signedIn;
    this.#signedIn = false;
    clearTimeout(this.#timer);
    this.#stats?.close();
    this.#unwatch();
    // What was shown to the one is not to be seen by the next.
    byId('live').replaceChildren();
    this.#channels.show([]);
    this.#connections.show([]);
    byId('desk').hidden = true;
    byId('signout').hidden = true;
    byId('login').hidden = false;
    state('link', '', '');
    write(byId('about'), '');
    write(byId('error'), '');
    write(byId('note'), was ? text : '');
    byId('password').focus();
  }

  // Figures and lists.

  #sample(sample) {
    write(byId('about'), `${visible(sample.node)} · ${sample.version} · up ${duration(sample.uptime)}`);
    if (sample.figures.tidegate_draining) state('link', 'wait', 'stopping');
    this.#figures.show(sample);
  }

  #turn(pages) {
    this.#pages = pages;
    this.#look();
  }

  /** Looks at the lists now, and then every two seconds, while somebody sees them. */
  async #look() {
    clearTimeout(this.#timer);
    if (!this.#signedIn || document.hidden) return;
    const look = ++this.#looks;
    try {
      const [channels, connections] = await Promise.all([
        this.#server.get('channels', { search: byId('channels-search').value.trim(), order: byId('channels-order').value, limit: PAGE }),
        this.#server.get('connections', { search: byId('connections-search').value.trim(), after: this.#pages.at(-1), limit: PAGE }),
      ]);
      if (look !== this.#looks || !this.#signedIn) return;
      this.#showChannels(channels);
      this.#showConnections(connections);
      if (this.#lost) this.#clear();
      this.#lost = false;
    } catch (error) {
      if (look !== this.#looks || !this.#signedIn) return;
      this.#lost = true;
      this.#fail(error);
    }
    this.#timer = setTimeout(() => this.#look(), LOOK);
  }
  #lost = false;

  #showChannels({ total, matching, channels }) {
    this.#channels.show(channels);
    write(byId('channels-count'), found(channels.length, matching, total));
    empty('channels-empty', channels, total ? 'No channel has that in its name.' : 'Nobody is subscribed to anything yet.');
  }

  #showConnections({ total, matching, connections, more }) {
    if (connections.length === 0 && this.#pages.length > 1) return this.#turn(['']);
    this.#connections.show(connections);
    this.#last = connections.at(-1)?.client ?? '';
    write(byId('connections-count'), found(connections.length, matching, total));
    empty('connections-empty', connections, total ? 'No connection matches.' : 'No client is connected.');
    byId('next').disabled = !more;
    byId('previous').disabled = this.#pages.length < 2;
  }

  // One channel.

  #watch(channel) {
    this.#clear();
    this.#unwatch();
    byId('live').replaceChildren();
    byId('channel').value = channel;
    this.#channels.choose(channel);
    this.#pause(false);
    for (const id of ['live-pause', 'live-clear', 'live-stop']) byId(id).hidden = false;
    byId('live').dataset.empty = 'Nothing has been published since you began to watch.';
    state('live-state', 'wait', 'opening');
    this.#live = this.#server.stream('live', { channel }, {
      watching: () => state('live-state', 'good', 'watching'),
      publication: (seen) => this.#log('', seen.time, dataOf(seen), whoOf(seen)),
      join: (seen) => this.#log('event', seen.time, 'joined', whoOf(seen)),
      leave: (seen) => this.#log('event', seen.time, 'left', whoOf(seen)),
      skipped: ({ publications }) => this.#log('event lost', Date.now(), `${count(publications)} more were published, faster than this view shows`, ''),
      ended: ({ why }) => this.#log('event lost', Date.now(), why, ''),
      down: () => state('live-state', 'wait', 'opening'),
      refused: () => this.#explain(channel),
    });
    this.#look();
  }

  /** Whether there can be such a channel: what a refused stream does not tell. */
  async #explain(channel) {
    try {
      await this.#server.call('history', { channel, limit: 0 });
    } catch (error) {
      if (!error.message.startsWith('error 102:')) return;
      this.#unwatch();
      this.#fail(new Refused(`There is no channel ${visible(channel)}: what stands before ":" names a namespace of channel.namespaces.`));
    }
  }

  #unwatch() {
    this.#live?.close();
    this.#live = undefined;
    this.#channels.choose('');
    for (const id of ['live-pause', 'live-clear', 'live-stop']) byId(id).hidden = true;
    state('live-state', '', '');
  }

  #pause(paused) {
    this.#paused = paused;
    write(byId('live-pause'), paused ? 'Go on' : 'Pause');
  }

  #log(kind, time, text, who) {
    if (this.#paused) return;
    const list = byId('live');
    const item = element('li', kind);
    const at = new Date(time || Date.now());
    const stamp = element('time', '', at.toLocaleTimeString('en-GB'));
    stamp.dateTime = at.toISOString();
    item.append(stamp, element('span', 'data', text), element('span', 'who', who));
    list.prepend(item);
    while (list.children.length > LOG) list.lastElementChild.remove();
  }

  async #publish() {
    const channel = byId('channel');
    if (!channel.reportValidity()) return;
    const text = byId('data').value;
    // Sent as it was typed: parsing it here would change large numbers.
    const data = isJson(text) ? text : JSON.stringify(text);
    await this.#server.call('publish', `{"channel":${JSON.stringify(channel.value)},"data":${data}}`);
    if (byId('data').value === text) byId('data').value = '';
    if (!this.#live) write(byId('note'), `Published to ${visible(channel.value)}.`);
  }

  // Connections.

  async #disconnect({ client, user }) {
    const who = user ? `of user ${visible(user)}` : 'of an anonymous user';
    if (!(await confirmed('Disconnect this client?', `${client} ${who} is told code 3503, "force disconnect", and stock SDKs do not come back by themselves.`, 'Disconnect'))) return;
    await this.#server.call('disconnect', { client, user });
    write(byId('note'), `${client} was asked to go.`);
    this.#soon();
  }

  async #unsubscribe({ client, user }, channel) {
    if (!(await confirmed('End this subscription?', `${client} is unsubscribed from ${visible(channel)} and told code 2000.`, 'Unsubscribe'))) return;
    await this.#server.call('unsubscribe', { client, user, channel });
    write(byId('note'), `${client} was unsubscribed from ${visible(channel)}.`);
    this.#soon();
  }

  /** The lists, once what was asked for is done. */
  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), 200);
  }

  // What people are told.

  #onSubmit(id, action) {
    byId(id).addEventListener('submit', (event) => {
      event.preventDefault();
      this.#act(action);
    });
  }

  async #act(action) {
    this.#clear();
    try {
      await action();
    } catch (error) {
      this.#fail(error);
    }
  }

  #clear() {
    write(byId('error'), '');
    write(byId('note'), '');
  }

  #fail(error) {
    if (!(error instanceof Refused)) throw error;
    if (error.signedOut) return; // and asked for the password
    const { message } = error;
    write(byId('error'), message.charAt(0).toUpperCase() + message.slice(1));
  }
}

function state(id, kind, text) {
  byId(id).dataset.state = kind;
  write(byId(id), text);
}

function empty(id, items, text) {
  byId(id).hidden = items.length > 0;
  write(byId(id), text);
}

function found(shown, matching, total) {
  if (matching < total) return `${count(shown)} of ${count(matching)} that match, ${count(total)} in all`;
  return shown < total ? `${count(shown)} of ${count(total)}` : count(total);
}

function dataOf({ data, base64, bytes: size }) {
  const text = base64 ? `base64: ${data}` : payload(data);
  const whole = base64 ? Math.floor((data.replaceAll('=', '').length * 3) / 4) : new TextEncoder().encode(data).length;
  return whole < size ? `${text}… (${bytes(size)} in all)` : text;
}

function whoOf({ user, client, offset }) {
  const who = user ? visible(user) : client ? `client ${client.slice(0, 8)}` : 'server API';
  return offset ? `${who} · #${offset}` : who;
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function confirmed(title, text, yes) {
  const dialog = byId('confirm');
  write(byId('confirm-title'), title);
  write(byId('confirm-text'), text);
  write(byId('confirm-yes'), yes);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

new Page().start();
