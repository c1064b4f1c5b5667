/**
 * Protobuf's wire format (https://protobuf.dev/programming-guides/encoding/), as much of it as OTLP needs: what we send to
 * collectors is written here, piece by piece; nothing is read.
 */

export class ProtobufWriter {
  readonly #parts: Buffer[] = [];
  #bytes = 0;

  finish(): Buffer {
    return Buffer.concat(this.#parts, this.#bytes);
  }

  /** Enumerations and small numbers. */
  uint(field: number, value: number): this {
    if (value === 0) return this;
    return this.#add(varint(field * 8), varint(value));
  }

  bool(field: number, value: boolean): this {
    return this.#add(varint(field * 8), varint(value ? 1 : 0));
  }

  int64(field: number, value: number): this {
    return this.#add(varint(field * 8), varint64(BigInt.asUintN(64, BigInt(value))));
  }

  fixed64(field: number, value: bigint): this {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
    return this.#add(varint(field * 8 + 1), bytes);
  }

  fixed32(field: number, value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value >>> 0);
    return this.#add(varint(field * 8 + 5), bytes);
  }

  double(field: number, value: number): this {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value);
    return this.#add(varint(field * 8 + 1), bytes);
  }

  text(field: number, value: string): this {
    return value === '' ? this : this.bytes(field, Buffer.from(value));
  }

  bytes(field: number, value: Buffer): this {
    return this.#add(varint(field * 8 + 2), varint(value.length), value);
  }

  message(field: number, value: ProtobufWriter): this {
    return this.bytes(field, value.finish());
  }

  #add(...parts: readonly Buffer[]): this {
    for (const part of parts) {
      this.#parts.push(part);
      this.#bytes += part.length;
    }
    return this;
  }
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let left = value;
  while (left >= 0x80) {
    bytes.push((left % 0x80) + 0x80);
    left = Math.floor(left / 0x80);
  }
  bytes.push(left);
  return Buffer.from(bytes);
}

function varint64(value: bigint): Buffer {
  const bytes: number[] = [];
  let left = value;
  while (left >= 0x80n) {
    bytes.push(Number(left & 0x7fn) + 0x80);
    left >>= 7n;
  }
  bytes.push(Number(left));
  return Buffer.from(bytes);
}
