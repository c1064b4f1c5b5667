/**
 * Messages of grpc-js put together as they come. The library keeps the chunks of a message and joins them when the last has
 * come: of the 55 MB with which a large mesh begins that one copy, into pages nobody has touched yet, holds the thread for 40
 * to 90 ms. Here a message gets its place when its size is known, and each chunk is copied on arrival. Framing is gRPC's:
 * one byte for compression, four for the length, the message (gRPC over HTTP/2, "Length-Prefixed-Message").
 *
 * I1: what comes out is byte for byte what the library's own decoder gives, the limit on the size included.
 */
import { StreamDecoder } from '@grpc/grpc-js/build/src/stream-decoder.js';
import { chunkPassed } from '../base/chunk-garbage.ts';

const headBytes = 5;

/** What a decoder has of the message it is reading. */
interface Unfinished {
  readonly head: Buffer;
  /** Head and message; undefined until the head is there. */
  framed: Buffer | undefined;
  /** Bytes of it that are there. */
  length: number;
}

const unfinished = new WeakMap<StreamDecoder, Unfinished>();

/** From now on, for every stream of this process. Calling it again does nothing. */
export function putMessagesTogetherInPlace(): void {
  StreamDecoder.prototype.write = write;
}

function write(this: StreamDecoder, data: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  chunkPassed(data.length);
  let reading = unfinished.get(this);
  let at = 0;
  while (at < data.length) {
    if (reading === undefined) {
      reading = { head: Buffer.allocUnsafe(headBytes), framed: undefined, length: 0 };
      unfinished.set(this, reading);
    }
    const into = reading.framed ?? reading.head;
    const copied = data.copy(into, reading.length, at);
    at += copied;
    reading.length += copied;
    // A message without any bytes is complete with its head.
    if (reading.framed === undefined && reading.length === headBytes) {
      reading.framed = Buffer.allocUnsafe(headBytes + allowedSize(this, reading.head));
      reading.head.copy(reading.framed);
    }
    if (reading.framed !== undefined && reading.length === reading.framed.length) {
      messages.push(reading.framed);
      unfinished.delete(this);
      reading = undefined;
    }
  }
  return messages;
}

function allowedSize(decoder: StreamDecoder, head: Buffer): number {
  const size = head.readUInt32BE(1);
  const most: unknown = Reflect.get(decoder, 'maxReadMessageLength');
  if (typeof most !== 'number') throw new Error('this grpc-js says nowhere how large a message may be');
  if (most !== -1 && size > most) throw new Error(`Received message larger than max (${size} vs ${most})`);
  return size;
}
