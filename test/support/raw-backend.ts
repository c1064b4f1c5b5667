/**
 * An HTTP/1.1 application that is byte-exact: it reads requests by the letter of RFC 9112 alone, with no library's leniency,
 * and keeps each with its head as it came. Whatever is no request stays in `leftover`.
 */
import type { Socket } from 'node:net';

export interface RawRequest {
  /** Request line and field lines, as they came. */
  readonly head: readonly string[];
  readonly body: string;
}

export interface RawBackend {
  /** To be given to the harness as a pod of kind `tcp`. */
  readonly pod: (socket: Socket) => void;
  readonly requests: RawRequest[];
  /** Bytes of connections that are no complete request. */
  leftover(): string;
  /** The answer to each; the default is a 200 with `ok`. */
  answer: (request: RawRequest, socket: Socket) => void;
  readonly connections: number;
}

export function rawBackend(): RawBackend {
  const requests: RawRequest[] = [];
  const rests = new Map<Socket, string>();
  const backend = {
    requests,
    answer: (_request: RawRequest, socket: Socket) =>
      void socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'),
    leftover: () => [...rests.values()].join(''),
    get connections() {
      return rests.size;
    },
    pod(socket: Socket) {
      rests.set(socket, '');
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => {
        let rest = rests.get(socket) + chunk.toString('latin1');
        for (let read = readRequest(rest); read !== undefined; read = readRequest(rest)) {
          rest = rest.slice(read.length);
          requests.push(read.request);
          backend.answer(read.request, socket);
        }
        rests.set(socket, rest);
      });
    },
  };
  return backend;
}

function readRequest(text: string): { readonly request: RawRequest; readonly length: number } | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = text.slice(0, end).split('\r\n');
  const lengths = fieldValues(head, 'content-length');
  const codings = fieldValues(head, 'transfer-encoding');
  const start = end + 4;
  if (codings.length === 0 && lengths.length === 0) return { request: { head, body: '' }, length: start };
  // Two ways to tell the end: what this is here to catch.
  if (codings.length + lengths.length !== 1) return undefined;
  if (lengths.length === 1) {
    const length = start + Number(lengths[0]);
    return text.length < length ? undefined : { request: { head, body: text.slice(start, length) }, length };
  }
  let at = start;
  let body = '';
  for (;;) {
    const line = text.indexOf('\r\n', at);
    if (line < 0) return undefined;
    const size = text.slice(at, line);
    if (!/^[0-9a-fA-F]+$/.test(size)) return undefined;
    const bytes = Number.parseInt(size, 16);
    at = line + 2;
    if (bytes === 0) break;
    if (text.length < at + bytes + 2 || text.slice(at + bytes, at + bytes + 2) !== '\r\n') return undefined;
    body += text.slice(at, at + bytes);
    at += bytes + 2;
  }
  const last = text.startsWith('\r\n', at) ? at : text.indexOf('\r\n\r\n', at) + 2;
  return last < at ? undefined : { request: { head, body }, length: last + 2 };
}

export function fieldValues(head: readonly string[], name: string): readonly string[] {
  return head
    .slice(1)
    .filter((line) => line.toLowerCase().startsWith(`${name}:`))
    .map((line) => line.slice(name.length + 1).trim());
}
