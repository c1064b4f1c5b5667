/**
 * When to write what many have written to in one go: at the end of the batch of sockets that is being read (`tcp-poll.ts`), which
 * is the earliest that nothing more can come, or else in the check phase of this turn of the event loop. What is written in the check
 * phase costs a turn more: Node tells of a TLS write in the check phase that follows it.
 */

/** For the end of the batch; undefined: there is none. */
let waiting: (() => void)[] | undefined;

/** Calls once, not now. What it throws is an uncaught exception. */
export function atBatchEnd(call: () => void): void {
  if (waiting === undefined) setImmediate(call);
  else waiting.push(call);
}

/** Runs it as a batch, not within another: what was asked for within has been called when this returns. */
export function inBatch(run: () => void): void {
  const calls: (() => void)[] = [];
  waiting = calls;
  try {
    run();
  } finally {
    waiting = undefined;
    for (const call of calls) toldSafely(call);
  }
}

/** What it throws is an uncaught exception, and costs the others nothing. */
export function toldSafely(call: () => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
