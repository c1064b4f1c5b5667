/**
 * Joins two byte ends: what one sends the other gets, both ways, until both directions are finished or one side breaks.
 *
 * I1: FIN travels as FIN, in each direction for itself; a break travels as a reset (RFC 9113 §8.5), never as FIN.
 * I2: a slow reader pauses the other side's reading; nothing is queued here.
 * I3: `done` is called exactly once.
 * Hot path: one handler object a side, no closure and no allocation per chunk.
 */
import type { AmbitError } from '../base/errors.ts';
import type { ByteEnd, ByteEndHandler } from './byte-end.ts';

/** Live byte counts: `toUpstream` flows client to server. */
export interface JoinCounts {
  toUpstream: number;
  toDownstream: number;
}

export interface JoinResult {
  readonly kind: 'closed' | 'reset' | 'stopped';
  /** Who finished or broke first. */
  readonly by: 'downstream' | 'upstream' | 'local';
  readonly error: AmbitError | undefined;
}

/** Owns both ends from now on. Returns the way to cut both. */
export function join(
  downstream: ByteEnd,
  upstream: ByteEnd,
  counts: JoinCounts,
  done: (result: JoinResult) => void,
): { stop(error: AmbitError): void } {
  const joint = new Joint(counts, done);
  const down = new Side(joint, downstream, upstream, 'downstream');
  const up = new Side(joint, upstream, downstream, 'upstream');
  upstream.start(up);
  downstream.start(down);
  return {
    stop(error) {
      if (joint.over) return;
      downstream.reset();
      upstream.reset();
      joint.finish({ kind: 'stopped', by: 'local', error });
    },
  };
}

class Joint {
  readonly counts: JoinCounts;
  readonly #done: (result: JoinResult) => void;
  over = false;
  closedSides = 0;
  firstEnd: 'downstream' | 'upstream' | undefined;

  constructor(counts: JoinCounts, done: (result: JoinResult) => void) {
    this.counts = counts;
    this.#done = done;
  }

  finish(result: JoinResult): void {
    if (this.over) return;
    this.over = true;
    this.#done(result);
  }
}

class Side implements ByteEndHandler {
  readonly #joint: Joint;
  readonly #own: ByteEnd;
  readonly #other: ByteEnd;
  readonly #name: 'downstream' | 'upstream';

  constructor(joint: Joint, own: ByteEnd, other: ByteEnd, name: 'downstream' | 'upstream') {
    this.#joint = joint;
    this.#own = own;
    this.#other = other;
    this.#name = name;
  }

  data(chunk: Uint8Array, lent: boolean): void {
    if (this.#joint.over) return;
    if (this.#name === 'downstream') this.#joint.counts.toUpstream += chunk.length;
    else this.#joint.counts.toDownstream += chunk.length;
    if (!this.#other.write(chunk, lent)) this.#own.pause();
  }

  drain(): void {
    if (!this.#joint.over) this.#other.resume();
  }

  end(): void {
    if (this.#joint.over) return;
    this.#joint.firstEnd ??= this.#name;
    this.#other.end();
  }

  closed(): void {
    this.#joint.closedSides++;
    if (this.#joint.closedSides < 2) return;
    this.#joint.finish({ kind: 'closed', by: this.#joint.firstEnd ?? this.#name, error: undefined });
  }

  /** A whole body already handed on is let out; everything else is cut at once. */
  broken(error: AmbitError, whole: boolean): void {
    if (this.#joint.over) return;
    if (whole) this.#other.destroyWhenFinished();
    else this.#other.reset();
    this.#joint.finish({ kind: 'reset', by: this.#name, error });
  }
}
