/**
 * Who asks the CA next: by priority, then by age, a bounded number at a time. Asking again for what waits already only
 * raises its priority.
 */

/** `background`: renewals. `warmup`: a workload appeared. `real-time`: a connection waits. */
export type FetchPriority = 'background' | 'warmup' | 'real-time';

const inOrder: readonly FetchPriority[] = ['real-time', 'warmup', 'background'];

export class FetchQueue<T> {
  readonly #maxRunning: number;
  readonly #run: (item: T) => Promise<void>;
  readonly #waiting: Readonly<Record<FetchPriority, Set<T>>> = {
    'real-time': new Set(),
    warmup: new Set(),
    background: new Set(),
  };
  #running = 0;

  /** `run` must not reject. */
  constructor(maxRunning: number, run: (item: T) => Promise<void>) {
    this.#maxRunning = maxRunning;
    this.#run = run;
  }

  add(item: T, priority: FetchPriority): void {
    const present = inOrder.find((one) => this.#waiting[one].has(item));
    if (present !== undefined && inOrder.indexOf(present) <= inOrder.indexOf(priority)) return;
    this.remove(item);
    this.#waiting[priority].add(item);
    this.#start();
  }

  remove(item: T): void {
    for (const one of inOrder) this.#waiting[one].delete(item);
  }

  #start(): void {
    while (this.#running < this.#maxRunning) {
      const item = this.#next();
      if (item === undefined) return;
      this.#running++;
      void this.#run(item).finally(() => {
        this.#running--;
        this.#start();
      });
    }
  }

  #next(): T | undefined {
    for (const priority of inOrder) {
      for (const item of this.#waiting[priority]) {
        this.#waiting[priority].delete(item);
        return item;
      }
    }
    return undefined;
  }
}
