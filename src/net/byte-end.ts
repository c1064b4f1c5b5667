/**
 * One end of a byte stream, reduced to what joining needs. A net.Socket, an HTTP/2 stream and any Duplex each have an
 * adapter; `join.ts` knows only this.
 *
 * I1: `end` comes only when the peer's FIN or END_STREAM is certain, so that a truncated body never looks whole.
 * I2: exactly one of `closed` and `broken` comes, as the last call, unless `reset` or `destroy` was called here.
 */
import type { AmbitError } from '../base/errors.ts';

export interface ByteEndHandler {
  /** `lent`: the bytes are the reader's again when this returns; who keeps them makes a copy. */
  data(chunk: Uint8Array, lent: boolean): void;
  /** The peer has finished sending, and everything it sent has come through `data`. */
  end(): void;
  /** Room again after `write` returned false. */
  drain(): void;
  /** Both directions finished. */
  closed(): void;
  /** Cut. `whole`: the peer had finished sending before, so what came through `data` is complete. */
  broken(error: AmbitError, whole: boolean): void;
}

export interface ByteEnd {
  /** Bytes read and not handed on, and bytes to be written that have not left. */
  readonly heldBytes: number;
  /** Begins reading. What happened before is told now. */
  start(handler: ByteEndHandler): void;
  /** False: wait for `drain`. `lent`: what does not leave at once must be copied. */
  write(chunk: Uint8Array, lent?: boolean): boolean;
  /** FIN or END_STREAM after what was written; `finished` is called once that has left (not after a break). */
  end(finished?: () => void): void;
  pause(): void;
  resume(): void;
  /** Cuts it so that the peer sees a reset. The handler hears nothing more. */
  reset(): void;
  /**
   * Lets what was written and ended leave, then closes. The handler hears nothing more. A stream may take as long as its session
   * lives, and counts among its streams until then.
   */
  destroyWhenFinished(): void;
}

/** For what was written to leave when nobody waits for that any more: a peer that does not read holds it no longer. */
export const tailMs = 30_000;
/** After FIN: a peer that goes on sending to a closed socket is answered by RST, and loses what it has not read. */
export const lingerMs = 2000;

/** One end of a TCP connection. `destroyWhenFinished` waits `tailMs` for the tail, then `lingerMs` for the peer to end. */
export interface TcpByteEnd extends ByteEnd {
  /** Its descriptor is closed, or about to be. */
  readonly gone: boolean;
  /** Called once, when it is closed, whoever closes it. */
  onGone(listener: () => void): void;
}
