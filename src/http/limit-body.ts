/** A request body that may not be longer than so many bytes: it breaks off there, and whoever reads it can tell why. */
import { Readable } from 'node:stream';

export class BodyTooLong extends Error {
  constructor(maxBytes: number) {
    super(`a body of more than ${maxBytes} bytes`);
    this.name = 'BodyTooLong';
  }
}

/**
 * Takes the source over: its errors are the result's. Nothing is read before somebody reads here, so that whoever does hears of
 * a body that is too long. What comes behind the limit is read and dropped.
 */
export function limitBody(source: Readable, maxBytes: number): Readable {
  let bytes = 0;
  let begun = false;
  const begin = () => {
    begun = true;
    source.on('data', (chunk: Buffer) => {
      if (limited.destroyed) return;
      bytes += chunk.length;
      if (bytes > maxBytes) limited.destroy(new BodyTooLong(maxBytes));
      else if (!limited.push(chunk)) source.pause();
    });
    source.once('end', () => limited.push(null));
  };
  const limited = new Readable({
    read() {
      if (begun) source.resume();
      else begin();
    },
    destroy(error, done) {
      source.resume();
      done(error);
    },
  });
  limited.on('error', () => {});
  source.on('error', (error) => limited.destroy(error));
  return limited;
}
