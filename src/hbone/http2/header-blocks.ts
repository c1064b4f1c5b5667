/**
 * Header blocks put together from HEADERS and CONTINUATION and decoded (RFC 9113 §4.3, §6.2, §6.10). Every block must be decoded, of
 * streams that are refused or gone as well: the next ones build on its table.
 *
 * I1: a block is bounded while it is put together.
 */
import { ConnectionError, errorCode, flag } from './codes.ts';
import { type DecodedFields, HpackDecoder } from './hpack-decoder.ts';

export interface HeaderBlock extends DecodedFields {
  readonly stream: number;
  readonly isEnd: boolean;
}

const priorityBytes = 5;
/** What an encoder may add to the fields it writes. */
const slackBytes = 4096;

export class HeaderBlocks {
  readonly #decoder: HpackDecoder;
  readonly #maxBytes: number;
  #stream: number | undefined;
  #isEnd = false;
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(maxListBytes: number) {
    this.#decoder = new HpackDecoder({ maxListBytes });
    this.#maxBytes = HeaderBlocks.maxBytes(maxListBytes);
  }

  /** No honest block of a list within the limit is longer. */
  static maxBytes(maxListBytes: number): number {
    return maxListBytes + slackBytes;
  }

  /** Whose block is under way. */
  get stream(): number | undefined {
    return this.#stream;
  }

  /** Undefined: there is more to come. */
  headers(stream: number, flags: number, payload: Buffer): HeaderBlock | undefined {
    let from = 0;
    let to = payload.length;
    if ((flags & flag.padded) !== 0) {
      to -= payload[from++] ?? 0;
      if (payload.length === 0) throw new ConnectionError(errorCode.frameSizeError, 'padding without its length');
    }
    if ((flags & flag.priority) !== 0) from += priorityBytes;
    if (from > to) throw new ConnectionError(errorCode.protocolError, 'HEADERS with more padding than frame');
    this.#stream = stream;
    this.#isEnd = (flags & flag.endStream) !== 0;
    return this.#piece(flags, payload.subarray(from, to));
  }

  continuation(flags: number, payload: Buffer): HeaderBlock | undefined {
    return this.#piece(flags, payload);
  }

  #piece(flags: number, piece: Buffer): HeaderBlock | undefined {
    this.#bytes += piece.length;
    if (this.#bytes > this.#maxBytes) throw new ConnectionError(errorCode.enhanceYourCalm, 'a header block too long');
    const isLast = (flags & flag.endHeaders) !== 0;
    if (!isLast) {
      // The caller's bytes are used again.
      this.#pieces.push(Buffer.from(piece));
      return undefined;
    }
    const block = this.#pieces.length === 0 ? piece : Buffer.concat([...this.#pieces, piece]);
    const stream = this.#stream ?? 0;
    this.#stream = undefined;
    this.#pieces = [];
    this.#bytes = 0;
    const decoded = this.#decoder.decode(block);
    if (decoded === undefined) throw new ConnectionError(errorCode.compressionError, 'a header block');
    return { stream, isEnd: this.#isEnd, fields: decoded.fields, tooLarge: decoded.tooLarge };
  }
}
