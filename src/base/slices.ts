/**
 * Long work in short slices: between two of them the event loop serves everybody else, so that no task holds the thread
 * (design §3, Threads).
 *
 * I1: a slice ends with the first step after which `sliceMs` are over; a step is never divided.
 */
import type { Clock } from './clock.ts';

export interface SliceOptions {
  readonly clock: Clock;
  /** How long a slice may take. Default 0.5: with its last step and a collection of garbage a turn stays below 5. */
  readonly sliceMs?: number;
}

/**
 * Takes the steps one after another until they are done. Each step is one `next()` of the iterator, so a generator that
 * yields where it may pause is work to be sliced. Leaving early (`return` of the generator, a throw) ends it; what a step
 * throws rejects.
 */
export async function inSlices(steps: Iterable<unknown>, options: SliceOptions): Promise<void> {
  const { clock, sliceMs = 0.5 } = options;
  let startMs = clock.nowMs();
  for (const _ of steps) {
    if (clock.nowMs() - startMs < sliceMs) continue;
    await turnOfTheLoop();
    startMs = clock.nowMs();
  }
}

/** As `inSlices`, with what the generator returns. */
export async function resultInSlices<T>(steps: Generator<undefined, T>, options: SliceOptions): Promise<T> {
  let result: { readonly value: T } | undefined;
  await inSlices(
    (function* () {
      result = { value: yield* steps };
    })(),
    options,
  );
  if (result === undefined) throw new Error('the steps ended without a result');
  return result.value;
}

/** All steps at once. */
export function completed<T>(steps: Generator<undefined, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** Sockets, timers and promises that are ready come first. */
export function turnOfTheLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
