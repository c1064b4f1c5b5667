/** HTTP/2 frames as bytes (RFC 9113 §4.1, §6), also such as no honest peer would send; and bytes as frames. */

export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const ack = 0x1;
export const endStream = 0x1;
export const endHeaders = 0x4;
export const padded = 0x8;
export const withPriority = 0x20;
export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** RFC 9113 §7. */
export const errorCode = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
} as const;

/** RFC 9113 §6.5.2. */
export const setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const largestWindow = 0x7fffffff;

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** What a client begins with. */
export const greeting = Buffer.concat([preface, frame(frameType.settings, 0, 0)]);

export function settings(...entries: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * entries.length);
  for (const [i, [id, value]] of entries.entries()) {
    payload.writeUInt16BE(id, 6 * i);
    payload.writeUInt32BE(value, 6 * i + 2);
  }
  return frame(frameType.settings, 0, 0, payload);
}

export function data(stream: number, payload: Uint8Array | string, flags = 0): Buffer {
  return frame(frameType.data, flags, stream, Buffer.from(payload));
}

/** DATA with `padding` octets behind it, and the one that says so before it. */
export function paddedData(stream: number, payload: Uint8Array | string, padding: number, flags = 0): Buffer {
  const parts = [Buffer.from([padding]), Buffer.from(payload), Buffer.alloc(padding)];
  return frame(frameType.data, padded | flags, stream, Buffer.concat(parts));
}

export function reset(stream: number, code: keyof typeof errorCode): Buffer {
  return frame(frameType.reset, 0, stream, word(errorCode[code]));
}

export function windowUpdate(stream: number, increment: number): Buffer {
  return frame(frameType.windowUpdate, 0, stream, word(increment));
}

export function ping(bytes: string, flags = 0): Buffer {
  return frame(frameType.ping, flags, 0, Buffer.from(bytes.padEnd(8, '.'), 'latin1'));
}

export function goAway(lastStream: number, code: keyof typeof errorCode = 'NO_ERROR'): Buffer {
  return frame(frameType.goAway, 0, 0, Buffer.concat([word(lastStream), word(errorCode[code])]));
}

/** A request for a tunnel. */
export function connectTo(stream: number, authority: string, flags = 0): Buffer {
  return frame(frameType.headers, endHeaders | flags, stream, connectBlock(authority));
}

/** An answer. */
export function answer(
  stream: number,
  status: string | number,
  fields: readonly (readonly [string, string])[] = [],
  flags = 0,
): Buffer {
  return frame(frameType.headers, endHeaders | flags, stream, headerBlock([[':status', String(status)], ...fields]));
}

export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A header block of literals, without Huffman coding and without the table (RFC 7541 §6.2.2). */
export function headerBlock(fields: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]));
}

/** A field that enters the table (RFC 7541 §6.2.1). */
export function indexedField(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0x40]), literal(name), literal(value)]);
}

export function connectBlock(authority: string): Buffer {
  return headerBlock([
    [':method', 'CONNECT'],
    [':authority', authority],
  ]);
}

/** A string of up to a few megabytes: its length with a prefix of seven bits, then itself. */
function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128);
  length.push(rest);
  return Buffer.concat([Buffer.from(length), bytes]);
}

export interface ReadFrame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** Takes bytes as they come, gives whole frames. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Bytes of a frame that is not whole yet. */
  get held(): number {
    return this.#rest.length;
  }

  read(chunk: Buffer): ReadFrame[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: ReadFrame[] = [];
    let at = 0;
    while (bytes.length - at >= 9) {
      const end = at + 9 + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      frames.push({
        type: bytes[at + 3] as number,
        flags: bytes[at + 4] as number,
        id: bytes.readUInt32BE(at + 5),
        payload: bytes.subarray(at + 9, end),
      });
      at = end;
    }
    this.#rest = bytes.subarray(at);
    return frames;
  }
}

/** The name of a code, as RFC 9113 has it. */
export function codeName(code: number): string {
  return Object.entries(errorCode).find(([, value]) => value === code)?.[0] ?? String(code);
}

/** Codes of the digits in HPACK's Huffman code (RFC 7541, appendix B). */
const digits = ['00000', '00001', '00010', '011001', '011010', '011011', '011100', '011101', '011110', '011111'];
/** Statuses of HPACK's static table, entries 8 to 14. */
const knownStatus = [200, 204, 206, 304, 400, 404, 500];

/** `:status` of a header block that begins with it, behind changes of the table's size; undefined: it does not. */
export function statusOf(block: Buffer): number | undefined {
  let at = 0;
  // A size update: 001, and a number whose prefix is full when more follows.
  while (((block[at] ?? 0) & 0xe0) === 0x20) {
    const more = ((block[at] as number) & 0x1f) === 0x1f;
    at++;
    if (more) while (((block[at++] ?? 0) & 0x80) !== 0);
  }
  const first = block[at] ?? 0;
  if (first >= 0x88 && first <= 0x8e) return knownStatus[first - 0x88];
  // A literal whose name is entry 8 to 14, in any of the three ways to write one.
  const index = (first & 0xc0) === 0x40 ? first & 0x3f : first & 0x0f;
  if (first >= 0x80 || index < 8 || index > 14) return undefined;
  const length = (block[at + 1] ?? 0) & 0x7f;
  const bytes = block.subarray(at + 2, at + 2 + length);
  if (((block[at + 1] ?? 0) & 0x80) === 0) return Number(bytes.toString('latin1'));
  let bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  let text = '';
  while (text.length < 3) {
    const digit = digits.findIndex((code) => bits.startsWith(code));
    if (digit < 0) return undefined;
    bits = bits.slice((digits[digit] as string).length);
    text += digit;
  }
  return Number(text);
}
