/**
 * A text that is kept for a question that may never be asked, in a tenth of its room: configuration repeats itself. Small texts are
 * not worth it, and large ones would hold the thread for too long: they stay as they are.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';

const smallest = 1024;
/** Packed in a millisecond. */
const largest = 64 * 1024;
/** Less room to work in than zlib takes unasked, which is 256 KiB for each text. */
const options = { windowBits: 13, memLevel: 6 };

export class PackedText {
  readonly #kept: string;
  readonly #isPacked: boolean;

  constructor(text: string) {
    // Half of a pair could not be written as UTF-8.
    this.#isPacked = text.length >= smallest && text.length <= largest && text.isWellFormed();
    // As a string of bytes: a buffer of its own costs as much again.
    this.#kept = this.#isPacked ? deflateRawSync(text, options).toString('latin1') : text;
  }

  /** Unpacked each time. */
  text(): string {
    return this.#isPacked ? inflateRawSync(Buffer.from(this.#kept, 'latin1'), options).toString('utf8') : this.#kept;
  }
}

/** A copy. A part of a text is otherwise a view into the whole, which is then kept as long. */
export function ownText(part: string): string {
  return part.length < shortestView ? part : Buffer.from(part, 'utf8').toString('utf8');
}

/** V8's SlicedString::kMinLength. */
const shortestView = 13;
