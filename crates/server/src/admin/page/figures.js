// The node's figures, and how they went in the last two minutes.

import { bytes, count, element, rate, write } from './dom.js';

/** Samples that a line shows, at most: two minutes of them. */
const SAMPLES = 120;
/** Samples for which there is room from the beginning. */
const FEWEST = 24;
const WIDTH = 240;
const HEIGHT = 32;

const perSecond = (name) => (now, before) => {
  const seconds = before ? (now.time - before.time) / 1000 : 0;
  // A counter that went back is another node's, or one that has started again.
  return seconds > 0 ? Math.max(0, now.figures[name] - before.figures[name]) / seconds : 0;
};
const current = (name) => (now) => now.figures[name];

const FIGURES = [
  { id: 'connections', title: 'Connections', value: current('tidegate_connections'), show: count, beside: (f) => `${count(f.tidegate_users)} users` },
  { id: 'channel-count', title: 'Channels', value: current('tidegate_channels'), show: count, beside: (f) => `${count(f.tidegate_subscriptions)} subscriptions` },
  { id: 'published', title: 'Published per second', value: perSecond('tidegate_published_total'), show: rate, beside: (f) => `${count(f.tidegate_published_total)} in all` },
  { id: 'delivered', title: 'Delivered per second', value: perSecond('tidegate_delivered_total'), show: rate, beside: (f) => `${count(f.tidegate_delivered_total)} in all` },
  { id: 'behind', title: 'Subscribers behind', value: current('tidegate_subscribers_behind'), show: count, beside: (f) => `${count(f.tidegate_missed_total)} missed`, alert: true },
  { id: 'windows', title: 'Held in windows', value: current('tidegate_window_bytes'), show: bytes, beside: (f) => (f.tidegate_window_limit_bytes ? `of ${bytes(f.tidegate_window_limit_bytes)}` : 'no limit') },
  { id: 'written', title: 'Written per second', value: perSecond('tidegate_written_bytes_total'), show: bytes, beside: (f) => `${bytes(f.tidegate_written_bytes_total)} in all` },
  { id: 'memory', title: 'Memory', value: current('process_resident_memory_bytes'), show: bytes, beside: (f) => `${count(f.tidegate_stalls_total)} stalls` },
];

export class Figures {
  #tiles;
  #before;

  constructor(place) {
    this.#tiles = FIGURES.map((figure) => new Tile(figure));
    place.replaceChildren(...this.#tiles.map((tile) => tile.place));
  }

  show(sample) {
    for (const tile of this.#tiles) tile.show(sample, this.#before);
    this.#before = sample;
  }
}

class Tile {
  #figure;
  #values = [];
  #value = element('div', 'value', '–');
  #beside = element('div', 'beside');
  #line = svg('path', { class: 'line' });
  #area = svg('path', { class: 'area' });

  constructor(figure) {
    this.#figure = figure;
    this.place = element('article', 'figure');
    this.place.id = `figure-${figure.id}`;
    const chart = svg('svg', { class: 'spark', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    chart.append(this.#area, this.#line);
    this.place.append(element('h3', '', figure.title), this.#value, this.#beside, chart);
  }

  show(sample, before) {
    const { value, show, beside, alert } = this.#figure;
    const number = value(sample, before);
    write(this.#value, show(number));
    write(this.#beside, beside(sample.figures));
    this.place.classList.toggle('alert', Boolean(alert && number > 0));
    if (before) this.#values.push(number);
    if (this.#values.length > SAMPLES) this.#values.shift();
    this.#draw();
  }

  #draw() {
    const most = Math.max(...this.#values, 1e-9);
    const step = WIDTH / (Math.max(this.#values.length, FEWEST) - 1);
    const start = WIDTH - (this.#values.length - 1) * step;
    const points = this.#values.map((value, at) => `${(start + at * step).toFixed(1)} ${(HEIGHT - 2 - (value / most) * (HEIGHT - 8)).toFixed(1)}`);
    if (points.length < 2) return;
    this.#line.setAttribute('d', `M${points.join('L')}`);
    this.#area.setAttribute('d', `M${start.toFixed(1)} ${HEIGHT}L${points.join('L')}L${WIDTH} ${HEIGHT}Z`);
  }
}

function svg(tag, attributes) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
