/**
 * Applications that never pause: each has one connection in a tunnel, asks one request after another, and makes another
 * connection when it is told to (`connection: close`, GOAWAY), as any client would. Whatever else happens is a failure.
 */
import { Agent, request } from 'node:http';
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import type { Duplex } from 'node:stream';

export interface Hammer {
  /** Requests that were answered with 200. */
  readonly answered: number;
  readonly failures: readonly string[];
  /** Connections that were made. */
  readonly connections: number;
  stop(): Promise<void>;
}

/** `tunnel`: a new one for the client of the number. Even numbers speak HTTP/1.1, odd ones HTTP/2. */
export function hammer(clients: number, tunnel: (client: number) => Promise<Duplex>): Hammer {
  let running = true;
  const told = { answered: 0, connections: 0, failures: [] as string[] };
  const open = async (client: number) => {
    told.connections++;
    return await tunnel(client);
  };
  const run = async (client: number) => {
    while (running) {
      try {
        const asked = client % 2 === 0 ? http1Connection : http2Connection;
        await asked(
          await open(client),
          () => running,
          () => void told.answered++,
        );
      } catch (error) {
        told.failures.push(String(error));
      }
    }
  };
  const all = Promise.all(Array.from({ length: clients }, (_, client) => run(client)));
  return Object.assign(told, {
    async stop() {
      running = false;
      await all;
    },
  });
}

/** Until the server says that it is the last request. */
async function http1Connection(stream: Duplex, go: () => boolean, answered: () => void): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  // Node's agent asks sockets for what a tunnel has no need of.
  const nothing = () => stream;
  const socket = Object.assign(stream, { setKeepAlive: nothing, setTimeout: nothing, ref: nothing, unref: nothing });
  agent.createConnection = () => socket;
  for (let last = false; go() && !last; ) {
    last = await new Promise<boolean>((resolve, reject) => {
      const outgoing = request({ agent, path: '/', headers: { host: 'productpage' } }, (response) => {
        response.on('error', reject).resume();
        response.once('end', () => {
          if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`));
          else resolve(response.headers.connection === 'close');
        });
      });
      outgoing.on('error', reject).end();
    });
    answered();
  }
  agent.destroy();
}

/** Until the server says that it takes no further stream. */
async function http2Connection(stream: Duplex, go: () => boolean, answered: () => void): Promise<void> {
  const session = connect('http://productpage', { createConnection: () => stream });
  let leaving = false;
  let failure: Error | undefined;
  session.on('error', (error: Error) => {
    failure = error;
  });
  session.on('goaway', () => {
    leaving = true;
  });
  while (go() && !leaving && !session.closed) {
    if (await http2Request(session)) answered();
  }
  session.close();
  if (failure !== undefined) throw failure;
}

/** False: refused before it was looked at, so that it may be asked again (RFC 9113 §8.7). */
function http2Request(session: ClientHttp2Session): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const outgoing = session.request({ ':path': '/' });
    outgoing.on('error', (error) => {
      if (outgoing.rstCode === constants.NGHTTP2_REFUSED_STREAM) resolve(false);
      else reject(error);
    });
    outgoing.once('response', (headers) => {
      if (headers[':status'] !== 200) reject(new Error(`status ${headers[':status']}`));
    });
    outgoing.once('end', () => resolve(outgoing.rstCode === constants.NGHTTP2_NO_ERROR)).resume();
    outgoing.end();
  });
}
