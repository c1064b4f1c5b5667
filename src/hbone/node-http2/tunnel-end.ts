/**
 * An HTTP/2 CONNECT stream as a ByteEnd (RFC 9113 §8.5). Two traps of Node lie buried here, both found by trying:
 *
 * Sending: `close(code)` and `destroy()` on a stream whose writable side is open send END_STREAM before RST_STREAM, so a
 * cut body looks whole. With `waitForTrailers` END_STREAM goes out only when `sendTrailers` is called, and that is done
 * here for a real end alone. Streams given to TunnelEnd must have been opened or answered with `waitForTrailers: true`.
 *
 * Receiving: 'end' also comes after RST_STREAM(NO_ERROR) and RST_STREAM(CANCEL). Node pushes null before it marks the stream closed
 * only for a real END_STREAM, so `push` is watched. And Node peers that know nothing of this send END_STREAM and
 * RST_STREAM together: 'end' is believed one turn of the event loop later, when a reset in the same read has been seen.
 */
import { constants, type Http2Stream } from 'node:http2';
import { closeHttp2Stream } from '../../base/close-http2-stream.ts';
import { AmbitError, type ErrorOrigin } from '../../base/errors.ts';
import type { ByteEndHandler } from '../../net/byte-end.ts';
import { DirectReads } from '../../net/direct-reads.ts';
import { ownCopy } from '../../net/plain-socket.ts';
import type { StreamEnd } from '../http2/engine.ts';

const { NGHTTP2_CANCEL, NGHTTP2_CONNECT_ERROR, NGHTTP2_NO_ERROR } = constants;

export class TunnelEnd implements StreamEnd {
  readonly #stream: Http2Stream;
  readonly #origin: ErrorOrigin;
  #handler: ByteEndHandler | undefined;
  #reads: DirectReads | Http2Stream;
  #cause: unknown;
  #finished: (() => void) | undefined;
  /** END_STREAM was received. */
  #whole = false;
  /** END_STREAM was sent. */
  #sentEnd = false;
  #endPending = false;
  #over = false;

  /** Takes ownership; call it in the same tick in which the stream came to be. */
  constructor(stream: Http2Stream, origin: ErrorOrigin) {
    this.#stream = stream;
    this.#origin = origin;
    this.#reads = stream;
    stream.on('error', (error) => {
      this.#cause = error;
    });
    stream.on('wantTrailers', () => this.#sendEnd());
    this.#watchEnd();
  }

  get failure(): AmbitError | undefined {
    return this.#cause instanceof AmbitError ? this.#cause : undefined;
  }

  get heldBytes(): number {
    const { heldBytes = this.#stream.readableLength } = this.#reads as Partial<DirectReads>;
    return heldBytes + this.#stream.writableLength;
  }

  start(handler: ByteEndHandler): void {
    const stream = this.#stream;
    this.#handler = handler;
    stream.on('close', () => this.#closed());
    stream.on('drain', () => this.#handler?.drain());
    // Node emits 'end' on a stream nobody reads yet when END_STREAM comes with no bytes before it.
    if (stream.readableEnded) this.#ended();
    else stream.on('end', () => this.#ended());
    this.#reads = new DirectReads(stream, (chunk) => this.#handler?.data(chunk, false));
    // It may keep the end back.
    this.#watchEnd();
    if (stream.destroyed) setImmediate(() => this.#closed());
  }

  write(chunk: Uint8Array, lent = false): boolean {
    // Node's core tells of an empty write while nghttp2 is sending; a stream destroyed by that aborts the process.
    return this.#stream.writable && chunk.length > 0 ? this.#stream.write(lent ? ownCopy(chunk) : chunk) : true;
  }

  end(finished?: () => void): void {
    this.#finished = finished;
    this.#stream.end();
  }

  pause(): void {
    this.#reads.pause();
  }

  resume(): void {
    this.#reads.resume();
  }

  /** RST_STREAM(CONNECT_ERROR): the TCP connection on the other side was reset. */
  reset(): void {
    this.#cut(NGHTTP2_CONNECT_ERROR);
  }

  cancel(): void {
    if (!this.#sentEnd) {
      this.#cut(NGHTTP2_CANCEL);
      return;
    }
    this.#handler = undefined;
    this.#over = true;
    this.#reads.resume();
    // Node would let RST_STREAM overtake the END_STREAM it was given in this turn.
    if (!this.#whole) setImmediate(() => closeHttp2Stream(this.#stream, NGHTTP2_NO_ERROR));
  }

  destroyWhenFinished(): void {
    this.#handler = undefined;
    this.#over = true;
    this.#reads.resume();
    if (this.#sentEnd) this.cancel();
    else this.end(() => this.cancel());
  }

  #watchEnd(): void {
    const stream = this.#stream;
    const push = stream.push.bind(stream);
    stream.push = (chunk, encoding) => {
      if (chunk === null && !stream.closed && !stream.destroyed) this.#whole = true;
      return push(chunk, encoding);
    };
  }

  #ended(): void {
    // END_STREAM on HEADERS is pushed before anybody can watch.
    if (this.#stream.endAfterHeaders) this.#whole = true;
    if (!this.#whole) return;
    this.#endPending = true;
    setImmediate(believeEnd, this);
  }

  /** Called one turn after 'end'. */
  endBelieved(): void {
    if (!this.#endPending) return;
    this.#endPending = false;
    if (this.#stream.closed && this.#stream.rstCode !== NGHTTP2_NO_ERROR) return;
    this.#handler?.end();
  }

  #cut(code: number): void {
    this.#handler = undefined;
    this.#over = true;
    this.#reads.resume();
    closeHttp2Stream(this.#stream, code);
  }

  #sendEnd(): void {
    if (this.#stream.closed || this.#stream.destroyed) return;
    this.#sentEnd = true;
    this.#stream.sendTrailers({});
    this.#finished?.();
  }

  #closed(): void {
    if (this.#over) return;
    this.#over = true;
    const { rstCode } = this.#stream;
    const whole = this.#whole && (rstCode === undefined || rstCode === NGHTTP2_NO_ERROR);
    if (whole) this.endBelieved();
    if (whole && this.#sentEnd && this.#cause === undefined) {
      this.#handler?.closed();
      return;
    }
    const error =
      this.failure ??
      new AmbitError(`the tunnel stream was reset (HTTP/2 code ${rstCode})`, {
        code: 'HBONE_STREAM_RESET',
        origin: this.#origin,
        cause: this.#cause,
      });
    this.#handler?.broken(error, whole && this.#cause === undefined);
  }
}

function believeEnd(end: TunnelEnd): void {
  end.endBelieved();
}
