/**
 * When to write what many have written to in one go: at the end of the batch of sockets that is being read (`tcp-poll.ts`), which
 * is the earliest that nothing more can come, or else in the check phase of this turn of the event loop. What is written in the check
 * phase costs a turn more: Node tells of a TLS write in the check phase that follows it.
 */

let batches = 0;
let waiting: (() => void)[] = [];

/** Calls once, not now. What it throws is an uncaught exception. */
export function atBatchEnd(call: () => void): void {
  if (batches === 0) setImmediate(call);
  else waiting.push(call);
}

/** Runs it as a batch: what was asked for within has been called when this returns. */
export function inBatch(run: () => void): void {
  batches++;
  try {
    run();
  } finally {
    batches--;
    const calls = waiting;
    waiting = [];
    for (const call of calls) toldSafely(call);
  }
}

/** What one throws costs the others nothing. */
export function toldSafely(call: () => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
