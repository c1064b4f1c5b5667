/**
 * Cuts what a peer sends into frames (RFC 9113 §4), wherever it is split. DATA is handed on as it comes, without a copy; the
 * payload of any other frame when it is whole.
 *
 * I1: nothing is gathered before its length was found to be allowed; what is of an unknown type is skipped.
 * Throws ConnectionError, after which it must not be fed again.
 */
import { ConnectionError, connectionPreface, errorCode, flag, frameType, headBytes } from './codes.ts';

export interface FrameSink {
  /** The head of a DATA frame of `length` bytes, padding included. */
  dataBegins(stream: number, length: number, flags: number): void;
  /** Part of its content. `bytes` is a view of what was fed. */
  dataComes(bytes: Uint8Array): void;
  dataEnds(): void;
  /** Any other frame of a known type. `payload` is valid during the call. */
  frame(type: number, flags: number, stream: number, payload: Buffer): void;
  /** One of an unknown type. */
  unknownFrame(): void;
}

/** Payloads that have one length alone. */
const fixedBytes: Readonly<Record<number, number>> = {
  [frameType.priority]: 5,
  [frameType.resetStream]: 4,
  [frameType.ping]: 8,
  [frameType.windowUpdate]: 4,
};
/** Of SETTINGS, and of GOAWAY with what it says. */
const mostSettingsBytes = 6 * 64;

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #maxFrameBytes: number;
  readonly #maxBlockBytes: number;
  /** Of the client's preface, not yet seen. */
  #prefaceLeft: number;
  readonly #head = Buffer.alloc(headBytes);
  #headHas = 0;
  #type = 0;
  #flags = 0;
  #stream = 0;
  /** Of the payload, not yet seen. */
  #left = 0;
  /** Of DATA: not yet known, or so many bytes at its end. */
  #padding: number | undefined = 0;
  #gathered: Buffer | undefined;
  #gatheredBytes = 0;

  /** `maxBlockBytes`: of a piece of a header block. */
  constructor(sink: FrameSink, limits: { maxFrameBytes: number; maxBlockBytes: number; expectPreface: boolean }) {
    this.#sink = sink;
    this.#maxFrameBytes = limits.maxFrameBytes;
    this.#maxBlockBytes = limits.maxBlockBytes;
    this.#prefaceLeft = limits.expectPreface ? connectionPreface.length : 0;
  }

  feed(bytes: Buffer): void {
    let at = this.#prefaceLeft > 0 ? this.#readPreface(bytes) : 0;
    const end = bytes.length;
    while (at < end) {
      if (this.#headHas < headBytes) {
        at = this.#readHead(bytes, at);
        if (this.#headHas < headBytes) return;
        if (this.#left === 0) this.#ends();
        continue;
      }
      const to = Math.min(end, at + this.#left);
      if (this.#type === frameType.data) this.#data(bytes, at, to);
      else this.#payload(bytes, at, to);
      at = to;
    }
  }

  #readPreface(bytes: Buffer): number {
    const from = connectionPreface.length - this.#prefaceLeft;
    const length = Math.min(this.#prefaceLeft, bytes.length);
    for (let i = 0; i < length; i++) {
      if (bytes[i] !== connectionPreface[from + i]) {
        throw new ConnectionError(errorCode.protocolError, 'the peer does not begin with the preface of HTTP/2');
      }
    }
    this.#prefaceLeft -= length;
    return length;
  }

  /** Returns where the payload begins, or the end. */
  #readHead(bytes: Buffer, from: number): number {
    let at = from;
    if (this.#headHas === 0 && bytes.length - at >= headBytes) {
      this.#parseHead(bytes, at);
      this.#headHas = headBytes;
      return at + headBytes;
    }
    while (at < bytes.length && this.#headHas < headBytes) this.#head[this.#headHas++] = bytes[at++] as number;
    if (this.#headHas === headBytes) this.#parseHead(this.#head, 0);
    return at;
  }

  #parseHead(head: Buffer, at: number): void {
    const length = ((head[at] as number) << 16) | ((head[at + 1] as number) << 8) | (head[at + 2] as number);
    const type = head[at + 3] as number;
    this.#left = length;
    this.#type = type;
    this.#flags = head[at + 4] as number;
    this.#stream =
      (((head[at + 5] as number) & 0x7f) << 24) |
      ((head[at + 6] as number) << 16) |
      ((head[at + 7] as number) << 8) |
      (head[at + 8] as number);
    if (length > this.#maxFrameBytes) {
      throw new ConnectionError(errorCode.frameSizeError, `a frame of ${length} bytes`);
    }
    if (type === frameType.data) {
      const isPadded = (this.#flags & flag.padded) !== 0;
      if (isPadded && length === 0) throw new ConnectionError(errorCode.frameSizeError, 'padding without its length');
      this.#padding = isPadded ? undefined : 0;
      this.#sink.dataBegins(this.#stream, length, this.#flags);
    } else this.#checkLength(type, length);
  }

  #checkLength(type: number, length: number): void {
    const fixed = fixedBytes[type];
    if (fixed !== undefined && length !== fixed) {
      throw new ConnectionError(errorCode.frameSizeError, `a frame of type ${type} with ${length} bytes`);
    }
    if (type === frameType.settings && length > mostSettingsBytes) {
      throw new ConnectionError(errorCode.enhanceYourCalm, `SETTINGS of ${length} bytes`);
    }
    if ((type === frameType.headers || type === frameType.continuation) && length > this.#maxBlockBytes) {
      throw new ConnectionError(errorCode.enhanceYourCalm, `a header block of ${length} bytes`);
    }
    if (type === frameType.pushPromise) throw new ConnectionError(errorCode.protocolError, 'PUSH_PROMISE');
  }

  #data(bytes: Buffer, start: number, to: number): void {
    let from = start;
    if (this.#padding === undefined) {
      this.#padding = bytes[from++] as number;
      this.#left--;
      if (this.#padding > this.#left) throw new ConnectionError(errorCode.protocolError, 'more padding than frame');
    }
    const content = Math.min(to - from, this.#left - this.#padding);
    if (content > 0) {
      const isAll = from === 0 && content === bytes.length;
      this.#sink.dataComes(isAll ? bytes : bytes.subarray(from, from + content));
    }
    this.#left -= to - from;
    if (this.#left === 0) this.#ends();
  }

  #payload(bytes: Buffer, from: number, to: number): void {
    const isKnown = this.#type <= frameType.continuation;
    const isWhole = this.#gathered === undefined && to - from === this.#left;
    this.#left -= to - from;
    if (isKnown && isWhole) {
      this.#headHas = 0;
      this.#sink.frame(this.#type, this.#flags, this.#stream, bytes.subarray(from, to));
      return;
    }
    if (isKnown) this.#gather(bytes, from, to);
    if (this.#left === 0) this.#ends();
  }

  #gather(bytes: Buffer, from: number, to: number): void {
    // GOAWAY may say as much as fits into a frame: what nobody reads is not kept.
    const most = this.#type === frameType.goAway ? mostSettingsBytes : Number.POSITIVE_INFINITY;
    this.#gathered ??= Buffer.allocUnsafe(Math.min(most, to - from + this.#left));
    const room = this.#gathered.length - this.#gatheredBytes;
    this.#gatheredBytes += bytes.copy(this.#gathered, this.#gatheredBytes, from, Math.min(to, from + room));
  }

  #ends(): void {
    this.#headHas = 0;
    const payload = this.#gathered ?? Buffer.alloc(0);
    this.#gathered = undefined;
    this.#gatheredBytes = 0;
    if (this.#type === frameType.data) this.#sink.dataEnds();
    else if (this.#type > frameType.continuation) this.#sink.unknownFrame();
    else this.#sink.frame(this.#type, this.#flags, this.#stream, payload);
  }
}
