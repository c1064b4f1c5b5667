/**
 * The applications of the conformance pods, in this process: each tells what it was asked and does what headers of the
 * request wish for. What arrived is recorded, so that mirrors, attempts and broken exchanges can be seen too.
 *
 * Ports of a pod: 9090 echoes TCP after `NAME:`, 9091 speaks first, everything else is HTTP/1.1 or HTTP/2 without TLS.
 */
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttp2Server, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import type { SocketAddress } from '../../../src/base/address.ts';

/** One request as a pod saw it. */
export interface Arrival {
  readonly pod: string;
  readonly caseId: string | undefined;
  readonly method: string;
  readonly path: string;
  readonly host: string;
  readonly version: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

const preface = 'PRI * HTTP/2.0';

export class EchoPods {
  readonly arrivals: Arrival[] = [];
  readonly #servers = new Map<string, Promise<SocketAddress>>();
  readonly #open = new Set<Server>();
  readonly #sockets = new Set<Socket>();

  /** Where the application of a pod's port is reached in truth. Made when first asked for. */
  address(pod: string, port: number, at: SocketAddress = { ip: '127.0.0.1', port: 0 }): Promise<SocketAddress> {
    const kind = port === 9090 ? 'tcp' : port === 9091 ? 'server-first' : 'http';
    const key = `${pod} ${kind} ${at.ip} ${at.port}`;
    let address = this.#servers.get(key);
    if (address === undefined) {
      address = this.#listen(pod, kind, at);
      this.#servers.set(key, address);
    }
    return address;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([...this.#open].map((server) => new Promise((resolve) => server.close(resolve))));
  }

  #listen(pod: string, kind: 'http' | 'tcp' | 'server-first', at: SocketAddress): Promise<SocketAddress> {
    const server = kind === 'http' ? this.#http(pod) : tcpServer(pod, kind === 'server-first');
    this.#open.add(server);
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket.on('error', () => {}).once('close', () => this.#sockets.delete(socket)));
    });
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(at.port, at.ip, () => {
        const { address, port } = server.address() as { address: string; port: number };
        resolve({ ip: address, port });
      });
    });
  }

  /** The first bytes say which of the two it is. */
  #http(pod: string): Server {
    const answer = (request: Request, response: Response) => {
      this.#answer(pod, request, response).catch(() => response.destroy());
    };
    const one = createHttpServer(answer as (request: IncomingMessage, response: ServerResponse) => void);
    one.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      this.#record(pod, request, '');
      const protocol = request.headers.upgrade ?? '';
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${protocol}\r\n\r\n`);
      socket.on('error', () => {}).on('data', (bytes) => socket.write(bytes));
      if (head.length > 0) socket.write(head);
    });
    const two = createHttp2Server(answer as (request: Http2ServerRequest, response: Http2ServerResponse) => void);
    two.on('session', (session) => session.on('error', () => {}));
    return createServer((socket) => {
      socket.once('readable', () => {
        const first = socket.read() as Buffer | null;
        if (first === null) return;
        socket.unshift(first);
        const isTwo = preface.startsWith(first.toString('latin1', 0, preface.length));
        (isTwo ? two : one).emit('connection', socket);
      });
    });
  }

  async #answer(pod: string, request: Request, response: Response): Promise<void> {
    const body = (await buffer(request)).toString();
    this.#record(pod, request, body);
    const wish = (name: string) => single(request.headers[`x-echo-${name}`]);
    const { caseId } = this.arrivals.at(-1) ?? {};
    const attempt = this.arrivals.filter((one) => one.caseId === caseId).length;
    const failing = attempt <= Number(wish('fail') ?? Number.POSITIVE_INFINITY);
    const delayMs = Number(wish('delay-ms') ?? 0);
    if (delayMs > 0 && failing) await delay(delayMs, undefined, { ref: false });
    if (wish('reset') !== undefined && failing) {
      request.socket.destroy();
      return;
    }
    response.setHeader('x-echo-pod', pod);
    for (const part of (wish('headers') ?? '').split(';')) {
      const [name = '', value = ''] = part.split('=');
      if (name.trim() !== '') response.setHeader(name.trim(), value.trim());
    }
    const status = wish('status');
    response.statusCode = status !== undefined && failing ? Number(status) : 200;
    if (/^application\/grpc/.test(single(request.headers['content-type']) ?? '')) {
      answerGrpc(response as Http2ServerResponse, body, wish('grpc-status') ?? '0');
      return;
    }
    response.setHeader('content-type', 'text/plain');
    response.end(request.method === 'HEAD' ? '' : `${pod} ${request.method} ${request.url}\n`);
  }

  #record(pod: string, request: Request, body: string): void {
    const headers: [string, string][] = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2)
      headers.push([(request.rawHeaders[i] ?? '').toLowerCase(), request.rawHeaders[i + 1] ?? '']);
    this.arrivals.push({
      pod,
      caseId: single(request.headers['x-echo-case']),
      method: request.method ?? '',
      path: request.url ?? '',
      host: single(request.headers[':authority']) ?? single(request.headers.host) ?? '',
      version: request.httpVersion,
      headers: headers.filter(([name]) => !name.startsWith(':')),
      body,
    });
  }
}

function answerGrpc(response: Http2ServerResponse, body: string, status: string): void {
  response.setHeader('content-type', 'application/grpc');
  response.addTrailers({ 'grpc-status': status });
  response.end(Buffer.from(body));
}

function tcpServer(pod: string, speaksFirst: boolean): Server {
  return createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    if (speaksFirst) socket.write(`${pod} speaks first\n`);
    let answered = false;
    socket.on('data', (bytes) => {
      socket.write(answered || speaksFirst ? bytes : `${pod}: ${bytes.toString()}`);
      answered = true;
    });
    socket.on('end', () => socket.end());
  });
}

function single(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' || value === undefined ? value : value.join(', ');
}
