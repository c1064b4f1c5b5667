/**
 * DNS messages (RFC 1035, RFC 6891) as far as a proxy must understand them: reads the question and the EDNS option of a
 * query. What is forwarded stays bytes, so every type works. Answers are written in `reply.ts`, read in `answer.ts`.
 *
 * Why not `dns-packet`: a label that holds a dot reads as two, one message of 64 KiB takes 17 ms, and it throws.
 *
 * I1: total: any bytes give a value. I2: work is linear in the length, which callers bound.
 */

export const headerBytes = 12;
/** Of a name on the wire. */
const longestName = 255;
const longestLabel = 63;
/** Records beside the question: EDNS, a signature. */
const mostRecords = 16;

export const classInternet = 1;
export const typeA = 1;
export const typeCname = 5;
export const typeAaaa = 28;
export const typeOpt = 41;

export const codes = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nonexistentDomain: 3,
  notImplemented: 4,
  refused: 5,
  badVersion: 16,
} as const;

/** Second word of the header. */
export const flags = { response: 0x8000, authoritative: 0x0400, truncated: 0x0200, recursionDesired: 0x0100 } as const;
export const recursionAvailable = 0x0080;
export const checkingDisabled = 0x0010;

export interface Edns {
  /** What the sender can take, bytes. */
  readonly payload: number;
  readonly version: number;
  readonly dnssecOk: boolean;
}

export interface DnsName {
  /** Lower case; a byte that is no letter, digit, `-` or `_` is written `\ddd`, so that no label can pass for two. */
  readonly labels: readonly string[];
  /** On the wire, as it came, with the root's zero. */
  readonly bytes: Uint8Array;
}

export interface DnsQuery {
  readonly id: number;
  /** As they came. */
  readonly flags: number;
  readonly name: DnsName;
  readonly type: number;
  readonly class: number;
  readonly edns: Edns | undefined;
}

export type ReadQuery =
  | { readonly kind: 'query'; readonly query: DnsQuery }
  /** Deserves no answer: too short to have an id, or itself an answer (answering those makes loops). */
  | { readonly kind: 'drop'; readonly reason: string }
  /** To be answered with a code alone. */
  | {
      readonly kind: 'refuse';
      readonly code: number;
      readonly id: number;
      readonly flags: number;
      readonly reason: string;
    };

export function readQuery(message: Uint8Array): ReadQuery {
  if (message.length < headerBytes) return { kind: 'drop', reason: 'shorter than a header' };
  const [id, bits, questions] = [word(message, 0), word(message, 2), word(message, 4)];
  if ((bits & flags.response) !== 0) return { kind: 'drop', reason: 'it is an answer' };
  const refuse = (code: number, reason: string): ReadQuery => ({ kind: 'refuse', code, id, flags: bits, reason });
  if (((bits >> 11) & 0xf) !== 0) return refuse(codes.notImplemented, `operation ${(bits >> 11) & 0xf}`);
  if (questions !== 1) return refuse(codes.formatError, `${questions} questions`);
  const name = readName(message, headerBytes);
  if (name === undefined) return refuse(codes.formatError, 'the name cannot be read');
  const end = headerBytes + name.bytes.length + 4;
  if (end > message.length) return refuse(codes.formatError, 'the question is cut off');
  const records = word(message, 6) + word(message, 8) + word(message, 10);
  if (records > mostRecords) return refuse(codes.formatError, `${records} records in a query`);
  const edns = readEdns(message, end, records);
  if (edns === 'malformed') return refuse(codes.formatError, 'the records cannot be read');
  const query = { id, flags: bits, name, type: word(message, end - 4), class: word(message, end - 2), edns };
  return { kind: 'query', query };
}

/** A name without compression; undefined when it is none. */
export function readName(message: Uint8Array, start: number): DnsName | undefined {
  const labels: string[] = [];
  let at = start;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > longestLabel) return undefined;
    const next = at + 1 + length;
    if (next - start > longestName || next > message.length) return undefined;
    if (length === 0) return { labels, bytes: message.subarray(start, next) };
    labels.push(labelText(message, at + 1, next));
    at = next;
  }
}

/** A dotted host name on the wire; undefined when it cannot be one. */
export function writeName(text: string): Uint8Array | undefined {
  const labels = text.replace(/\.$/, '').split('.');
  if (labels.some((label) => label.length > longestLabel || !/^[A-Za-z0-9_-]+$/.test(label))) return undefined;
  const bytes = Buffer.concat([
    ...labels.map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`)),
    zero,
  ]);
  return bytes.length > longestName ? undefined : bytes;
}

/** A query of ours for one type. */
export function writeQuery(id: number, name: Uint8Array, type: number): Uint8Array {
  const message = Buffer.alloc(headerBytes + name.length + 4);
  message.writeUInt16BE(id, 0);
  message.writeUInt16BE(flags.recursionDesired, 2);
  message.writeUInt16BE(1, 4);
  message.set(name, headerBytes);
  message.writeUInt16BE(type, headerBytes + name.length);
  message.writeUInt16BE(classInternet, headerBytes + name.length + 2);
  return message;
}

export function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

/** The place after a name that may be compressed; undefined: there is no name. The pointer is not followed. */
export function skipName(message: Uint8Array, start: number): number | undefined {
  for (let at = start; at - start <= longestName; ) {
    const length = message[at];
    if (length === undefined) return undefined;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2 <= message.length ? at + 2 : undefined;
    if (length > longestLabel) return undefined;
    at += 1 + length;
  }
  return undefined;
}

/** Lower-cased text of the label in `message[start, end)`. */
export function labelText(message: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let at = start; at < end; at++) {
    const byte = message[at] as number;
    text += letters[byte] as string;
  }
  return text;
}

const zero = Uint8Array.of(0);

/** What stands for a byte of a label. */
const letters: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const letter = String.fromCharCode(byte);
  return /[A-Za-z0-9_-]/.test(letter) ? letter.toLowerCase() : `\\${String(byte).padStart(3, '0')}`;
});

function readEdns(message: Uint8Array, start: number, records: number): Edns | undefined | 'malformed' {
  let edns: Edns | undefined;
  let at = start;
  for (let record = 0; record < records; record++) {
    const fixed = skipName(message, at);
    if (fixed === undefined || fixed + 10 > message.length) return 'malformed';
    const next = fixed + 10 + word(message, fixed + 8);
    if (next > message.length) return 'malformed';
    if (word(message, fixed) === typeOpt) {
      if (edns !== undefined || message[at] !== 0) return 'malformed';
      const dnssecOk = (word(message, fixed + 6) & 0x8000) !== 0;
      edns = { payload: word(message, fixed + 2), version: message[fixed + 5] as number, dnssecOk };
    }
    at = next;
  }
  return at === message.length ? edns : 'malformed';
}
