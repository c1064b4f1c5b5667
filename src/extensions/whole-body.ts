/** Bytes that are all there, as the body of a request. */
import { Readable } from 'node:stream';

export function wholeBody(bytes: Uint8Array): Readable {
  const body = new Readable({
    read() {
      if (bytes.length > 0) body.push(bytes);
      body.push(null);
    },
  });
  body.on('error', () => {});
  return body;
}
