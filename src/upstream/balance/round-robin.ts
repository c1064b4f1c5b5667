/**
 * Round robin by weights: earliest deadline first, as Envoy's scheduler. A host's next turn is 1 / weight after its last, so
 * that within any time hosts are used in proportion, and turns of one host are evenly spaced.
 */

export class RoundRobin {
  /** A heap of host indexes by deadline. */
  readonly #heap: Uint32Array;
  readonly #deadlines: Float64Array;
  readonly #weightOf: (index: number) => number;

  /** `weightOf` is asked at every turn: weights may grow. `start`, 0 to 1: where the first round begins. */
  constructor(size: number, weightOf: (index: number) => number, start: number) {
    this.#heap = new Uint32Array(size);
    this.#deadlines = new Float64Array(size);
    this.#weightOf = weightOf;
    const first = Math.floor(start * size);
    for (let i = 0; i < size; i++) {
      const index = (first + i) % size;
      this.#heap[i] = index;
      // Distinct, so that equal weights go round in order.
      this.#deadlines[index] = (1 + i / size) / weightOf(index);
    }
    for (let i = (size >>> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  /** Of the host whose turn it is. */
  next(): number {
    const index = this.#heap[0] as number;
    this.#deadlines[index] = (this.#deadlines[index] as number) + 1 / this.#weightOf(index);
    this.#sink(0);
    return index;
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const index = heap[from] as number;
    const deadline = this.#deadlines[index] as number;
    let place = from;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.#deadlineAt(child + 1) < this.#deadlineAt(child)) child++;
      if (this.#deadlineAt(child) >= deadline) break;
      heap[place] = heap[child] as number;
      place = child;
    }
    heap[place] = index;
  }

  #deadlineAt(place: number): number {
    return this.#deadlines[this.#heap[place] as number] as number;
  }
}
