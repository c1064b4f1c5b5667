/**
 * The client program that runs in a pod: reads a batch of requests as JSON from standard input, writes the answers as
 * one JSON array. Separate from the supervisor because the whole process must live in the pod's network namespace.
 */
import { createHash } from 'node:crypto';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import {
  type FailedAnswer,
  generatedBytes,
  type HttpAnswer,
  type HttpRequest,
  type LabAnswer,
  type LabRequest,
  type RequestBatch,
  type StreamEnd,
  type TcpAnswer,
  type TcpExchange,
} from './request.ts';

const keptBytes = 64 * 1024;
const defaultTimeoutMs = 15_000;

/** Counts, hashes and keeps the beginning of what arrives. */
class Received {
  readonly #hash = createHash('sha256');
  readonly #kept: Buffer[] = [];
  #keptBytes = 0;
  bytes = 0;

  take(chunk: Buffer): void {
    this.bytes += chunk.length;
    this.#hash.update(chunk);
    if (this.#keptBytes < keptBytes) this.#kept.push(chunk.subarray(0, keptBytes - this.#keptBytes));
    this.#keptBytes += chunk.length;
  }

  summary(): { body: string; bodyBytes: number; bodySha256: string } {
    return { body: Buffer.concat(this.#kept).toString(), bodyBytes: this.bytes, bodySha256: this.#hash.digest('hex') };
  }
}

function performHttp(item: HttpRequest, agent: Agent): Promise<HttpAnswer | FailedAnswer> {
  const started = performance.now();
  return new Promise((resolve) => {
    let socket: Socket | undefined;
    let timedOut = false;
    const sent = request(item.url, { method: item.method ?? 'GET', headers: item.headers ?? {}, agent });
    const timer = setTimeout(() => {
      timedOut = true;
      sent.destroy(Object.assign(new Error('no complete answer in time'), { code: 'ETIMEDOUT' }));
    }, item.timeoutMs ?? defaultTimeoutMs);
    let local = '';
    let remote = '';
    const remember = (opened: Socket) => {
      local = `${opened.localAddress}:${opened.localPort}`;
      remote = `${opened.remoteAddress}:${opened.remotePort}`;
    };
    sent.on('socket', (given) => {
      socket = given;
      if (given.connecting) given.once('connect', () => remember(given));
      else remember(given);
    });
    sent.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      resolve(failure(error, socket?.connecting === true || local === '' ? 'connect' : 'answer', started));
    });
    sent.on('response', (response) => {
      const received = new Received();
      const finish = (end: StreamEnd) => {
        clearTimeout(timer);
        const headers = flatten(response.headersDistinct);
        const trailers = flatten(response.trailersDistinct);
        const status = response.statusCode ?? 0;
        const durationMs = performance.now() - started;
        resolve({ kind: 'http', status, headers, trailers, local, remote, ...received.summary(), end, durationMs });
      };
      readResponse(response, received, (end) => finish(timedOut ? 'timeout' : end));
    });
    sent.end(bodyOf(item.body));
  });
}

function readResponse(response: IncomingMessage, received: Received, finish: (end: StreamEnd) => void): void {
  response.on('data', (chunk: Buffer) => received.take(chunk));
  response.on('error', () => {});
  response.on('close', () => finish(response.complete ? 'fin' : 'cut'));
}

function performTcp(item: TcpExchange): Promise<TcpAnswer | FailedAnswer> {
  const started = performance.now();
  return new Promise((resolve) => {
    const received = new Received();
    const socket = connect({ host: item.host, port: item.port, allowHalfOpen: true });
    let local = '';
    let remote = '';
    const finish = (end: StreamEnd) => {
      clearTimeout(timer);
      resolve({ kind: 'tcp', local, remote, ...received.summary(), end, durationMs: performance.now() - started });
      socket.destroy();
    };
    const timer = setTimeout(() => {
      if (local !== '') return finish('timeout');
      socket.destroy(Object.assign(new Error('no connection in time'), { code: 'ETIMEDOUT' }));
    }, item.timeoutMs ?? defaultTimeoutMs);
    socket.on('connect', () => {
      local = `${socket.localAddress}:${socket.localPort}`;
      remote = `${socket.remoteAddress}:${socket.remotePort}`;
      socket.write(bodyOf(item.send));
      if (item.halfClose === true) socket.end();
    });
    socket.on('data', (chunk) => received.take(chunk as Buffer));
    socket.on('end', () => finish('fin'));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (local !== '') return finish('reset');
      clearTimeout(timer);
      resolve(failure(error, 'connect', started));
    });
  });
}

function bodyOf(body: string | number | undefined): Buffer {
  return typeof body === 'number' ? generatedBytes(body) : Buffer.from(body ?? '');
}

function flatten(headers: NodeJS.Dict<string[]>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, (values ?? []).join(', ')]));
}

function failure(error: NodeJS.ErrnoException, phase: 'connect' | 'answer', started: number): FailedAnswer {
  const code = error.code ?? 'UNKNOWN';
  return {
    kind: 'failed',
    phase,
    end: failureEnd(code, error.message),
    code,
    message: error.message,
    durationMs: performance.now() - started,
  };
}

function failureEnd(code: string, message: string): FailedAnswer['end'] {
  if (code === 'ETIMEDOUT') return 'timeout';
  if (code === 'ECONNREFUSED') return 'refused';
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH') return 'unreachable';
  // Node calls an orderly end before any answer "socket hang up", with the same code as a reset.
  if (code === 'ECONNRESET') return message === 'socket hang up' ? 'fin' : 'reset';
  return 'other';
}

async function performAll({ requests, concurrency = 1, keepAlive = false }: RequestBatch): Promise<LabAnswer[]> {
  const agent = new Agent({ keepAlive });
  const answers: LabAnswer[] = [];
  let next = 0;
  const work = async () => {
    while (next < requests.length) {
      const index = next++;
      const item = requests[index] as LabRequest;
      answers[index] = await (item.kind === 'http' ? performHttp(item, agent) : performTcp(item));
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, concurrency) }, work));
  agent.destroy();
  return answers;
}

process.stdout.write(JSON.stringify(await performAll(JSON.parse(await text(process.stdin)))));
