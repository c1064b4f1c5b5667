/**
 * Faults of undici 8.12's HTTP/2 client that lose response bytes without a word or worse, and how they are kept from us:
 *
 * F1: it drops what is still buffered of a paused response when the trailers come, so a long gRPC answer to a slow
 *     reader ends early with status 0. Trailers are held back here until everything before them was read.
 * F2: to count a streamed request body it reads the response stream itself; a first DATA frame that arrives together
 *     with the head, over anything but a plain socket, is taken for it. A body that is no stream avoids that.
 * F3: it closes a stream with NO_ERROR while its request body is still queued, and destroys it. Node then never sends
 *     RST_STREAM, and nghttp2 asks the lost stream for its data for ever. Such a stream is cancelled instead.
 */
import diagnostics from 'node:diagnostics_channel';
import { type ClientHttp2Stream, constants } from 'node:http2';
import type { Readable } from 'node:stream';
import { closeHttp2Stream } from '../base/close-http2-stream.ts';

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = constants;

let watching = false;

/** From now on F1 and F3 are kept from every HTTP/2 request in this process. Harmless when called again. */
export function mendUndiciStreams(): void {
  if (watching) return;
  watching = true;
  diagnostics.subscribe('http2.client.stream.created', (message) => {
    const { stream, headers } = message as { stream: ClientHttp2Stream; headers: unknown };
    // Tunnels, opened with a list of headers, are of no concern.
    if (Array.isArray(headers)) return;
    holdTrailers(stream);
    cancelUnfinished(stream);
  });
}

function holdTrailers(stream: ClientHttp2Stream): void {
  const emit: (event: string | symbol, ...values: unknown[]) => boolean = stream.emit.bind(stream);
  stream.emit = (event: string | symbol, ...values: unknown[]): boolean => {
    if (event !== 'trailers' || stream.readableLength === 0) return emit(event, ...values);
    stream.prependOnceListener('end', () => emit(event, ...values));
    return true;
  };
}

function cancelUnfinished(stream: ClientHttp2Stream): void {
  stream.close = (code = NGHTTP2_NO_ERROR, callback?: () => void) => {
    if (callback !== undefined) stream.once('close', callback);
    const cut = code === NGHTTP2_NO_ERROR && !stream.writableFinished;
    closeHttp2Stream(stream, cut ? NGHTTP2_CANCEL : code);
  };
}

/** The body as an iterable that is no stream. */
export function withoutStreamNature(body: Readable): AsyncIterable<Buffer> {
  return { [Symbol.asyncIterator]: () => body[Symbol.asyncIterator]() };
}
