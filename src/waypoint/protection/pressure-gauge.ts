/**
 * How hard pressed the process is: the mean delay of the event loop over about a second, told by a timer that comes late,
 * and memory as a part of what the process may have.
 */
import type { Clock, Timer } from '../../base/clock.ts';
import type { Pressure } from './admission.ts';

const sampleMs = 100;
/** Of a new sample in the mean: some ten samples count. */
const weight = 0.1;

export class PressureGauge {
  readonly #clock: Clock;
  readonly #memoryShare: () => number;
  #timer: Timer | undefined;
  #delayMs = 0;
  #memory = 0;

  /** `memoryShare`: resident memory as a part of what the process may have; 0 when no limit is known. */
  constructor(clock: Clock, memoryShare: () => number) {
    this.#clock = clock;
    this.#memoryShare = memoryShare;
    this.#sample();
  }

  /** Of the last sample. */
  get now(): Pressure {
    return { eventLoopDelayMs: this.#delayMs, memoryShare: this.#memory };
  }

  close(): void {
    this.#timer?.cancel();
  }

  #sample(): void {
    const dueMs = this.#clock.nowMs() + sampleMs;
    this.#timer = this.#clock.after(sampleMs, () => {
      const lateMs = Math.max(0, this.#clock.nowMs() - dueMs);
      // A long stop counts as the samples that it swallowed, so that the mean is one over time.
      const samples = 1 + Math.floor(lateMs / sampleMs);
      this.#delayMs = lateMs + (this.#delayMs - lateMs) * (1 - weight) ** samples;
      this.#memory = this.#memoryShare();
      this.#sample();
    });
  }
}
