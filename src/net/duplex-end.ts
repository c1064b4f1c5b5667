/**
 * A net.Socket or any other Duplex as a ByteEnd. For a socket `end` is the peer's FIN; a Duplex is trusted to emit
 * 'end' only for a whole stream, as those of `hbone/` do.
 *
 * I1: an error listener stands from construction on; what happens before `start` is kept and told then.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { AmbitError, type ErrorOrigin } from '../base/errors.ts';
import { type ByteEndHandler, lingerMs, type TcpByteEnd, tailMs } from './byte-end.ts';
import { DirectReads } from './direct-reads.ts';
import { ownCopy } from './plain-socket.ts';
import { resetSocket } from './reset-socket.ts';
import { writeInTurn } from './turn-writes.ts';

export class DuplexEnd implements TcpByteEnd {
  readonly #duplex: Duplex;
  readonly #origin: ErrorOrigin;
  readonly #clock: Clock;
  #handler: ByteEndHandler | undefined;
  #reads: DirectReads | Duplex;
  #cause: unknown;
  #over = false;

  /** Takes ownership of the duplex. It must keep its two directions apart (`allowHalfOpen`). */
  constructor(duplex: Duplex, origin: ErrorOrigin, clock: Clock) {
    this.#duplex = duplex;
    this.#origin = origin;
    this.#clock = clock;
    this.#reads = duplex;
    duplex.on('error', (error) => {
      this.#cause = error;
    });
  }

  get heldBytes(): number {
    const { heldBytes = this.#duplex.readableLength } = this.#reads as Partial<DirectReads>;
    return heldBytes + this.#duplex.writableLength;
  }

  get gone(): boolean {
    return this.#duplex.destroyed;
  }

  onGone(listener: () => void): void {
    this.#duplex.once('close', listener);
  }

  start(handler: ByteEndHandler): void {
    const duplex = this.#duplex;
    this.#handler = handler;
    if (duplex.closed) {
      this.#closed();
      return;
    }
    duplex.on('close', () => this.#closed());
    duplex.on('drain', () => this.#handler?.drain());
    // A FIN with no bytes before it is told even to a socket that nobody reads yet.
    if (duplex.readableEnded) setImmediate(() => this.#handler?.end());
    else duplex.on('end', () => this.#handler?.end());
    const deliver = (chunk: Uint8Array, lent = false) => this.#handler?.data(chunk, lent);
    if (duplex instanceof Socket) this.#reads = new DirectReads(duplex, deliver);
    else duplex.on('data', (chunk: Uint8Array) => deliver(chunk));
  }

  write(chunk: Uint8Array, lent = false): boolean {
    const own = lent ? ownCopy(chunk) : chunk;
    return this.#duplex instanceof Socket ? writeInTurn(this.#duplex, own) : this.#duplex.write(own);
  }

  end(finished?: () => void): void {
    if (finished !== undefined) this.#duplex.once('finish', finished);
    this.#duplex.end();
  }

  pause(): void {
    if (!this.#over) this.#reads.pause();
  }

  resume(): void {
    this.#reads.resume();
  }

  reset(): void {
    this.#handler = undefined;
    this.#over = true;
    this.#cut();
  }

  destroyWhenFinished(): void {
    this.#handler = undefined;
    if (this.#over) return;
    this.#over = true;
    const duplex = this.#duplex;
    this.#reads.resume();
    if (duplex.destroyed) return;
    const tail = this.#clock.after(tailMs, () => this.#cut());
    const finished = () => {
      tail.cancel();
      this.#linger();
    };
    duplex.once('close', () => tail.cancel());
    if (duplex.writableFinished) finished();
    else duplex.end().once('finish', finished);
  }

  /** A socket hears its peer out; the peer of a stream is told by its close that it need not go on. */
  #linger(): void {
    const duplex = this.#duplex;
    if (duplex instanceof Socket) {
      const timer = this.#clock.after(lingerMs, () => duplex.destroy());
      duplex.once('close', () => timer.cancel());
    } else duplex.destroy();
  }

  #cut(): void {
    // Only plain TCP can be reset; a TLS socket cut without close_notify is known to be cut.
    if (this.#duplex instanceof Socket && !(this.#duplex instanceof TLSSocket)) resetSocket(this.#duplex);
    else this.#duplex.destroy(new AmbitError('reset by the other side', { code: 'NET_RESET', origin: this.#origin }));
  }

  #closed(): void {
    if (this.#over) return;
    this.#over = true;
    // V8 keeps the duplex (docs/performance.md), and this end with it: not what it was joined to as well.
    const handler = this.#handler;
    this.#handler = undefined;
    const whole = this.#duplex.readableEnded;
    if (this.#cause === undefined && whole && this.#duplex.writableFinished) {
      handler?.closed();
      return;
    }
    const error = new AmbitError('the connection was reset', {
      code: 'NET_RESET',
      origin: this.#origin,
      cause: this.#cause,
    });
    handler?.broken(error, false);
  }
}
