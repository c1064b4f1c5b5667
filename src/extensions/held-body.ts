/** A body that is gathered whole before it goes on, within limits: one of its own and one that all such bodies share. */
import { Readable } from 'node:stream';
import type { HeldMemory } from '../http/held-memory.ts';
import type { BodyDeadline } from '../http/peeked-body.ts';

/** Of what all gathered bodies may hold together, one client's. */
export interface HeldBudget {
  readonly memory: HeldMemory;
  readonly client: string;
}

export type HeldOutcome =
  | { readonly kind: 'whole'; readonly bytes: Uint8Array }
  /** `rest` is the whole body all the same. */
  | { readonly kind: 'too-long' | 'no-room'; readonly rest: Readable }
  /** The client broke it off; or did not send it in time. */
  | { readonly kind: 'broken' }
  | { readonly kind: 'late' };

/** Chunks within limits; `release` gives back what they took. */
export class HeldBytes {
  readonly #budget: HeldBudget;
  readonly #maxBytes: number;
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  #taken = 0;

  constructor(budget: HeldBudget, maxBytes: number) {
    this.#budget = budget;
    this.#maxBytes = maxBytes;
  }

  get chunks(): readonly Uint8Array[] {
    return this.#chunks;
  }

  /** The chunk is kept in any case; other than `kept`, it is the last that may come. */
  add(chunk: Uint8Array): 'kept' | 'too-long' | 'no-room' {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes > this.#maxBytes) return 'too-long';
    const { memory, client } = this.#budget;
    if (!memory.take(client, chunk.length)) return 'no-room';
    this.#taken += chunk.length;
    return 'kept';
  }

  joined(): Uint8Array {
    return Buffer.concat(this.#chunks);
  }

  release(): void {
    this.#budget.memory.release(this.#budget.client, this.#taken);
    this.#taken = 0;
  }
}

/** `done` once. The budget is given back before it, since the bytes are the receiver's then. */
export function holdBody(
  source: Readable,
  budget: HeldBudget,
  maxBytes: number,
  { clock, atMs }: BodyDeadline,
  done: (outcome: HeldOutcome) => void,
): void {
  const held = new HeldBytes(budget, maxBytes);
  let over = false;
  const finish = (outcome: HeldOutcome) => {
    if (over) return;
    over = true;
    timer.cancel();
    source.off('data', take);
    held.release();
    done(outcome);
  };
  const take = (chunk: Uint8Array) => {
    const kind = held.add(chunk);
    if (kind === 'kept') return;
    source.pause();
    finish({ kind, rest: withFront(held.chunks, source) });
  };
  const timer = clock.after(atMs - clock.nowMs(), () => {
    source.pause();
    finish({ kind: 'late' });
  });
  source.on('error', () => finish({ kind: 'broken' }));
  source.once('close', () => finish({ kind: 'broken' }));
  source.once('end', () => finish({ kind: 'whole', bytes: held.joined() }));
  source.on('data', take);
}

/** The chunks, then what the paused source still has. */
function withFront(chunks: readonly Uint8Array[], source: Readable): Readable {
  let started = false;
  const body = new Readable({
    read() {
      if (!started) {
        started = true;
        for (const chunk of chunks) body.push(chunk);
        source.on('data', (chunk: Uint8Array) => {
          if (!body.push(chunk)) source.pause();
        });
        source.once('end', () => body.push(null));
      }
      source.resume();
    },
  });
  body.on('error', () => {});
  source.on('error', (error) => body.destroy(error));
  return body;
}
