/**
 * The shutdown contract: one trigger, many watchers, and a wait until those that block the drain have left or the
 * deadline has passed. After ztunnel's `drain`: listeners close at once, connections may end by themselves until then.
 */
import type { Clock } from './clock.ts';

export interface DrainWatcher {
  readonly draining: boolean;
  /** Aborts when the drain begins. */
  readonly signal: AbortSignal;
  /** Keeps the drain from being complete until `release` is called. */
  block(): { release(): void };
}

export class Drain implements DrainWatcher {
  readonly #controller = new AbortController();
  #blockers = 0;
  #waiters: (() => void)[] = [];

  get draining(): boolean {
    return this.#controller.signal.aborted;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get blockers(): number {
    return this.#blockers;
  }

  block(): { release(): void } {
    this.#blockers++;
    let held = true;
    return {
      release: () => {
        if (!held) return;
        held = false;
        this.#blockers--;
        if (this.#blockers === 0) for (const waiter of this.#waiters.splice(0)) waiter();
      },
    };
  }

  /** Begins the drain; resolves `true` when all blockers left, `false` when the deadline came first. */
  async drain(deadlineMs: number, clock: Clock): Promise<boolean> {
    this.#controller.abort();
    if (this.#blockers === 0) return true;
    return await new Promise<boolean>((resolve) => {
      const timer = clock.after(deadlineMs, () => resolve(false));
      this.#waiters.push(() => {
        timer.cancel();
        resolve(true);
      });
    });
  }
}
