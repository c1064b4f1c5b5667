/**
 * The HTTP server under every sample program: says who answered (`x-app-pod`, `x-app-version`) and whom it saw
 * (`x-app-peer`), can be told to fail, and answers a few httpbin-like paths that tests of a proxy need.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { canonicalIp } from '../../base/address.ts';
import { generatedBytes } from '../request.ts';

export interface AppIdentity {
  readonly pod: string;
  readonly version: string;
}

export interface AppRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: NodeJS.Dict<string | string[]>;
  /** Address of the far end of the connection, as this program sees it. */
  readonly peer: string;
  readonly body: Buffer;
}

export interface AppAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Buffer;
}

/** Undefined: not my path. */
export type AppHandler = (request: AppRequest) => AppAnswer | undefined | Promise<AppAnswer | undefined>;

const largestBody = 64 << 20;
const largestGenerated = 256 << 20;

export interface AppOptions {
  /** So many first requests answer 503, as after POST /admin/fail?count=N. */
  readonly failing?: number;
  /** Called with one line for each request served. */
  readonly onRequest?: (line: string) => void;
}

/** A server that is not listening yet. */
export function createApp(identity: AppIdentity, handle: AppHandler, options: AppOptions = {}): Server {
  const { onRequest = () => {} } = options;
  let failuresLeft = options.failing ?? 0;
  const answer = async (request: AppRequest): Promise<AppAnswer> => {
    if (request.path === '/admin/fail' && request.method === 'POST') {
      failuresLeft = Number(request.query.get('count') ?? 1);
      return json(200, { failing: failuresLeft });
    }
    if (failuresLeft > 0) {
      failuresLeft--;
      return json(503, { error: `${identity.pod} was told to fail` });
    }
    if (request.path === '/health') return json(200, { status: 'healthy' });
    return (await handle(request)) ?? (await diagnose(request)) ?? json(404, { error: `nothing at ${request.path}` });
  };
  const server = createServer((incoming, outgoing) => {
    incoming.on('error', () => {}); // The 'close' of the response follows; there is nobody left to answer.
    outgoing.on('error', () => {});
    void serve(identity, incoming, outgoing, answer).then(onRequest);
  });
  server.on('clientError', (_error, socket) => socket.destroy());
  return server;
}

export function json(status: number, value: unknown): AppAnswer {
  return { status, contentType: 'application/json', body: `${JSON.stringify(value)}\n` };
}

async function serve(
  identity: AppIdentity,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  answer: (request: AppRequest) => Promise<AppAnswer>,
): Promise<string> {
  const { remoteAddress = '', remotePort = 0 } = incoming.socket;
  const peer = `${canonicalIp(remoteAddress) ?? 'gone'}:${remotePort}`;
  outgoing.setHeader('x-app-pod', identity.pod);
  outgoing.setHeader('x-app-version', identity.version);
  outgoing.setHeader('x-app-peer', peer);
  let result: AppAnswer;
  try {
    const url = new URL(incoming.url ?? '/', 'http://app');
    const { method = 'GET', headers } = incoming;
    const body = await readBody(incoming);
    result = await answer({ method, path: url.pathname, query: url.searchParams, headers, peer, body });
  } catch (error) {
    result = json(500, { error: error instanceof Error ? error.message : String(error) });
  }
  const length = Buffer.byteLength(result.body);
  outgoing.writeHead(result.status, { 'content-type': result.contentType, 'content-length': length });
  outgoing.end(result.body);
  return `${incoming.method} ${incoming.url} ${result.status} peer=${peer}`;
}

async function readBody(incoming: IncomingMessage): Promise<Buffer> {
  if (Number(incoming.headers['content-length'] ?? 0) > largestBody) throw new Error('request body too large');
  return buffer(incoming);
}

/** Paths of no program, for tests of what stands between: what arrived, echoes, sizes, delays and status codes. */
async function diagnose(request: AppRequest): Promise<AppAnswer | undefined> {
  const { method, path, headers, peer, body } = request;
  const [, verb, argument] = path.split('/');
  const number = Number(argument);
  switch (verb) {
    case 'headers':
      return json(200, { method, path, headers, peer });
    case 'echo':
      return { status: 200, contentType: 'application/octet-stream', body };
    case 'bytes':
      if (!(number >= 0 && number <= largestGenerated)) return undefined;
      return { status: 200, contentType: 'application/octet-stream', body: generatedBytes(number) };
    case 'delay':
      if (!(number >= 0 && number <= 60_000)) return undefined;
      await new Promise((resolve) => setTimeout(resolve, number));
      return json(200, { delayedMs: number });
    case 'status':
      return number >= 200 && number <= 599 ? json(number, { status: number }) : undefined;
    default:
      return undefined;
  }
}
