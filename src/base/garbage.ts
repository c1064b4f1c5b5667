/** V8's collector and heap, for the few who know better than V8. */
import { Buffer } from 'node:buffer';
import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collector: NodeJS.GCFunction | undefined;

export function collectGarbage(options: NodeJS.GCOptions): void {
  collector ??= exposedCollector();
  collector(options);
}

/**
 * Until the returned function is called the young generation does not grow. While long-lived records are made by the hundred
 * thousand nearly all of it survives each collection, and copying a grown one holds the thread for 5 to 10 ms, a small one
 * for less than 1; all of them together take a quarter more.
 */
export function holdYoungGeneration(): () => void {
  setFlagsFromString('--semi-space-growth-factor=1');
  return () => setFlagsFromString('--semi-space-growth-factor=2');
}

/**
 * From now on a whole collection begins when the old generation has grown by so many per cent since the last one, whatever V8 would
 * have waited for: more collections, less garbage between them.
 */
export function boundOldGeneration(growthPercent: number): void {
  setFlagsFromString(`--heap-growing-percent=${growthPercent}`);
}

/**
 * From now on the young generation is collected by the thread that has to wait for it, alone. With helpers a collection of a few
 * MiB wakes four threads, and on busy processors waits for one of them to have its turn: 5 to 9 ms now and then instead of 1.
 */
export function collectYoungAlone(): void {
  setFlagsFromString('--no-parallel-scavenge');
}

/**
 * From now on an object with up to 128 properties keeps its shape, however they were added. Room for properties within objects of a
 * class is settled when the seventh is made, by what those before it needed; if a whole collection found none of them alive, there
 * is none. Properties whose keys are symbols or private names, as Node's and ours mostly are, make a dictionary of each such object, from
 * the thirteenth property on and for good: six probes and a collection, and a request costs twice as much (V8 14.6).
 */
export function keepShapes(): void {
  setFlagsFromString('--fast-properties-soft-limit=128');
}

/**
 * From now on half the processors, at most, look for what is alive beside the thread that goes on. V8 would take all four of Node's
 * threads for it, which on two busy processors leaves that thread waiting for its turn. Marking takes half as long again instead.
 */
export function markWithFewHelpers(): void {
  const helpers = Math.max(1, Math.floor(availableParallelism() / 2));
  setFlagsFromString(`--concurrent-marking-max-worker-num=${helpers}`);
}

/**
 * From now on short buffers are cut from slabs of 8 KiB, not of 64 as is Node's way. A slab lives as long as the last buffer cut
 * from it. One of 64 KiB outlives two young collections while it is being filled, so each became old: most of what whole
 * collections were begun for, and those came twice as often.
 */
export function cutBuffersFromSmallSlabs(): void {
  Buffer.poolSize = 8 * 1024;
}

/** `gc` is a global of contexts that are made while the flag is set. */
function exposedCollector(): NodeJS.GCFunction {
  setFlagsFromString('--expose-gc');
  const exposed = runInNewContext('gc') as NodeJS.GCFunction;
  setFlagsFromString('--no-expose-gc');
  return exposed;
}
