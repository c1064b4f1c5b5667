/**
 * Gives back the memory of chunks soon after they were handed on or copied. Every chunk that Node reads is an ArrayBuffer outside
 * the heap with a tiny object inside. V8 sees much memory allocated and few objects, and answers with whole collections
 * (mark-compact), several for each 100 MB: a third to a half of all CPU under bulk transfer, when a collection of the
 * young generation, half a millisecond, frees the same. So that one is asked for, by volume.
 */
import { collectGarbage } from './garbage.ts';

/** Well below what makes V8 begin a mark-compact. */
const bytesPerCollection = 3 * 1024 * 1024;

let passedBytes = 0;

/** A chunk of `bytes` was handed on; its buffer is garbage once it is written. */
export function chunkPassed(bytes: number): void {
  passedBytes += bytes;
  if (passedBytes < bytesPerCollection) return;
  passedBytes = 0;
  // After the writes of this turn, so that what they held is garbage too.
  setImmediate(collectYoung);
}

function collectYoung(): void {
  collectGarbage({ type: 'minor' });
}
