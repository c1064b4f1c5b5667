/** How often something happens in each turn of the event loop: how large a share of it somebody takes. */
export class TurnCounter {
  /** By turn; of those in which it happened. */
  readonly counts = new Map<number, number>();
  #turns = 0;
  #over = false;

  /** From now on turns are told apart. Keeps the loop turning until `stop`. */
  start(): void {
    this.#turns++;
    if (!this.#over) setImmediate(() => this.start());
  }

  stop(): void {
    this.#over = true;
  }

  /** It happens now. */
  count(): void {
    this.counts.set(this.#turns, (this.counts.get(this.#turns) ?? 0) + 1);
  }

  /** Begun since `start`. */
  get turns(): number {
    return this.#turns;
  }

  /** In one turn. */
  get most(): number {
    return Math.max(0, ...this.counts.values());
  }
}
