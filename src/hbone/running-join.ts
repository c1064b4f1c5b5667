/**
 * One connection from its verdict to its end: opens the upstream, answers the downstream, joins, and reports the `End`
 * exactly once. The same for captured connections and for CONNECT streams.
 */
import type { SocketAddress } from '../base/address.ts';
import { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import type { AmbitError } from '../base/errors.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { ByteEnd } from '../net/byte-end.ts';
import { DuplexEnd } from '../net/duplex-end.ts';
import { join } from '../net/join.ts';
import { type DialEndOutcome, dial, dialEnd, socketAddresses } from '../net/socket-factory.ts';
import type { SocketProfile } from '../net/socket-spec.ts';
import type { ByteCounts, End, Established, Join, JoinObserver } from './seam.ts';

export interface Downstream {
  readonly end: ByteEnd;
  /** The client has gone; only listened to until the join. */
  readonly gone: Cancellation;
  /** The upstream stands. False: the client has gone meanwhile. */
  accept(): boolean;
  /** It does not; `status` for those that answer with one, `error` for those that say why. Nothing follows. */
  reject(status: number, error: AmbitError | undefined): void;
}

export type UpstreamOutcome =
  | { readonly kind: 'open'; readonly end: ByteEnd; readonly established: Established }
  | { readonly kind: 'refused'; readonly status: number; readonly established: Established }
  | { readonly kind: 'failed'; readonly error: AmbitError };

export type Open = (cancellation: Cancellation) => Promise<UpstreamOutcome>;

/** See `Otherwise` of the seam. */
export type OpenOtherwise = (error: AmbitError) => { readonly observer: JoinObserver; readonly open: Open } | undefined;

export class RunningJoin implements Join {
  readonly counts: ByteCounts = { toUpstream: 0, toDownstream: 0 };
  readonly #downstream: Downstream;
  readonly #logger: Logger;
  readonly #giveUp = new Cancellation();
  #observer: JoinObserver;
  #upstream: ByteEnd | undefined;
  #running: { stop(error: AmbitError): void } | undefined;
  #established: Established | undefined;
  #over = false;

  constructor(downstream: Downstream, observer: JoinObserver, logger: Logger) {
    this.#downstream = downstream;
    this.#observer = observer;
    this.#logger = logger;
  }

  /** `open` never rejects and gives up when it is cancelled. */
  run(open: Open, otherwise?: OpenOtherwise): void {
    // It was stopped before it began.
    if (this.#over) return;
    const { gone } = this.#downstream;
    const onGone = () => {
      this.#giveUp.cancel();
      this.#finish('reset', 'downstream', undefined, undefined);
    };
    if (gone.cancelled) {
      onGone();
      return;
    }
    gone.on(onGone);
    const attempt = (way: Open): void => {
      void way(this.#giveUp).then((outcome) => {
        const next = otherwise && this.#otherwise(outcome, otherwise);
        if (next !== undefined) {
          attempt(next);
          return;
        }
        gone.off(onGone);
        this.#opened(outcome);
      });
    };
    attempt(open);
  }

  get heldBytes(): number {
    return this.#over ? 0 : this.#downstream.end.heldBytes + (this.#upstream?.heldBytes ?? 0);
  }

  stop(error: AmbitError): void {
    if (this.#over) return;
    if (this.#running !== undefined) {
      this.#running.stop(error);
      return;
    }
    this.#giveUp.cancel();
    // First: the reset may say at once that the client has gone, which would be the end told.
    this.#finish('stopped', 'local', undefined, error);
    this.#downstream.end.reset();
  }

  #otherwise(outcome: UpstreamOutcome, otherwise: OpenOtherwise): Open | undefined {
    if (this.#over || outcome.kind !== 'failed' || outcome.error.retry !== 'unsent') return undefined;
    try {
      const next = otherwise(outcome.error);
      if (next !== undefined) this.#observer = next.observer;
      return next?.open;
    } catch (error) {
      this.#logger.error('looking for another way failed', { error: errorText(error) });
      return undefined;
    }
  }

  #opened(outcome: UpstreamOutcome): void {
    if (this.#over) {
      if (outcome.kind === 'open') outcome.end.reset();
      return;
    }
    if (outcome.kind === 'failed') {
      this.#downstream.reject(503, outcome.error);
      this.#finish('failed', outcome.error.origin, 503, outcome.error);
      return;
    }
    this.#established = outcome.established;
    if (outcome.kind === 'refused') {
      this.#downstream.reject(outcome.status, undefined);
      this.#finish('refused', 'upstream', outcome.status, undefined);
      return;
    }
    if (!this.#downstream.accept()) {
      outcome.end.reset();
      this.#finish('reset', 'downstream', undefined, undefined);
      return;
    }
    this.#tell(() => this.#observer.established?.(outcome.established));
    this.#upstream = outcome.end;
    this.#running = join(this.#downstream.end, outcome.end, this.counts, ({ kind, by, error }) => {
      // Its session was ended from here: no side broke.
      if (error?.origin === 'local') this.#finish('stopped', 'local', undefined, error);
      else this.#finish(kind, by, undefined, error);
    });
  }

  #finish(kind: End['kind'], by: End['by'], status: number | undefined, error: AmbitError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    const end: End = { kind, by, status, error, established: this.#established, counts: this.counts };
    this.#tell(() => this.#observer.ended(end));
  }

  /** An observer's mistake must not reach the socket's event (I5 of the seam). */
  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#logger.error('a connection observer threw', { error: errorText(error) });
    }
  }
}

/** Dials plain TCP. `preface` goes out first. `byHand`: with the addon's sockets in place of Node's. */
export async function openPlain(
  destination: SocketAddress,
  profile: SocketProfile,
  preface: Uint8Array | undefined,
  clock: Clock,
  cancellation: Cancellation,
  byHand: boolean,
): Promise<UpstreamOutcome> {
  const dialed = await (byHand ? dialEnd : dialStream)(destination, profile, clock, cancellation);
  if (dialed.kind === 'failed') return dialed;
  const { end, local = { ip: profile.source ?? '0.0.0.0', port: 0 } } = dialed;
  if (preface !== undefined) end.write(preface);
  return { kind: 'open', end, established: { local, peer: destination, peerIdentity: undefined, headers: [] } };
}

async function dialStream(
  destination: SocketAddress,
  profile: SocketProfile,
  clock: Clock,
  cancellation: Cancellation,
): Promise<DialEndOutcome> {
  const dialed = await dial(destination, profile, clock, cancellation);
  if (dialed.kind === 'failed') return dialed;
  const { socket } = dialed;
  return {
    kind: 'connected',
    end: new DuplexEnd(socket, 'upstream', clock),
    local: socketAddresses(socket)?.local,
  };
}
