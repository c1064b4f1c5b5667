/** What carries tunnels, as `AMBIT_HTTP2_ENGINE` says: frames of our own, or Node's HTTP/2 for those who rather trust nghttp2's parser. */
import type { Http2Engine } from '../hbone/http2/engine.ts';

export const http2Engines = ['framing', 'node'] as const;

/** Undefined: the relay's own. The other is loaded only for those who ask for it. */
export async function http2Engine(name: (typeof http2Engines)[number]): Promise<Http2Engine | undefined> {
  return name === 'node' ? (await import('../hbone/node-http2/engine.ts')).nodeHttp2 : undefined;
}
