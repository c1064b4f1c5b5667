/**
 * Heads of HTTP/1.1 responses as lists of texts. undici 8.12 has them as a buffer for each name and value, and makes an object of
 * them for its handlers, with a text for each, which nobody here looks at. Kept from it they are not made; and of a head that
 * came in one piece, as nearly all do, one text is made, of which the others are parts.
 */
import type { HeaderList } from '../http/header-list.ts';
import { Request } from './undici.ts';

/** A response's head on its way through undici, which takes for ready what is no array. */
export class RawHead {
  readonly #buffers: readonly Buffer[];

  constructor(buffers: readonly Buffer[]) {
    this.#buffers = buffers;
  }

  list(): HeaderList {
    return headerTexts(this.#buffers);
  }
}

let mended = false;

/** From now on handlers of every request of HTTP/1.1 in this process get a `RawHead`. Harmless when called again. */
export function keepRawHeads(): void {
  if (mended) return;
  mended = true;
  const { prototype } = Request;
  const { onResponseStart } = prototype;
  prototype.onResponseStart = function (status, headers, resume, statusText) {
    const head = Array.isArray(headers) ? new RawHead(headers) : headers;
    return onResponseStart.call(this, status, head, resume, statusText);
  };
}

/** Octets are characters. */
export function headerTexts(buffers: readonly Buffer[]): HeaderList {
  const [first] = buffers;
  const last = buffers.at(-1);
  const list: string[] = [];
  if (first === undefined || last === undefined) return list;
  const start = first.byteOffset;
  const end = last.byteOffset + last.length;
  if (end - start > longestHead || !areOrderedParts(buffers)) {
    for (const buffer of buffers) list.push(buffer.toString('latin1'));
    return list;
  }
  const text = Buffer.from(first.buffer, start, end - start).toString('latin1');
  for (const { byteOffset, length } of buffers) list.push(text.slice(byteOffset - start, byteOffset - start + length));
  return list;
}

/** Parts keep the whole alive. */
const longestHead = 4 * 1024;

/** Of one piece of memory; a name or value that came in two is a buffer of its own. */
function areOrderedParts(buffers: readonly Buffer[]): boolean {
  const memory = buffers[0]?.buffer;
  let at = 0;
  for (const { buffer, byteOffset, length } of buffers) {
    if (buffer !== memory || byteOffset < at) return false;
    at = byteOffset + length;
  }
  return true;
}
