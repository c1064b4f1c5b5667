/**
 * What comes and goes on an HTTP/2 stream, in such a way that a stream that was reset never looks whole: Node tells 'end' for
 * it, too, and its peers send END_STREAM together with RST_STREAM. So the bytes are handed on through streams of our own
 * that end only when END_STREAM is certain.
 */
import { constants, type Http2Stream } from 'node:http2';
import { Duplex, Readable } from 'node:stream';
import { closeHttp2Stream } from '../base/close-http2-stream.ts';

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = constants;

/**
 * Must be called in the tick in which the stream was announced; the whole body may have been read by then.
 *
 * What arrives goes to the body at once, and the stream reads on only when that has room: never by `pause` and `resume`, since a
 * stream that is resumed gives its peer window for all that came before, taken or not.
 */
export function wholeBody(stream: Http2Stream): Readable {
  let whole = !stream.closed && stream.state.remoteClose === 1;
  const push = stream.push.bind(stream);
  const readOn = () => {
    if (!stream.destroyed && stream.readableLength === 0) stream._read(0);
  };
  const body = new Readable({
    highWaterMark: 64 * 1024,
    read: readOn,
    destroy(error, done) {
      readOn();
      done(error);
    },
  });
  body.on('error', () => {});
  const take = (chunk: Buffer): boolean => body.destroyed || body.push(chunk);
  // By a name: a literal assigned as it stands would be kept until the next whole collection (docs/performance.md).
  const pushed: Http2Stream['push'] = (chunk, encoding) => {
    if (chunk === null && !stream.closed && !stream.destroyed) whole = true;
    return chunk === null || stream.readableLength > 0 ? push(chunk, encoding) : take(chunk as Buffer);
  };
  stream.push = pushed;
  // What was read before, and the end.
  stream.on('data', take);
  const believe = () => {
    if (whole && (!stream.closed || stream.rstCode === NGHTTP2_NO_ERROR)) body.push(null);
    else body.destroy(new Error('the client reset the stream'));
  };
  stream.once('end', () => setImmediate(believe));
  stream.once('close', () => {
    // V8 keeps the stream (docs/performance.md), which need not lead to the body.
    stream.push = push;
    if (!whole) body.destroy(new Error('the stream closed before its end'));
  });
  return body;
}

/**
 * Both directions, for what is no longer HTTP (RFC 8441). To be made as `wholeBody`, and owned by who gets it: FIN is END_STREAM,
 * and destroying it before both ends is RST_STREAM.
 */
export function http2Bytes(stream: Http2Stream): Duplex {
  const body = wholeBody(stream);
  const bytes = new Duplex({
    allowHalfOpen: true,
    read: () => void body.resume(),
    write(chunk: Buffer, _encoding, done) {
      // An empty write may abort the process: see TunnelEnd.
      if (chunk.length === 0) done();
      else if (stream.destroyed || stream.writableEnded) done(new Error('the stream has ended'));
      else stream.write(chunk, done);
    },
    final(done) {
      if (!stream.destroyed && !stream.writableEnded) stream.end();
      done();
    },
    destroy(error, done) {
      body.destroy();
      const whole = error === null && bytes.readableEnded && bytes.writableFinished;
      if (!whole && !stream.destroyed) closeHttp2Stream(stream, NGHTTP2_CANCEL);
      done(error);
    },
  });
  bytes.on('error', () => {});
  body.on('data', (chunk: Buffer) => {
    if (!bytes.push(chunk)) body.pause();
  });
  body.once('end', () => bytes.push(null));
  body.once('error', (error) => bytes.destroy(error));
  stream.once('close', () => {
    if (stream.rstCode !== NGHTTP2_NO_ERROR) bytes.destroy(new Error('the stream was reset'));
  });
  return bytes;
}
