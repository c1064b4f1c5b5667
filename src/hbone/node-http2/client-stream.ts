/** A CONNECT that was sent on a session of the pool. */
import { type ClientHttp2Stream, constants } from 'node:http2';
import { pairsOf } from '../header-pairs.ts';
import type { AnswerWaiter, ClientStream } from '../http2/engine.ts';
import { TunnelEnd } from './tunnel-end.ts';

export class NodeClientStream implements ClientStream {
  readonly end: TunnelEnd;
  readonly #stream: ClientHttp2Stream;
  #stop: (() => void) | undefined;

  /** In the tick in which the stream came to be; see TunnelEnd. */
  constructor(stream: ClientHttp2Stream) {
    this.#stream = stream;
    this.end = new TunnelEnd(stream, 'upstream');
  }

  wait(waiter: AnswerWaiter): void {
    const stream = this.#stream;
    const onClose = () => {
      this.stopWaiting();
      // nghttp2 gives this code to streams beyond the last one of a GOAWAY as well.
      const { rstCode } = stream;
      waiter.gone(rstCode, rstCode !== constants.NGHTTP2_REFUSED_STREAM);
    };
    const onResponse = (headers: { ':status'?: number | undefined }, _flags: number, raw: readonly string[]) => {
      this.stopWaiting();
      waiter.answered(Number(headers[':status']), pairsOf(raw));
    };
    stream.on('close', onClose);
    stream.on('response', onResponse as never);
    this.#stop = () => {
      stream.off('close', onClose);
      stream.off('response', onResponse);
    };
  }

  stopWaiting(): void {
    this.#stop?.();
    this.#stop = undefined;
  }
}
