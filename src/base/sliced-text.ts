/**
 * A long text made piece by piece: handed on in chunks, with a turn of the event loop between slices of work, so that
 * neither a scrape nor a dump holds the thread (design §3, Threads). A reader that is slow makes the maker wait.
 *
 * I1: a slice ends with the first piece after which `sliceMs` are over; a piece is never divided, so make them small.
 */
import type { Clock } from './clock.ts';
import { turnOfTheLoop } from './slices.ts';

export interface SlicedTextOptions {
  readonly clock: Clock;
  /** How long a slice may take. Default 1: with a collection of garbage in it, it stays below 5. */
  readonly sliceMs?: number;
}

/** A chunk is handed on when it has this many characters. */
const chunkLength = 32 * 1024;

/** Leaving early ends the pieces' generator; what it throws rejects. */
export async function* slicedText(pieces: Iterable<string>, options: SlicedTextOptions): AsyncGenerator<string> {
  const { clock, sliceMs = 1 } = options;
  let startMs = clock.nowMs();
  let chunk = '';
  for (const piece of pieces) {
    chunk += piece;
    const over = clock.nowMs() - startMs >= sliceMs;
    if (chunk.length >= chunkLength || (over && chunk !== '')) {
      yield chunk;
      chunk = '';
    }
    if (!over) continue;
    await turnOfTheLoop();
    startMs = clock.nowMs();
  }
  if (chunk !== '') yield chunk;
}
