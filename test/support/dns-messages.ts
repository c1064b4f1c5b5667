/** DNS messages for tests, written and read by rules of their own, so that they can tell when `src/dns` is wrong. */

export const types = { A: 1, NS: 2, CNAME: 5, TXT: 16, AAAA: 28, SRV: 33, OPT: 41, HTTPS: 65 } as const;

export interface TestQuery {
  readonly id?: number;
  readonly flags?: number;
  readonly type?: number;
  readonly class?: number;
  /** EDNS payload. */
  readonly payload?: number;
  readonly ednsVersion?: number;
  readonly dnssecOk?: boolean;
}

export interface TestRecord {
  readonly name: string;
  readonly type: number;
  readonly ttl: number;
  /** Address or name as text, other data as hex. */
  readonly data: string;
}

export interface TestMessage {
  readonly id: number;
  readonly flags: number;
  readonly code: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly question: { readonly name: string; readonly type: number; readonly class: number } | undefined;
  readonly answers: readonly TestRecord[];
  readonly edns: { readonly payload: number; readonly version: number; readonly dnssecOk: boolean } | undefined;
}

export function wireName(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '');
  return Buffer.concat([
    ...labels.map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')])),
    Buffer.from([0]),
  ]);
}

export function queryMessage(name: string, options: TestQuery = {}): Buffer {
  const { id = 0x1234, flags = 0x0100, type = types.A, payload, ednsVersion = 0, dnssecOk = false } = options;
  const tail = payload === undefined ? [] : [opt(payload, ednsVersion, dnssecOk)];
  const header = words(id, flags, 1, 0, 0, tail.length);
  return Buffer.concat([header, wireName(name), words(type, options.class ?? 1), ...tail]);
}

/** An answer to a query message: its question and records of it, all of the question's name. */
export function answerMessage(
  query: Buffer,
  records: readonly { readonly type: number; readonly data: Buffer; readonly name?: string }[],
  options: { readonly id?: number; readonly flags?: number } = {},
): Buffer {
  const question = questionOf(query);
  const { id = query.readUInt16BE(0), flags = 0x8180 } = options;
  return Buffer.concat([
    words(id, flags, 1, records.length, 0, 0),
    question,
    ...records.map(({ type, data, name }) =>
      Buffer.concat([name === undefined ? words(0xc00c) : wireName(name), words(type, 1, 0, 60, data.length), data]),
    ),
  ]);
}

/** The bytes of the question section of a query without compression. */
export function questionOf(query: Buffer): Buffer {
  let at = 12;
  while (query[at] !== 0) at += 1 + (query[at] as number);
  return query.subarray(12, at + 5);
}

export function ipData(ip: string): Buffer {
  return Buffer.from(ip.split('.').map(Number));
}

/** Throws on what is no message. */
export function readMessage(message: Uint8Array): TestMessage {
  const bytes = Buffer.from(message);
  const flags = bytes.readUInt16BE(2);
  let at = 12;
  let question: TestMessage['question'];
  if (bytes.readUInt16BE(4) === 1) {
    const { name, next } = nameAt(bytes, at);
    question = { name, type: bytes.readUInt16BE(next), class: bytes.readUInt16BE(next + 2) };
    at = next + 4;
  }
  const answers: TestRecord[] = [];
  let edns: TestMessage['edns'];
  const count = bytes.readUInt16BE(6);
  for (let record = 0; record < count + bytes.readUInt16BE(10); record++) {
    const { name, next } = nameAt(bytes, at);
    const type = bytes.readUInt16BE(next);
    const start = next + 10;
    at = start + bytes.readUInt16BE(next + 8);
    if (type === types.OPT) {
      const payload = bytes.readUInt16BE(next + 2);
      edns = { payload, version: bytes[next + 5] as number, dnssecOk: (bytes.readUInt16BE(next + 6) & 0x8000) !== 0 };
      continue;
    }
    answers.push({ name, type, ttl: bytes.readUInt32BE(next + 4), data: dataText(bytes, type, start, at) });
  }
  if (at !== bytes.length) throw new Error(`${bytes.length - at} bytes too many`);
  return {
    id: bytes.readUInt16BE(0),
    flags,
    code: flags & 15,
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    question,
    answers,
    edns,
  };
}

function dataText(bytes: Buffer, type: number, start: number, end: number): string {
  const data = bytes.subarray(start, end);
  if (type === types.A) return [...data].join('.');
  if (type === types.CNAME) return nameAt(bytes, start).name;
  return data.toString('hex');
}

function nameAt(bytes: Buffer, start: number): { readonly name: string; readonly next: number } {
  const labels: string[] = [];
  let at = start;
  let next: number | undefined;
  for (;;) {
    const length = bytes.readUInt8(at);
    if (length === 0) return { name: labels.join('.'), next: next ?? at + 1 };
    if (length >= 0xc0) {
      next ??= at + 2;
      at = bytes.readUInt16BE(at) & 0x3fff;
      continue;
    }
    labels.push(bytes.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
}

function opt(payload: number, version: number, dnssecOk: boolean): Buffer {
  return Buffer.concat([Buffer.from([0]), words(types.OPT, payload, version, dnssecOk ? 0x8000 : 0, 0)]);
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  values.forEach((value, index) => {
    bytes.writeUInt16BE(value, index * 2);
  });
  return bytes;
}
