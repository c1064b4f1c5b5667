/**
 * Says once that nobody waits any more. What AbortSignal is for, for the hot path: no EventTarget, and no error with its
 * stack made for each connection that closes.
 *
 * I1: a callback is called at most once, and never after `off`.
 */
export class Cancellation {
  #callbacks: (() => void)[] = [];
  #cancelled = false;

  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** Calls back when cancelled; not for what was cancelled before. */
  on(callback: () => void): void {
    if (!this.#cancelled) this.#callbacks.push(callback);
  }

  off(callback: () => void): void {
    const at = this.#callbacks.indexOf(callback);
    if (at >= 0) this.#callbacks.splice(at, 1);
  }

  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    for (let callback = this.#callbacks.shift(); callback !== undefined; callback = this.#callbacks.shift()) callback();
  }
}
