/**
 * Bounds what is held in our queues for each pod's connections. HTTP/2 windows bound one connection; many of them, whose
 * readers stand still, could still hold all there is. Nothing is counted where bytes flow: a beat adds up what is held, and
 * only while the process holds enough for somebody to be over its limit.
 *
 * I1: a pod over its limit loses the connections that hold most, with that reason, until it is below; no other pod does.
 * I2: a beat's work is done in slices.
 */
import process from 'node:process';
import type { Clock } from '../base/clock.ts';
import type { Workload } from '../mesh/model.ts';
import type { ConnectionEntry, ConnectionRegistry } from './connection-registry.ts';

export interface BufferWatchOptions {
  readonly registry: ConnectionRegistry;
  readonly limitBytes: number;
  /** A workload was found over the limit; told before its connections are stopped. */
  readonly onReached: (workload: Workload | undefined) => void;
  readonly clock: Clock;
  /** All that the process holds in buffers; injected by tests. */
  readonly bufferBytes?: () => number;
}

const beatMs = 1000;
const sliceSize = 1024;

/** Returns the way to stop. */
export function watchBuffers(options: BufferWatchOptions): () => void {
  const { clock, limitBytes } = options;
  const bufferBytes = options.bufferBytes ?? (() => process.memoryUsage().arrayBuffers);
  let stopped = false;
  let timer = clock.after(beatMs, beat);
  function beat() {
    if (bufferBytes() <= limitBytes) again();
    else work(walk(options));
  }
  function work(steps: Iterator<void>) {
    if (stopped) return;
    if (steps.next().done === true) again();
    else setImmediate(() => work(steps));
  }
  function again() {
    if (!stopped) timer = clock.after(beatMs, beat);
  }
  return () => {
    stopped = true;
    timer.cancel();
  };
}

/** Yields after each slice. */
function* walk({ registry, limitBytes, onReached }: BufferWatchOptions): Generator<void> {
  let left = sliceSize;
  for (const entries of [...registry.byWorkload()]) {
    const held: { readonly entry: ConnectionEntry; readonly bytes: number }[] = [];
    let sum = 0;
    for (const entry of entries) {
      const bytes = entry.join.heldBytes;
      sum += bytes;
      if (bytes > 0) held.push({ entry, bytes });
      if (--left > 0) continue;
      left = sliceSize;
      yield;
    }
    if (sum > limitBytes) relieve(held, sum);
  }

  function relieve(held: { readonly entry: ConnectionEntry; readonly bytes: number }[], sum: number) {
    onReached(held[0]?.entry.workload);
    let over = sum - limitBytes;
    for (const { entry, bytes } of held.sort((a, b) => b.bytes - a.bytes)) {
      if (over <= 0) return;
      over -= bytes;
      const reason = 'connection closed: its pod holds too much in buffers (AMBIT_MAX_BUFFERED_BYTES_PER_POD)';
      registry.stop(entry, reason);
    }
  }
}
