/** Cuts a byte stream into lines. A line longer than the limit is cut there, so that no peer can fill the memory. */
import { StringDecoder } from 'node:string_decoder';

const longestLine = 64 * 1024;

export class LineCutter {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Uint8Array): void {
    const parts = (this.#rest + this.#decoder.write(Buffer.from(chunk))).split('\n');
    this.#rest = parts.pop() ?? '';
    for (const line of parts) this.#onLine(line);
    while (this.#rest.length > longestLine) {
      this.#onLine(this.#rest.slice(0, longestLine));
      this.#rest = this.#rest.slice(longestLine);
    }
  }

  /** Hands over what stands after the last line end. */
  finish(): void {
    const last = this.#rest + this.#decoder.end();
    this.#rest = '';
    if (last !== '') this.#onLine(last);
  }
}
