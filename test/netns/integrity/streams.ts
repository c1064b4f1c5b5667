/** Bodies of any size that both ends can check, and how a stream ended: what the tests of this folder count on. */
import { createHash, type Hash } from 'node:crypto';
import { type Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

const blockBytes = 64 * 1024;

/** The same bytes for the same seed: each block starts with its number, so that none can be lost, doubled or swapped. */
export function* blocks(totalBytes: number, seed: number): Generator<Buffer> {
  for (let sent = 0, index = 0; sent < totalBytes; index++) {
    const block = Buffer.alloc(Math.min(blockBytes, totalBytes - sent), seed & 0xff);
    block.writeUInt32BE(index, 0);
    sent += block.length;
    yield block;
  }
}

export function body(totalBytes: number, seed: number): Readable {
  return Readable.from(blocks(totalBytes, seed), { objectMode: false, highWaterMark: blockBytes });
}

export function expectedDigest(totalBytes: number, seed: number): string {
  const hash = createHash('sha256');
  for (const block of blocks(totalBytes, seed)) hash.update(block);
  return hash.digest('hex');
}

/** Sends the body and FIN. */
export function send(stream: Duplex, totalBytes: number, seed: number): Promise<void> {
  return pipeline(body(totalBytes, seed), stream, { end: false }).then(
    () => new Promise((resolve) => stream.end(resolve)),
  );
}

export interface Seen {
  readonly bytes: number;
  readonly digest: string;
  /** `fin` only when the far end said that it had finished. */
  readonly how: 'fin' | 'reset';
}

/** Reads until the stream ends, in one way or the other. */
export async function readAll(stream: Readable | Duplex): Promise<Seen> {
  const hash: Hash = createHash('sha256');
  let bytes = 0;
  let how: Seen['how'] = 'reset';
  stream.on('error', () => {});
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  const ended = new Promise<void>((resolve) => {
    stream.once('end', () => {
      how = 'fin';
      resolve();
    });
    stream.once('close', () => resolve());
  });
  stream.resume();
  await ended;
  return { bytes, digest: hash.digest('hex'), how };
}

/** Resolves once that many bytes in all have come. */
export function received(stream: Readable | Duplex, wanted: number): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0;
    const take = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes < wanted) return;
      stream.off('data', take);
      resolve();
    };
    stream.on('data', take);
  });
}
