/** Functions and operators of expressions. Total: what makes no sense is an error value. Results are bounded. */
import { re2 } from './regex.ts';
import {
  CelDouble,
  CelDuration,
  CelError,
  CelMap,
  CelTimestamp,
  type CelValue,
  compare,
  equal,
  isList,
  numberOf,
  textOf,
  typeOf,
} from './values.ts';

/** Texts that an expression makes are no longer. */
const longestText = 4096;

export type CelFunction = (args: readonly CelValue[]) => CelValue;

interface Signature {
  /** With the target of a method, which comes first. */
  readonly args: number;
  readonly call: CelFunction;
}

const onTexts = (call: (text: string, other: string) => CelValue): Signature => ({
  args: 2,
  call: ([a, b]) => (typeof a === 'string' && typeof b === 'string' ? call(a, b) : noOverload([a, b])),
});

const onText = (call: (text: string) => CelValue): Signature => ({
  args: 1,
  call: ([a]) => (typeof a === 'string' ? call(a) : noOverload([a])),
});

export const methods: Readonly<Record<string, Signature>> = {
  contains: onTexts((text, part) => text.includes(part)),
  startsWith: onTexts((text, part) => text.startsWith(part)),
  endsWith: onTexts((text, part) => text.endsWith(part)),
  lowerAscii: onText((text) => text.replace(/[A-Z]+/g, (part) => part.toLowerCase())),
  upperAscii: onText((text) => text.replace(/[a-z]+/g, (part) => part.toUpperCase())),
  trim: onText((text) => text.trim()),
  indexOf: onTexts((text, part) => text.indexOf(part)),
  substring: {
    args: 3,
    call: ([text, from, to]) => {
      if (typeof text !== 'string' || typeof from !== 'number' || typeof to !== 'number')
        return noOverload([text, from]);
      return from < 0 || to > text.length || from > to ? new CelError('substring out of range') : text.slice(from, to);
    },
  },
  split: onTexts((text, by) => text.split(by)),
  replace: {
    args: 3,
    call: ([text, from, to]) => {
      if (typeof text !== 'string' || typeof from !== 'string' || typeof to !== 'string')
        return noOverload([text, from]);
      return bounded(from === '' ? text : text.replaceAll(from, () => to));
    },
  },
  size: { args: 1, call: ([value]) => sizeOf(value) },
  getFullYear: { args: 1, call: ([value]) => datePart(value, (date) => date.getUTCFullYear()) },
  getHours: { args: 1, call: ([value]) => datePart(value, (date) => date.getUTCHours()) },
  getMilliseconds: {
    args: 1,
    call: ([value]) =>
      value instanceof CelDuration ? Math.trunc(value.ms) : datePart(value, (date) => date.getUTCMilliseconds()),
  },
};

export const functions: Readonly<Record<string, Signature>> = {
  size: { args: 1, call: ([value]) => sizeOf(value) },
  string: { args: 1, call: ([value]) => textOf(value as CelValue) ?? noOverload([value]) },
  int: { args: 1, call: ([value]) => toInt(value as CelValue) },
  uint: { args: 1, call: ([value]) => toInt(value as CelValue) },
  double: { args: 1, call: ([value]) => toDouble(value as CelValue) },
  duration: onText((text) => {
    const ms = durationMs(text);
    return ms === undefined ? new CelError(`not a duration: ${text.slice(0, 40)}`) : new CelDuration(ms);
  }),
  timestamp: onText((text) => {
    const ms = Date.parse(text);
    return Number.isNaN(ms) ? new CelError(`not a timestamp: ${text.slice(0, 40)}`) : new CelTimestamp(ms);
  }),
};

/** `matches` with a pattern that is not known before the request comes is refused: it could not be compiled once. */
export function matcher(pattern: string): CelFunction | undefined {
  const test = re2(pattern);
  if (test === undefined) return undefined;
  return ([text]) => (typeof text === 'string' ? test(text) : noOverload([text]));
}

/** All but `&&`, `||` and `in`, which do not need both sides or have errors of their own. */
export const operators: Readonly<Record<string, (a: CelValue, b: CelValue) => CelValue>> = {
  '==': (a, b) => equal(a, b),
  '!=': (a, b) => !equal(a, b),
  '<': ordered((order) => order < 0),
  '<=': ordered((order) => order <= 0),
  '>': ordered((order) => order > 0),
  '>=': ordered((order) => order >= 0),
  '+': plus,
  '-': minus,
  '*': arithmetic((a, b) => a * b),
  '/': (a, b) => (b === 0 ? new CelError('division by zero') : quotient(a, b)),
  '%': (a, b) => {
    if (typeof a !== 'number' || typeof b !== 'number') return noOverload([a, b]);
    return b === 0 ? new CelError('modulus by zero') : a % b;
  },
  in: (a, b) => {
    if (isList(b)) return b.some((each) => equal(a, each));
    if (b instanceof CelMap) return typeof a === 'string' && b.get(a) !== undefined;
    return noOverload([a, b]);
  },
};

