/**
 * The server name a TLS client asks for, read from its first flight without taking part in the handshake (RFC 8446 §4.1.2,
 * RFC 6066 §3). With an encrypted hello it is the outer name, which is all an observer may know.
 *
 * I1: what is read is bounded, and every length is checked against what is there; nothing a client sends throws.
 */

export type ClientHello =
  /** `serverName`: lower case; undefined: the client names nobody. */
  | { readonly kind: 'hello'; readonly serverName: string | undefined }
  /** No TLS, or too long or too broken to be believed. */
  | { readonly kind: 'other' };

/** Of records, headers included: much more than any client sends, post-quantum key shares and all. */
export const longestClientHello = 16 * 1024;

/** A hello in more pieces is made to be expensive. */
const mostRecords = 16;
const handshakeRecord = 22;
const clientHelloMessage = 1;
const serverNameExtension = 0;
const hostNameType = 0;
const other: ClientHello = { kind: 'other' };

/** Undefined: more bytes are needed. */
export function readClientHello(bytes: Uint8Array): ClientHello | undefined {
  const message = handshakeBytes(bytes);
  if (message === 'other') return other;
  if (message === undefined) return bytes.length >= longestClientHello ? other : undefined;
  const cursor = new Cursor(message);
  // Message type and length, version, random.
  cursor.skip(4 + 2 + 32);
  cursor.skip(cursor.uint8());
  cursor.skip(cursor.uint16());
  cursor.skip(cursor.uint8());
  if (cursor.failed) return other;
  if (cursor.left === 0) return { kind: 'hello', serverName: undefined };
  const extensions = cursor.part(cursor.uint16());
  while (extensions.left > 0 && !extensions.failed) {
    const type = extensions.uint16();
    const content = extensions.part(extensions.uint16());
    if (type === serverNameExtension && !extensions.failed) return named(content);
  }
  return extensions.failed || cursor.failed ? other : { kind: 'hello', serverName: undefined };
}

function named(content: Cursor): ClientHello {
  const list = content.part(content.uint16());
  while (list.left > 0 && !list.failed) {
    const type = list.uint8();
    const name = list.part(list.uint16());
    if (list.failed) return other;
    if (type !== hostNameType) continue;
    const text = name.text().toLowerCase();
    return /^[a-z0-9_](?:[a-z0-9._-]{0,253}[a-z0-9_])?\.?$/.test(text)
      ? { kind: 'hello', serverName: text.replace(/\.$/, '') }
      : other;
  }
  return list.failed ? other : { kind: 'hello', serverName: undefined };
}

/** The whole first handshake message, put together from as many records as it came in. */
function handshakeBytes(bytes: Uint8Array): Uint8Array | undefined | 'other' {
  const parts: Uint8Array[] = [];
  let size = 0;
  for (let at = 0; at < bytes.length; ) {
    // Type, major version, minor version, length.
    if (bytes[at] !== handshakeRecord || parts.length === mostRecords) return 'other';
    if (at + 1 < bytes.length && bytes[at + 1] !== 3) return 'other';
    if (at + 5 > bytes.length) return undefined;
    const length = ((bytes[at + 3] ?? 0) << 8) | (bytes[at + 4] ?? 0);
    if (length === 0 || length > 16_384) return 'other';
    const part = bytes.subarray(at + 5, at + 5 + length);
    if (parts.length === 0 && part.length > 0 && part[0] !== clientHelloMessage) return 'other';
    parts.push(part);
    size += part.length;
    at += 5 + length;
    if (size < 4) continue;
    const message = parts.length === 1 ? part : Buffer.concat(parts, size);
    const wanted = 4 + (((message[1] ?? 0) << 16) | ((message[2] ?? 0) << 8) | (message[3] ?? 0));
    if (wanted > longestClientHello) return 'other';
    // Whatever follows is not looked at.
    if (size >= wanted) return message.subarray(0, wanted);
  }
  return undefined;
}

/** Reads on in bytes; past their end everything is zero and `failed` is set. */
class Cursor {
  readonly #bytes: Uint8Array;
  #at = 0;
  failed = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  uint8(): number {
    const at = this.#take(1);
    return this.failed ? 0 : (this.#bytes[at] ?? 0);
  }

  uint16(): number {
    const at = this.#take(2);
    return this.failed ? 0 : ((this.#bytes[at] ?? 0) << 8) | (this.#bytes[at + 1] ?? 0);
  }

  skip(length: number): void {
    this.#take(length);
  }

  part(length: number): Cursor {
    const at = this.#take(length);
    const part = new Cursor(this.failed ? new Uint8Array() : this.#bytes.subarray(at, at + length));
    part.failed = this.failed;
    return part;
  }

  text(): string {
    return Buffer.from(this.#bytes.subarray(this.#at)).toString('latin1');
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.left) {
      this.failed = true;
      this.#at = this.#bytes.length;
    } else this.#at += length;
    return at;
  }
}
