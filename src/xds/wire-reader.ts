/**
 * A cursor over protobuf's wire format, for records that arrive by the hundred thousand. Unlike the library's reader it
 * keeps inside the message it has entered, makes no view and no string unless asked to, and lets equal bytes be recognised
 * before they are decoded.
 *
 * I1: every read ends inside the current message or throws `MalformedRecord`; every call moves on or throws, so no input
 *     can make a reader loop. Groups are not taken: nothing here was ever sent with them.
 */
import { errorText } from '../base/errors.ts';

/** What is wrong with a record, and in which field of it. It never leaves this room: `reasonOf` makes it a reason. */
export class MalformedRecord extends Error {
  override readonly name = 'MalformedRecord';
  readonly field: string | undefined;

  constructor(message: string, field?: string) {
    super(message);
    this.field = field;
  }
}

const wireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class WireReader {
  readonly bytes: Buffer;
  /** Of the next byte to be read. */
  position = 0;
  /** Where the message that was entered ends. */
  end: number;
  /** Where the tag of the current field begins. */
  fieldStart = 0;
  #wireType = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.end = bytes.byteLength;
  }

  /** Number of the next field, or 0 at the end of the message. */
  field(): number {
    if (this.position >= this.end) return 0;
    this.fieldStart = this.position;
    const tag = this.#varint();
    const field = tag >>> 3;
    if (field === 0) throw new MalformedRecord('a field numbered 0');
    this.#wireType = tag & 7;
    return field;
  }

  /** Passes over the value of the current field. */
  skip(): void {
    switch (this.#wireType) {
      case wireType.varint:
        this.#varint();
        return;
      case wireType.fixed64:
        this.#advance(8);
        return;
      case wireType.bytes:
        this.span();
        return;
      case wireType.fixed32:
        this.#advance(4);
        return;
      default:
        throw new MalformedRecord(`wire type ${this.#wireType}`);
    }
  }

  /** Passes over a text, bytes or message and says where it begins; it ends at `position`. */
  span(): number {
    this.#expect(wireType.bytes);
    const length = this.#varint();
    const start = this.position;
    this.#advance(length);
    return start;
  }

  /** Goes into a message. Give what it returns to `leave`. */
  enter(): number {
    const start = this.span();
    const outer = this.end;
    this.end = this.position;
    this.position = start;
    return outer;
  }

  leave(outer: number): void {
    this.position = this.end;
    this.end = outer;
  }

  /** Passes over further fields of the current number: a repeated field as one run of bytes from `fieldStart`. */
  run(field: number): void {
    this.skip();
    while (this.position < this.end) {
      const before = this.position;
      const start = this.fieldStart;
      const next = this.field();
      this.fieldStart = start;
      if (next !== field) {
        this.position = before;
        return;
      }
      this.skip();
    }
  }

  /** A varint cut to 32 bits, without sign. */
  uint32(): number {
    this.#expect(wireType.varint);
    return this.#varint();
  }

  bool(): boolean {
    this.#expect(wireType.varint);
    const start = this.position;
    this.#varint();
    for (let i = start; i < this.position; i++) if (((this.bytes[i] as number) & 0x7f) !== 0) return true;
    return false;
  }

  /** Values of a repeated number, which arrive packed or one by one. */
  uint32s(into: number[]): void {
    if (this.#wireType === wireType.varint) {
      into.push(this.#varint());
      return;
    }
    const outer = this.enter();
    while (this.position < this.end) into.push(this.#varint());
    this.leave(outer);
  }

  text(): string {
    const start = this.span();
    return this.textOf(start, this.position);
  }

  /** As `text`, with U+FFFD for what is no UTF-8: for names that are only looked up. Throws nothing after a `span` did not. */
  lossyText(): string {
    const start = this.span();
    return this.bytes.toString('utf8', start, this.position);
  }

  /** As `text`, and the very string given when it reads the same: one copy of what is said twice. */
  textLike(expected: string): string {
    const start = this.span();
    if (expected.length !== this.position - start) return this.textOf(start, this.position);
    for (let i = 0; i < expected.length; i++) {
      const code = expected.charCodeAt(i);
      if (code > 0x7f || code !== this.bytes[start + i]) return this.textOf(start, this.position);
    }
    return expected;
  }

  textOf(start: number, end: number): string {
    if (this.isAscii(start, end)) return this.bytes.toString('latin1', start, end);
    try {
      return strictUtf8.decode(this.bytes.subarray(start, end));
    } catch {
      throw new MalformedRecord('text that is not UTF-8');
    }
  }

  isAscii(start: number, end: number): boolean {
    for (let i = start; i < end; i++) if ((this.bytes[i] as number) > 0x7f) return false;
    return true;
  }

  /** A view, which keeps the whole of the message alive: for those who look and let go. */
  view(): Buffer {
    const start = this.span();
    return this.bytes.subarray(start, this.position);
  }

  #expect(type: number): void {
    if (this.#wireType !== type) throw new MalformedRecord(`wire type ${this.#wireType} instead of ${type}`);
  }

  #advance(length: number): void {
    if (length > this.end - this.position) throw new MalformedRecord('it is cut off');
    this.position += length;
  }

  #varint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.position >= this.end) throw new MalformedRecord('it is cut off');
      const byte = this.bytes[this.position++] as number;
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new MalformedRecord('a number of more than 64 bits');
  }
}

/**
 * Why the record between `start` and `end`, in which a reader came to grief at `position`, is refused: the resource, the
 * field and what is wrong with it. `fields`: names of the record's fields by number.
 */
export function reasonOf(
  error: unknown,
  resource: string,
  fields: Readonly<Record<number, string>>,
  { bytes, start, end, position }: { bytes: Uint8Array; start: number; end: number; position: number },
): string {
  const name = error instanceof MalformedRecord ? error.field : undefined;
  const field = name ?? fieldAt(bytes, start, end, position, fields);
  return `${resource}: ${field === undefined ? '' : `${field}: `}${errorText(error)}`;
}

/** The field that was being read: the last one that begins before the position. */
function fieldAt(
  bytes: Uint8Array,
  start: number,
  end: number,
  position: number,
  fields: Readonly<Record<number, string>>,
): string | undefined {
  const reader = new WireReader(bytes);
  reader.position = start;
  reader.end = end;
  let last = 0;
  try {
    while (reader.position < position) {
      const field = reader.field();
      if (field === 0) break;
      last = field;
      reader.skip();
    }
  } catch {
    // The very place where it is cut off.
  }
  return last === 0 ? undefined : (fields[last] ?? `field ${last}`);
}
