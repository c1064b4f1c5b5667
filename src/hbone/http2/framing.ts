/** HTTP/2 on framing of our own: half the CPU of node:http2 for a tunnel's bytes. See `engine.ts` for the contract. */
import type { Http2Engine } from './engine.ts';
import { FramingPool } from './pool.ts';
import { serveSession } from './session.ts';

export const framing: Http2Engine = {
  usesStreams: false,
  createPool: (dependencies) => new FramingPool(dependencies),
  serve: serveSession,
};
