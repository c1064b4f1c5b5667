/**
 * Reading DER (X.690) without a library: elements one after another, every length checked against what is there. Only what
 * certificates and revocation lists need: definite lengths, tags of one byte.
 *
 * I1: bytes are never copied, and no element reaches beyond the one that holds it.
 */

export const derTag = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  context0: 0xa0,
} as const;

export interface DerElement {
  readonly tag: number;
  readonly content: Buffer;
  /** Tag and length included. */
  readonly whole: Buffer;
}

/** Throws a RangeError that says what is wrong; whoever reads what others wrote catches it. */
export class DerReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** Of the next element; undefined at the end. */
  get tag(): number | undefined {
    return this.#bytes[this.#at];
  }

  /** The next element, which must be a `tag` when that is given. */
  next(tag?: number): DerElement {
    const start = this.#at;
    const found = this.#byte();
    if ((found & 0x1f) === 0x1f) throw new RangeError('DER: a tag of several bytes');
    if (tag !== undefined && found !== tag) throw new RangeError(`DER: tag ${found} where ${tag} belongs`);
    const length = this.#length();
    const from = this.#at;
    const end = from + length;
    if (end > this.#bytes.length) throw new RangeError('DER: an element is cut off');
    this.#at = end;
    return { tag: found, content: this.#bytes.subarray(from, end), whole: this.#bytes.subarray(start, end) };
  }

  /** The next element when it is a `tag`. */
  optional(tag: number): DerElement | undefined {
    return this.tag === tag ? this.next() : undefined;
  }

  /** A reader of what the next element, a `tag`, holds. */
  inside(tag: number): DerReader {
    return new DerReader(this.next(tag).content);
  }

  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new RangeError('DER: an element is cut off');
    this.#at++;
    return byte;
  }

  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const size = first & 0x7f;
    // 0 is the indefinite length of BER.
    if (size === 0 || size > 4) throw new RangeError('DER: a length that cannot be');
    let length = 0;
    for (let i = 0; i < size; i++) length = length * 256 + this.#byte();
    if (length < 0x80 || length < 256 ** (size - 1)) throw new RangeError('DER: a length that is not the shortest');
    return length;
  }
}

/** A serial number's bytes as text, alike for a certificate and for a list that names it. */
export function serialText(integer: Buffer): string {
  let from = 0;
  while (from < integer.length - 1 && integer[from] === 0) from++;
  return integer.toString('latin1', from);
}

export interface CertificateNames {
  /** As `serialText` has it. */
  readonly serial: string;
  /** Name, DER. */
  readonly subject: Buffer;
}

/** From a certificate's DER (RFC 5280 §4.1). */
export function certificateNames(der: Buffer): CertificateNames {
  const facts = new DerReader(der).inside(derTag.sequence).inside(derTag.sequence);
  facts.optional(derTag.context0);
  const serial = serialText(facts.next(derTag.integer).content);
  facts.next(derTag.sequence); // signature algorithm
  facts.next(derTag.sequence); // issuer
  facts.next(derTag.sequence); // validity
  return { serial, subject: facts.next(derTag.sequence).whole };
}
