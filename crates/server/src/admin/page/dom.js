// Elements, and how things are written. Whatever comes from the server reaches the page as text, never as HTML.

export function byId(id) {
  return document.getElementById(id);
}

export function element(tag, className = '', text = '') {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== '') made.textContent = text;
  return made;
}

/** Changes a text only where it differs, so that nothing is announced or selected anew. */
export function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * A name as people can tell it from others: without the characters that hide, or turn the direction of what
 * follows them.
 */
export function visible(name) {
  const shown = name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  return shown === '' ? '–' : shown;
}

/** A payload: line breaks stay, what hides does not. */
export function payload(text) {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, (c) => ('\n\t'.includes(c) ? c : `\\u{${c.codePointAt(0).toString(16)}}`));
}

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export function count(number) {
  return number < 100_000 ? plain.format(number) : short.format(number);
}

export function rate(number) {
  if (number >= 100 || number === 0) return count(number);
  return number.toFixed(number < 10 ? 1 : 0);
}

export function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; number >= 1024 && unit < units.length - 1; unit++) number /= 1024;
  return `${number >= 100 || unit === 0 ? number.toFixed(0) : number.toFixed(1)} ${units[unit]}`;
}

export function duration(seconds) {
  const parts = [
    ['d', Math.floor(seconds / 86_400)],
    ['h', Math.floor(seconds / 3600) % 24],
    ['m', Math.floor(seconds / 60) % 60],
    ['s', Math.floor(seconds) % 60],
  ];
  const first = parts.findIndex(([, value]) => value > 0);
  if (first < 0) return '0 s';
  return parts.slice(first, first + 2).filter(([, value], at) => at === 0 || value > 0).map(([unit, value]) => `${value} ${unit}`).join(' ');
}
