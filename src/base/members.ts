/**
 * Who comes and goes, in the order they came. For what is made for each connection or request; where few come and stay, take a Set.
 *
 * Not a Set: V8 links each table that a Set leaves for a new one to the next. One that has become old leads to all tables and
 * members after it, which then live until the next whole collection (V8 14.6).
 */
export interface Member<T> {
  readonly value: T;
}

interface Link<T> extends Member<T> {
  previous: Link<T> | undefined;
  next: Link<T> | undefined;
  isIn: boolean;
}

export class Members<T> {
  #first: Link<T> | undefined;
  #last: Link<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Keep what is returned: `remove` takes it. */
  add(value: T): Member<T> {
    const link: Link<T> = { value, previous: this.#last, next: undefined, isIn: true };
    if (this.#last === undefined) this.#first = link;
    else this.#last.next = link;
    this.#last = link;
    this.#size++;
    return link;
  }

  /** Of one that was added here. Harmless when called again. */
  remove(member: Member<T>): void {
    const link = member as Link<T>;
    if (!link.isIn) return;
    link.isIn = false;
    const { previous, next } = link;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    // One that is kept leads to nobody who came after it.
    link.previous = undefined;
    link.next = undefined;
    this.#size--;
  }

  /** Those of the moment. */
  all(): T[] {
    const values: T[] = [];
    for (let link = this.#first; link !== undefined; link = link.next) values.push(link.value);
    return values;
  }
}
