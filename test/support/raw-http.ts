/**
 * HTTP/1.1 byte by byte: what is sent is what the test wrote, and what comes back is read without correcting it. For
 * requests that a library would refuse to write, and for seeing headers as they are on the wire.
 */
import type { Duplex } from 'node:stream';

export interface RawResponse {
  readonly status: number;
  /** In order, names as sent. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  /** `end`: as its framing says. `cut`: the connection ended first. */
  readonly ended: 'end' | 'cut';
}

/** What came before the peer ended the connection, with what is left over when it was no whole response. */
export interface RawAnswer {
  /** Interim responses included. */
  readonly responses: readonly RawResponse[];
  readonly closed: boolean;
}

/** The text of a request. A body gets a `content-length` unless the headers say how it ends. */
export function requestText(request: {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body?: string | undefined;
}): string {
  const { method, path, headers, body } = request;
  const framed = headers.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name));
  const length = body === undefined || framed ? [] : [['content-length', String(Buffer.byteLength(body))] as const];
  const lines = [...headers, ...length].map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body ?? ''}`;
}

/**
 * Sends the text and reads `count` final responses, or what there is when the peer closes. Never rejects: a reset is a
 * close. The stream is the caller's to end.
 */
export function exchangeRaw(stream: Duplex, text: string, count = 1, head = false): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const responses: RawResponse[] = [];
    let bytes = Buffer.alloc(0);
    const finish = (closed: boolean) => {
      stream.off('data', onData);
      if (closed) {
        const rest = takeResponse(bytes, true, head);
        if (rest !== undefined) responses.push(rest.response);
      }
      resolve({ responses, closed });
    };
    const onData = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (;;) {
        const taken = takeResponse(bytes, false, head);
        if (taken === undefined) return;
        bytes = bytes.subarray(taken.length);
        responses.push(taken.response);
        const finals = responses.filter(({ status }) => status >= 200 || status === 101).length;
        if (finals >= count) return finish(false);
      }
    };
    stream.on('data', onData);
    stream.once('error', () => {});
    stream.once('end', () => finish(true));
    stream.once('close', () => finish(true));
    stream.write(Buffer.from(text, 'latin1'));
  });
}

function takeResponse(
  bytes: Buffer,
  closed: boolean,
  head: boolean,
): { readonly response: RawResponse; readonly length: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const [statusLine = '', ...lines] = bytes.subarray(0, headEnd).toString('latin1').split('\r\n');
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1] ?? 0);
  const headers = lines.map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()] as const;
  });
  const value = (name: string) => headers.find(([other]) => other.toLowerCase() === name)?.[1];
  const start = headEnd + 4;
  const done = (body: Buffer, length: number, ended: RawResponse['ended'] = 'end') => ({
    response: { status, headers, body: body.toString(), ended },
    length,
  });
  if (head || status < 200 || status === 204 || status === 304) return done(Buffer.alloc(0), start);
  if (/chunked/i.test(value('transfer-encoding') ?? '')) {
    const chunks: Buffer[] = [];
    for (let at = start; ; ) {
      const lineEnd = bytes.indexOf('\r\n', at);
      if (lineEnd < 0) break;
      const size = Number.parseInt(bytes.subarray(at, lineEnd).toString('latin1'), 16);
      const next = lineEnd + 2 + size;
      if (size === 0) {
        const end =
          bytes.indexOf('\r\n', lineEnd + 2) === lineEnd + 2 ? lineEnd + 4 : bytes.indexOf('\r\n\r\n', at) + 4;
        if (end > 3) return done(Buffer.concat(chunks), end);
        break;
      }
      if (bytes.length < next + 2) break;
      chunks.push(bytes.subarray(lineEnd + 2, next));
      at = next + 2;
    }
    return closed ? done(Buffer.concat(chunks), bytes.length, 'cut') : undefined;
  }
  const length = value('content-length');
  if (length === undefined) return closed ? done(bytes.subarray(start), bytes.length) : undefined;
  const end = start + Number(length);
  if (bytes.length >= end) return done(bytes.subarray(start, end), end);
  return closed ? done(bytes.subarray(start), bytes.length, 'cut') : undefined;
}
