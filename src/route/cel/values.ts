/**
 * Values of the Common Expression Language as this room computes them. An error is a value, since `true || error` is true
 * (https://github.com/google/cel-spec, "Evaluation"): nothing here throws for what traffic says.
 */

/** Whole numbers are plain numbers; what is not whole is a `CelDouble`, so that `5 / 2` and `5.0 / 2.0` differ. */
export type CelValue =
  | string
  | number
  | boolean
  | null
  | CelDouble
  | CelDuration
  | CelTimestamp
  | CelMap
  | readonly CelValue[]
  | CelError;

export class CelDouble {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export class CelDuration {
  readonly ms: number;
  constructor(ms: number) {
    this.ms = ms;
  }
}

/** Wall clock, milliseconds since the epoch. */
export class CelTimestamp {
  readonly ms: number;
  constructor(ms: number) {
    this.ms = ms;
  }
}

/** What is looked up by text: headers, labels. */
export class CelMap {
  readonly get: (key: string) => CelValue | undefined;
  constructor(get: (key: string) => CelValue | undefined) {
    this.get = get;
  }
}

export class CelError {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

export function isList(value: CelValue): value is readonly CelValue[] {
  return Array.isArray(value);
}

export function typeOf(value: CelValue): string {
  if (value === null) return 'null';
  if (typeof value === 'number') return 'int';
  if (typeof value === 'string') return 'string';
  if (typeof value === 'boolean') return 'bool';
  if (value instanceof CelDouble) return 'double';
  if (value instanceof CelDuration) return 'duration';
  if (value instanceof CelTimestamp) return 'timestamp';
  if (value instanceof CelMap) return 'map';
  return isList(value) ? 'list' : 'error';
}

/** Numbers of both kinds compare with each other; values of other different types are never equal. */
export function equal(a: CelValue, b: CelValue): boolean {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined || y !== undefined) return x === y;
  if (a instanceof CelDuration) return b instanceof CelDuration && a.ms === b.ms;
  if (a instanceof CelTimestamp) return b instanceof CelTimestamp && a.ms === b.ms;
  if (isList(a)) return isList(b) && a.length === b.length && a.every((each, i) => equal(each, b[i] as CelValue));
  return a === b;
}

/** Below, at or above zero; undefined when the two cannot be ordered. */
export function compare(a: CelValue, b: CelValue): number | undefined {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined && y !== undefined) return x - y;
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0;
  if (a instanceof CelDuration && b instanceof CelDuration) return a.ms - b.ms;
  if (a instanceof CelTimestamp && b instanceof CelTimestamp) return a.ms - b.ms;
  if (typeof a === 'boolean' && typeof b === 'boolean') return Number(a) - Number(b);
  return undefined;
}

export function numberOf(value: CelValue): number | undefined {
  if (typeof value === 'number') return value;
  return value instanceof CelDouble ? value.value : undefined;
}

/** As `string()` shows it and as a tag's value; undefined for what has no text. */
export function textOf(value: CelValue): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (value instanceof CelDouble) return String(value.value);
  if (value instanceof CelDuration) return `${value.ms / 1000}s`;
  if (value instanceof CelTimestamp && Number.isFinite(value.ms)) return new Date(value.ms).toISOString();
  return undefined;
}
