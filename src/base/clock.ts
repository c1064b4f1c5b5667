/**
 * Time as a dependency, so that tests never sleep (design rule 9). `test/support/fake-clock.ts` is the other one.
 */

export interface Timer {
  /** Stops the timer; calling it again, or after it fired, does nothing. */
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since the epoch: for dates in certificates and logs. */
  wallMs(): number;
  /** Milliseconds that never go back: for durations and deadlines. */
  nowMs(): number;
  /** Calls back once after `delayMs`. Timers do not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer;
}

/** Node clamps longer timers to 1 ms; certificates of a month need more. */
const longestTimerMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  nowMs: () => performance.now(),
  after(delayMs, callback) {
    let handle: NodeJS.Timeout;
    const arm = (leftMs: number) => {
      const stepMs = Math.min(leftMs, longestTimerMs);
      handle = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : callback()), stepMs);
      handle.unref();
    };
    arm(Math.max(0, delayMs));
    return { cancel: () => clearTimeout(handle) };
  },
};