export function negative(value: CelValue): CelValue {
  if (typeof value === 'number') return value === 0 ? 0 : -value;
  if (value instanceof CelDouble) return new CelDouble(-value.value);
  return value instanceof CelError ? value : noOverload([value]);
}

export function noOverload(args: readonly (CelValue | undefined)[]): CelError {
  for (const each of args) if (each instanceof CelError) return each;
  return new CelError(`not for ${args.map((each) => (each === undefined ? 'nothing' : typeOf(each))).join(' and ')}`);
}

/** `1h2m3.5s`, `100ms`: Go's form. */
export function durationMs(text: string): number | undefined {
  if (!/^-?(?:\d+(?:\.\d+)?(?:h|ms|us|ns|m|s))+$/.test(text) || text.length > 64) return undefined;
  let total = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|us|ns|m|s)/g)) {
    total += Number(count) * (unitMs[unit ?? ''] ?? 0);
  }
  return text.startsWith('-') ? -total : total;
}

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, ns: 1e-6 };

function ordered(holds: (order: number) => boolean) {
  return (a: CelValue, b: CelValue): CelValue => {
    const order = compare(a, b);
    return order === undefined ? noOverload([a, b]) : holds(order);
  };
}

function plus(a: CelValue, b: CelValue): CelValue {
  if (typeof a === 'string' && typeof b === 'string') return bounded(a + b);
  if (a instanceof CelTimestamp && b instanceof CelDuration) return new CelTimestamp(a.ms + b.ms);
  if (a instanceof CelDuration && b instanceof CelDuration) return new CelDuration(a.ms + b.ms);
  if (isList(a) && isList(b)) return a.length + b.length > 1000 ? new CelError('the list is too long') : [...a, ...b];
  return arithmetic((x, y) => x + y)(a, b);
}

function minus(a: CelValue, b: CelValue): CelValue {
  if (a instanceof CelTimestamp && b instanceof CelTimestamp) return new CelDuration(a.ms - b.ms);
  if (a instanceof CelTimestamp && b instanceof CelDuration) return new CelTimestamp(a.ms - b.ms);
  if (a instanceof CelDuration && b instanceof CelDuration) return new CelDuration(a.ms - b.ms);
  return arithmetic((x, y) => x - y)(a, b);
}

function quotient(a: CelValue, b: CelValue): CelValue {
  if (typeof a === 'number' && typeof b === 'number') return Math.trunc(a / b);
  return arithmetic((x, y) => x / y)(a, b);
}

/** Two whole numbers give a whole one, or an error when it is too large; two others a `CelDouble`. */
function arithmetic(compute: (a: number, b: number) => number) {
  return (a: CelValue, b: CelValue): CelValue => {
    if (typeof a === 'number' && typeof b === 'number') {
      const whole = compute(a, b);
      return Number.isSafeInteger(whole) ? whole : new CelError('the number is too large');
    }
    if (a instanceof CelDouble && b instanceof CelDouble) return new CelDouble(compute(a.value, b.value));
    return noOverload([a, b]);
  };
}

function sizeOf(value: CelValue | undefined): CelValue {
  if (typeof value === 'string') return Array.from(value).length;
  return value !== undefined && isList(value) ? value.length : noOverload([value]);
}

function toInt(value: CelValue): CelValue {
  if (value instanceof CelTimestamp) return Math.trunc(value.ms / 1000);
  const number = typeof value === 'string' ? wholeNumber(value) : numberOf(value);
  if (number === undefined) return noOverload([value]);
  const whole = Math.trunc(number);
  return Number.isSafeInteger(whole) ? whole : new CelError('the number is too large');
}

function wholeNumber(text: string): number {
  return /^[+-]?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
}

function toDouble(value: CelValue): CelValue {
  const number = typeof value === 'string' ? Number(value.trim() === '' ? Number.NaN : value) : numberOf(value);
  return number === undefined || Number.isNaN(number) ? noOverload([value]) : new CelDouble(number);
}

function datePart(value: CelValue | undefined, part: (date: Date) => number): CelValue {
  return value instanceof CelTimestamp ? part(new Date(value.ms)) : noOverload([value]);
}

function bounded(text: string): CelValue {
  return text.length > longestText ? new CelError('the text is too long') : text;
}
