/** A request body that may not be longer than so many bytes: it breaks off there, and whoever reads it can tell why. */
import { type Readable, Transform } from 'node:stream';

export class BodyTooLong extends Error {
  constructor(maxBytes: number) {
    super(`a body of more than ${maxBytes} bytes`);
    this.name = 'BodyTooLong';
  }
}

/** Takes the source over: its errors are the result's. What comes behind the limit is read and dropped. */
export function limitBody(source: Readable, maxBytes: number): Readable {
  let bytes = 0;
  const limited = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > maxBytes) done(new BodyTooLong(maxBytes));
      else done(null, chunk);
    },
  });
  limited.on('error', () => source.resume());
  source.on('error', (error) => limited.destroy(error));
  source.pipe(limited);
  return limited;
}
