/**
 * Closes an HTTP/2 stream without falling into a trap of Node 26: RST_STREAM is submitted late, after queued data was
 * flushed or a write under way has ended; when the stream is finished meanwhile, Node destroys it and the RST_STREAM is
 * lost. nghttp2 then asks a stream that is gone for its data, forever (all memory), or aborts (`!this->is_destroyed()`).
 *
 * I1: once closed here, a stream is destroyed only when nghttp2 has let it go, or with its session.
 */
import { constants, type Http2Stream } from 'node:http2';

/** nghttp2's NGHTTP2_STREAM_STATE_IDLE: what Node says of a stream that nghttp2 no longer knows. */
const idle = 1;
const closed = constants.NGHTTP2_STREAM_STATE_CLOSED;

/** As `stream.close(code)`; also where `close` is shadowed on the stream itself. */
export function closeHttp2Stream(stream: Http2Stream, code: number): void {
  const prototype = Object.getPrototypeOf(stream) as Http2Stream;
  let cause: Error | undefined;
  let closing = true;
  const destroyWhenGone = () => {
    if (!stream.destroyed && isGone(stream)) prototype.destroy.call(stream, cause);
  };
  // Node asks again when nghttp2 closes the stream and when the session ends.
  stream.destroy = (error) => {
    cause ??= error;
    if (!closing) destroyWhenGone();
    if (!stream.destroyed) setImmediate(destroyWhenGone);
    return stream;
  };
  prototype.close.call(stream, code);
  closing = false;
}

function isGone(stream: Http2Stream): boolean {
  if (stream.session === undefined || stream.session.destroyed) return true;
  const { state } = stream.state;
  return state === undefined || state === idle || state === closed;
}
