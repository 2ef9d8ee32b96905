// The lists of channels and connections. Rows are kept and updated in place, or a keyboard would lose its focus.

import { bytes, count, duration, element, rate, visible, write } from './dom.js';

/** Rows by key. `make(key)` makes one, with the elements of it and how to update them. */
class Rows {
  #body;
  #make;
  #rows = new Map();

  constructor(body, make) {
    this.#body = body;
    this.#make = make;
  }

  show(items, keyOf) {
    const keys = new Set(items.map(keyOf));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.parts.forEach((part) => part.remove());
      this.#rows.delete(key);
    }
    let next = this.#body.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      let row = this.#rows.get(key);
      if (!row) this.#rows.set(key, (row = this.#make(item)));
      row.update(item);
      for (const part of row.parts) {
        if (part === next) next = next.nextElementSibling;
        else this.#body.insertBefore(part, next);
      }
    }
  }
}

export class Channels {
  #rows;
  #chosen = '';
  #before = new Map();

  constructor(body, onChoose) {
    this.#rows = new Rows(body, ({ channel }) => {
      const row = element('tr');
      const name = element('button', 'name', visible(channel));
      name.type = 'button';
      name.title = 'Watch this channel';
      name.addEventListener('click', () => onChoose(channel));
      const cells = [...Array(4)].map(() => element('td', 'number'));
      const [subscribers, behind, window, entries] = cells;
      const first = element('td');
      first.append(name);
      row.append(first, ...cells);
      return {
        parts: [row],
        update: (item) => {
          write(subscribers, count(item.subscribers));
          late(behind, item.behind);
          write(window, item.entries ? `${count(item.entries)} · ${bytes(item.bytes)}` : '–');
          write(entries, rate(item.rate));
          row.toggleAttribute('data-chosen', item.channel === this.#chosen);
        },
      };
    });
  }

  choose(channel) {
    this.#chosen = channel;
  }

  show(channels) {
    const now = performance.now();
    const seen = new Map();
    for (const item of channels) {
      const before = this.#before.get(item.channel);
      const seconds = before ? (now - before.at) / 1000 : 0;
      item.rate = seconds > 0 ? Math.max(0, item.appended - before.appended) / seconds : 0;
      seen.set(item.channel, { at: now, appended: item.appended });
    }
    this.#before = seen;
    this.#rows.show(channels, (item) => item.channel);
  }
}

export class Connections {
  #rows;

  /** `actions`: `disconnect(connection)` and `unsubscribe(connection, channel)`. */
  constructor(body, { disconnect, unsubscribe, choose }) {
    this.#rows = new Rows(body, (first) => {
      const { client } = first;
      const row = element('tr');
      const id = element('button', 'name mono', visible(client));
      id.type = 'button';
      id.title = 'Show its subscriptions';
      id.setAttribute('aria-expanded', 'false');
      const cells = ['mono', '', '', 'mono', 'number', 'number', 'number', 'actions'].map((name) => element('td', name));
      const [idCell, user, transport, address, age, subscriptions, behind, actions] = cells;
      idCell.append(id);
      const button = element('button', 'plain danger small', 'Disconnect');
      button.type = 'button';
      button.setAttribute('aria-label', `Disconnect ${client}`);
      button.addEventListener('click', () => disconnect(first));
      actions.append(button);
      row.append(...cells);

      const details = element('tr', 'details');
      details.hidden = true;
      const cell = element('td');
      cell.colSpan = cells.length;
      const list = element('ul');
      const empty = element('p', 'quiet');
      cell.append(list, empty);
      details.append(cell);
      id.addEventListener('click', () => {
        details.hidden = !details.hidden;
        id.setAttribute('aria-expanded', String(!details.hidden));
      });
      const lines = new Rows(list, ({ channel }) => {
        const line = element('li');
        const name = element('button', 'name', visible(channel));
        name.type = 'button';
        name.title = 'Watch this channel';
        name.addEventListener('click', () => choose(channel));
        const lag = element('span', 'quiet grow');
        const end = element('button', 'plain small', 'Unsubscribe');
        end.type = 'button';
        end.setAttribute('aria-label', `Unsubscribe ${client} from ${visible(channel)}`);
        end.addEventListener('click', () => unsubscribe(first, channel));
        line.append(name, lag, end);
        return { parts: [line], update: (item) => write(lag, lagOf(item)) };
      });

      return {
        parts: [row, details],
        update: ({ user: name, transport: way, address: from, report }) => {
          write(user, name ? visible(name) : 'anonymous');
          user.classList.toggle('zero', !name);
          write(transport, way);
          write(address, from ?? '–');
          write(age, report ? duration(report.age) : '–');
          write(subscriptions, report ? count(report.count) : '–');
          late(behind, report?.entries ?? 0, report?.bytes);
          if (report?.stalled) behind.append(element('span', 'tag', 'stalled'));
          lines.show(report?.subscriptions ?? [], (item) => item.channel);
          write(empty, emptyText(report));
        },
      };
    });
  }

  show(connections) {
    this.#rows.show(connections, (item) => item.client);
  }
}

function emptyText(report) {
  if (!report) return 'It has just gone, or did not answer in time.';
  if (report.count > report.subscriptions.length) return `${count(report.count - report.subscriptions.length)} more are not shown.`;
  return report.count ? '' : 'It has no subscriptions.';
}

function lagOf({ entries, bytes: size, missed }) {
  const behind = entries ? `${count(entries)} behind, ${bytes(size)}` : 'has read everything';
  return missed ? `${behind}; ${count(missed)} lost` : behind;
}

function late(cell, entries, size) {
  write(cell, entries && size ? `${count(entries)} · ${bytes(size)}` : count(entries));
  cell.classList.toggle('late', entries > 0);
  cell.classList.toggle('zero', !entries);
}
