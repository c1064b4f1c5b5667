/**
 * What is remembered for many who share the room. It remembers who has used what: so many pairs of a user and a key. When there
 * is no room, whoever has used most forgets what it used longest ago; an entry goes with the last who remembers it. So nobody
 * pushes out what others use by asking for very much.
 *
 * I1: a user of no more than the limit divided by the users loses nothing, whatever the others use.
 */

interface Entry<V> {
  readonly value: V;
  users: number;
}

export class FairCache<V> {
  readonly #limit: number;
  readonly #onGone: (value: V) => void;
  readonly #entries = new Map<string, Entry<V>>();
  /** Of each user its keys, the one used longest ago first. Nobody without any is in it. */
  readonly #used = new Map<string, Set<string>>();
  #pairs = 0;

  /** `onGone`: nobody remembers it any more. */
  constructor(limit: number, onGone: (value: V) => void) {
    this.#limit = limit;
    this.#onGone = onGone;
  }

  /** Entries. */
  get size(): number {
    return this.#entries.size;
  }

  /** The entry, made when there is none. */
  use(key: string, user: string, make: () => V): V {
    const keys = this.#used.get(user);
    const entry = this.#entries.get(key) ?? this.#add(key, make());
    if (keys?.delete(key) === true) {
      // Back at the end: the order is that of use.
      keys.add(key);
      return entry.value;
    }
    // Before room is made, which must not take the entry away.
    entry.users++;
    if (this.#pairs >= this.#limit) this.#makeRoom(user);
    this.#used.getOrInsertComputed(user, newSet).add(key);
    this.#pairs++;
    return entry.value;
  }

  #add(key: string, value: V): Entry<V> {
    const entry = { value, users: 0 };
    this.#entries.set(key, entry);
    return entry;
  }

  #makeRoom(newcomer: string): void {
    const own = this.#used.get(newcomer)?.size ?? 0;
    let most = newcomer;
    // What is to come counts; who has nothing has nothing to forget.
    let count = own === 0 ? 0 : own + 1;
    for (const [user, { size }] of this.#used) {
      if (size <= count) continue;
      most = user;
      count = size;
    }
    const keys = this.#used.get(most);
    const [oldest] = keys ?? [];
    if (keys === undefined || oldest === undefined) return;
    keys.delete(oldest);
    if (keys.size === 0) this.#used.delete(most);
    this.#pairs--;
    const entry = this.#entries.get(oldest);
    if (entry === undefined || --entry.users > 0) return;
    this.#entries.delete(oldest);
    this.#onGone(entry.value);
  }
}

function newSet(): Set<string> {
  return new Set();
}
