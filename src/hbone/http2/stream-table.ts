/**
 * The streams of a session by number: a table with open addressing. Numbers come in order, so nearly every stream has its place at once.
 *
 * Not a Map: V8 links each table that a Map leaves for a new one to the next. One that has become old leads to all tables and
 * streams after it, which then live until the next whole collection; a session that opens and closes streams all the time leaves
 * one for each score of them (V8 14.6).
 */
import type { FramedStream } from './stream.ts';

const leastPlaces = 16;

export class StreamTable {
  #places = noPlaces(leastPlaces);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): FramedStream | undefined {
    return this.#places[this.#placeOf(id)];
  }

  /** Of a number that is not there. */
  add(stream: FramedStream): void {
    if (2 * ++this.#size > this.#places.length) this.#resize(2 * this.#places.length);
    this.#places[this.#placeOf(stream.id)] = stream;
  }

  delete(id: number): boolean {
    const places = this.#places;
    let free = this.#placeOf(id);
    if (places[free] === undefined) return false;
    places[free] = undefined;
    // Those behind it that were looked for from a place at or before this one move up.
    const mask = places.length - 1;
    for (let at = (free + 1) & mask; ; at = (at + 1) & mask) {
      const stream = places[at];
      if (stream === undefined) break;
      const missed = (at - firstPlace(stream.id, mask)) & mask;
      if (missed < ((at - free) & mask)) continue;
      places[free] = stream;
      places[at] = undefined;
      free = at;
    }
    if (--this.#size === 0 && places.length > leastPlaces) this.#places = noPlaces(leastPlaces);
    return true;
  }

  /** Those of the moment, in no order. */
  all(): FramedStream[] {
    return this.#places.filter((stream) => stream !== undefined);
  }

  clear(): void {
    this.#places = noPlaces(leastPlaces);
    this.#size = 0;
  }

  /** Where it is, or would be. */
  #placeOf(id: number): number {
    const places = this.#places;
    const mask = places.length - 1;
    for (let at = firstPlace(id, mask); ; at = (at + 1) & mask) {
      const stream = places[at];
      if (stream === undefined || stream.id === id) return at;
    }
  }

  #resize(count: number): void {
    const streams = this.all();
    this.#places = noPlaces(count);
    for (const stream of streams) this.#places[this.#placeOf(stream.id)] = stream;
  }
}

/** Numbers of one side are all odd, or all even. */
function firstPlace(id: number, mask: number): number {
  return (id >>> 1) & mask;
}

function noPlaces(count: number): (FramedStream | undefined)[] {
  return new Array<FramedStream | undefined>(count).fill(undefined);
}
