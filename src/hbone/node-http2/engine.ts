/** HTTP/2 on node:http2 and http2-wrapper: what a peer sends is parsed by nghttp2. See `http2/engine.ts` for the contract. */
import type { Http2Engine } from '../http2/engine.ts';
import { SessionPool } from './pool.ts';
import { serveSession } from './served-session.ts';

export const nodeHttp2: Http2Engine = {
  usesStreams: true,
  createPool: (dependencies) => new SessionPool(dependencies),
  serve: serveSession,
};
