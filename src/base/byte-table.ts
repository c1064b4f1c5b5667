/**
 * Values by the bytes they were read from: what arrives a hundred thousand times over is made once and shared. A look-up
 * compares bytes and makes no string.
 *
 * I1: at most twice `limit` values are kept. When the table is full it begins anew, and what is asked for again moves over;
 *     what nobody asked for since the last time is forgotten. Forgetting costs sharing, never correctness.
 */
import { randomInt } from 'node:crypto';

interface Generation<T> {
  /** Powers of two long; 0 where there is no key. */
  hashes: Int32Array;
  /** Bytes as characters 0..255. */
  keys: (string | undefined)[];
  values: (T | undefined)[];
  count: number;
}

const smallest = 64;
/** Of the slots that may be taken; above, probing gets long. */
const fullest = 0.7;

export class ByteTable<T> {
  readonly #limit: number;
  #recent = emptyGeneration<T>(smallest);
  #older: Generation<T> | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Values kept. */
  get size(): number {
    return this.#recent.count + (this.#older?.count ?? 0);
  }

  get(bytes: Buffer, start: number, end: number): T | undefined {
    const hash = hashOfBytes(bytes, start, end);
    const at = slotOfBytes(this.#recent, hash, bytes, start, end);
    const key = this.#recent.keys[at];
    if (key !== undefined) return this.#recent.values[at];
    if (this.#older === undefined) return undefined;
    const before = slotOfBytes(this.#older, hash, bytes, start, end);
    const known = this.#older.keys[before];
    if (known === undefined) return undefined;
    const value = this.#older.values[before] as T;
    this.#put(known, hash, value);
    return value;
  }

  set(bytes: Buffer, start: number, end: number, value: T): void {
    this.setText(bytes.toString('latin1', start, end), value);
  }

  /** As `get`, for bytes given as characters 0..255. */
  getText(text: string): T | undefined {
    const hash = hashOfText(text);
    const at = slotOfText(this.#recent, hash, text);
    if (this.#recent.keys[at] !== undefined) return this.#recent.values[at];
    if (this.#older === undefined) return undefined;
    const before = slotOfText(this.#older, hash, text);
    if (this.#older.keys[before] === undefined) return undefined;
    const value = this.#older.values[before] as T;
    this.#put(text, hash, value);
    return value;
  }

  setText(text: string, value: T): void {
    this.#put(text, hashOfText(text), value);
  }

  #put(key: string, hash: number, value: T): void {
    if (this.#recent.count >= this.#limit) {
      this.#older = this.#recent;
      this.#recent = emptyGeneration(smallest);
    } else if (this.#recent.count >= this.#recent.hashes.length * fullest) {
      this.#recent = grown(this.#recent);
    }
    const { hashes, keys, values } = this.#recent;
    const at = slotOfText(this.#recent, hash, key);
    if (keys[at] === undefined) this.#recent.count++;
    hashes[at] = hash;
    keys[at] = key;
    values[at] = value;
  }
}

function emptyGeneration<T>(slots: number): Generation<T> {
  return {
    hashes: new Int32Array(slots),
    keys: new Array<string | undefined>(slots).fill(undefined),
    values: new Array<T | undefined>(slots).fill(undefined),
    count: 0,
  };
}

function grown<T>(generation: Generation<T>): Generation<T> {
  const { hashes, keys, values, count } = generation;
  const larger = emptyGeneration<T>(hashes.length * 2);
  const mask = larger.hashes.length - 1;
  for (let i = 0; i < hashes.length; i++) {
    if (keys[i] === undefined) continue;
    const hash = hashes[i] as number;
    let at = hash & mask;
    while (larger.keys[at] !== undefined) at = (at + 1) & mask;
    larger.hashes[at] = hash;
    larger.keys[at] = keys[i];
    larger.values[at] = values[i];
  }
  larger.count = count;
  return larger;
}

/** Where the key is, or the free slot where it belongs. */
function slotOfBytes(
  { hashes, keys }: Generation<unknown>,
  hash: number,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  const mask = hashes.length - 1;
  for (let at = hash & mask; ; at = (at + 1) & mask) {
    const key = keys[at];
    if (key === undefined || (hashes[at] === hash && isText(key, bytes, start, end))) return at;
  }
}

function slotOfText({ hashes, keys }: Generation<unknown>, hash: number, text: string): number {
  const mask = hashes.length - 1;
  for (let at = hash & mask; ; at = (at + 1) & mask) {
    const key = keys[at];
    if (key === undefined || (hashes[at] === hash && key === text)) return at;
  }
}

function isText(text: string, bytes: Buffer, start: number, end: number): boolean {
  if (text.length !== end - start) return false;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== bytes[start + i]) return false;
  return true;
}

/** Of this process alone: who may choose names in a mesh must not be able to choose some that all fall on one slot. */
const seed = randomInt(2 ** 32) | 0;

/** FNV-1a, then mixed: its low bits alone are poor for keys that differ at their end. */
function hashOfBytes(bytes: Buffer, start: number, end: number): number {
  let hash = seed;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return mixed(hash);
}

function hashOfText(text: string): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mixed(hash);
}

function mixed(hash: number): number {
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) ^ (hash >>> 13);
}
