/** Times in access logs: Envoy's default, or a format of `strftime` with its `%f` for parts of a second. Always UTC. */

/** `wallMs` in milliseconds. A text says what is wrong with the format. */
export function timeFormat(format: string): ((wallMs: number) => string) | string {
  if (format === '') return isoTime;
  const parts: (string | ((date: Date) => string))[] = [];
  for (const [whole, digits, letter] of format.matchAll(/%(\d?)([A-Za-z%])|[^%]+|%/g)) {
    if (letter === undefined) {
      parts.push(whole);
      continue;
    }
    const part = Object.hasOwn(directives, letter) ? directives[letter] : undefined;
    if (part === undefined || (digits !== '' && letter !== 'f')) return `${whole} is not known`;
    parts.push((date) => part(date, digits === '' ? 9 : Number(digits)));
  }
  return (wallMs) => {
    const date = new Date(wallMs);
    let text = '';
    for (const part of parts) text += typeof part === 'string' ? part : part(date);
    return text;
  };
}

let last = { wallMs: Number.NaN, text: '' };

/** `2016-12-15T16:23:00.123Z`. Many lines come in one millisecond. */
function isoTime(wallMs: number): string {
  const whole = Math.floor(wallMs);
  if (whole === last.wallMs) return last.text;
  const text = new Date(whole).toISOString();
  last = { wallMs: whole, text };
  return text;
}

const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const months = 'January February March April May June July August September October November December'.split(' ');

const directives: Readonly<Record<string, (date: Date, digits: number) => string>> = {
  Y: (date) => String(date.getUTCFullYear()),
  y: (date) => two(date.getUTCFullYear() % 100),
  m: (date) => two(date.getUTCMonth() + 1),
  d: (date) => two(date.getUTCDate()),
  e: (date) => String(date.getUTCDate()).padStart(2, ' '),
  H: (date) => two(date.getUTCHours()),
  I: (date) => two(date.getUTCHours() % 12 || 12),
  p: (date) => (date.getUTCHours() < 12 ? 'AM' : 'PM'),
  M: (date) => two(date.getUTCMinutes()),
  S: (date) => two(date.getUTCSeconds()),
  f: (date, digits) => `${String(date.getUTCMilliseconds()).padStart(3, '0')}000000`.slice(0, digits),
  s: (date) => String(Math.floor(date.getTime() / 1000)),
  z: () => '+0000',
  Z: () => 'UTC',
  a: (date) => (days[date.getUTCDay()] as string).slice(0, 3),
  A: (date) => days[date.getUTCDay()] as string,
  b: (date) => (months[date.getUTCMonth()] as string).slice(0, 3),
  B: (date) => months[date.getUTCMonth()] as string,
  F: (date) => date.toISOString().slice(0, 10),
  T: (date) => date.toISOString().slice(11, 19),
  '%': () => '%',
};

function two(number: number): string {
  return String(number).padStart(2, '0');
}
