/** Things by a key, several under one, and by a condition on a text. Nothing is left of what has been deleted. */
import type { StringMatch } from '../mesh/model.ts';

export class Buckets<Key, T> {
  readonly #things = new Map<Key, T[]>();

  get size(): number {
    return this.#things.size;
  }

  /** The same array for as long as anything is in it. */
  at(key: Key): readonly T[] | undefined {
    return this.#things.get(key);
  }

  add(key: Key, thing: T): void {
    const things = this.#things.get(key);
    if (things === undefined) this.#things.set(key, [thing]);
    else things.push(thing);
  }

  delete(key: Key, thing: T): void {
    const things = this.#things.get(key);
    const index = things?.indexOf(thing) ?? -1;
    if (things === undefined || index < 0) return;
    things.splice(index, 1);
    if (things.length === 0) this.#things.delete(key);
  }

  /** Appends what is under the key. */
  collect(key: Key, found: T[]): void {
    const things = this.#things.get(key);
    if (things !== undefined) for (const thing of things) found.push(thing);
  }
}

export type TextCondition = Extract<StringMatch, { readonly value: string }>;

/**
 * Looking up costs by the different lengths of prefixes and suffixes, of which there are no more than the longest text
 * has characters, and not by the number of conditions.
 */
export class TextBuckets<T> {
  readonly #exact = new Buckets<string, T>();
  readonly #prefixes = new Map<number, Buckets<string, T>>();
  readonly #suffixes = new Map<number, Buckets<string, T>>();

  add({ kind, value }: TextCondition, thing: T): void {
    if (kind === 'exact') {
      this.#exact.add(value, thing);
      return;
    }
    const byLength = kind === 'prefix' ? this.#prefixes : this.#suffixes;
    const buckets = byLength.get(value.length) ?? new Buckets();
    byLength.set(value.length, buckets);
    buckets.add(value, thing);
  }

  delete({ kind, value }: TextCondition, thing: T): void {
    if (kind === 'exact') {
      this.#exact.delete(value, thing);
      return;
    }
    const byLength = kind === 'prefix' ? this.#prefixes : this.#suffixes;
    const buckets = byLength.get(value.length);
    buckets?.delete(value, thing);
    if (buckets?.size === 0) byLength.delete(value.length);
  }

  /** Appends what is under conditions that the text meets. */
  collect(text: string, found: T[]): void {
    this.#exact.collect(text, found);
    for (const [length, buckets] of this.#prefixes) {
      if (length <= text.length) buckets.collect(text.slice(0, length), found);
    }
    for (const [length, buckets] of this.#suffixes) {
      if (length <= text.length) buckets.collect(text.slice(text.length - length), found);
    }
  }
}
