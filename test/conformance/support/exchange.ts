/** Carries out one request of a case and says what was seen on both sides; judges nothing. */
import { connect as connectHttp2 } from 'node:http2';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { within } from '../../support/eventually.ts';
import { signToken } from '../../support/jwt-issuer.ts';
import { exchangeRaw, requestText } from '../../support/raw-http.ts';
import type { CaseRequest } from './case-file.ts';
import type { Arrival } from './echo-pods.ts';
import type { World } from './world.ts';

export interface Observation {
  /** Status the waypoint refused the tunnel with. */
  readonly refused: number | undefined;
  /** 0: the connection ended without an answer. */
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly trailers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  readonly closed: boolean;
  readonly arrivals: readonly Arrival[];
  readonly tookMs: number;
}

type Answer = Omit<Observation, 'arrivals' | 'tookMs' | 'refused'>;

const nothing: Answer = { status: 0, headers: [], trailers: [], body: '', closed: true };
const tokenPlace = /\$\{token\}/g;
let lastCase = 0;

export async function carryOut(world: World, given: CaseRequest): Promise<Observation> {
  const caseId = `case-${++lastCase}`;
  const request = await withToken(world, given);
  const authority = request.authority ?? world.authorityOf(qualified(request.to ?? world.file.service));
  const startedMs = performance.now();
  const seenBefore = world.pods.arrivals.length;
  const outcome = await world.connect(authority, request.from ?? world.file.client);
  const arrivals = () =>
    world.pods.arrivals.slice(seenBefore).filter((one) => one.caseId === undefined || one.caseId === caseId);
  const done = (answer: Answer, refused: number | undefined): Observation => ({
    ...answer,
    refused,
    arrivals: arrivals(),
    tookMs: performance.now() - startedMs,
  });
  if (outcome.kind === 'failed') throw outcome.error;
  if (outcome.kind === 'refused') return done(nothing, outcome.status);
  const { stream } = outcome;
  stream.on('error', () => {});
  try {
    return done(
      await within(`an answer to ${request.method} ${request.path}`, speak(stream, request, caseId), 8000),
      undefined,
    );
  } finally {
    stream.destroy();
  }
}

function speak(stream: Duplex, request: CaseRequest, caseId: string): Promise<Answer> {
  if (request.protocol === 'tcp') return speakTcp(stream, request.body ?? '');
  if (request.protocol === 'h2' || request.grpc !== undefined) return speakHttp2(stream, request, caseId);
  return speakHttp1(stream, request, caseId);
}

async function speakHttp1(stream: Duplex, request: CaseRequest, caseId: string): Promise<Answer> {
  const text =
    rawText(request.raw) ??
    requestText({
      method: request.method,
      path: request.path,
      headers: [['host', hostOf(request)], ['x-echo-case', caseId], ...pairs(request)],
      body: request.body,
    });
  const { responses, closed } = await exchangeRaw(stream, text, 1, request.method === 'HEAD');
  const last = responses.at(-1);
  if (last === undefined) return { ...nothing, closed };
  const headers = last.headers.map(([name, value]) => [name.toLowerCase(), value] as const);
  return { status: last.status, headers, trailers: [], body: last.body, closed: closed || last.ended === 'cut' };
}

function speakHttp2(stream: Duplex, request: CaseRequest, caseId: string): Promise<Answer> {
  const { grpc } = request;
  const session = connectHttp2('http://conformance', { createConnection: () => stream as never });
  return new Promise((resolve) => {
    session.on('error', () => resolve(nothing));
    const head: Record<string, string | string[]> = {
      ':method': grpc === undefined ? request.method : 'POST',
      ':path': grpc === undefined ? request.path : `/${grpc.service}/${grpc.method}`,
      ':authority': hostOf(request),
      ...(grpc === undefined ? {} : { 'content-type': 'application/grpc', te: 'trailers' }),
      'x-echo-case': caseId,
    };
    for (const [name, value] of pairs(request)) {
      const known = head[name];
      head[name] = known === undefined ? value : [...(Array.isArray(known) ? known : [known]), value];
    }
    const body = grpc === undefined ? request.body : grpcMessage(grpc.message);
    const outgoing = session.request(head, { endStream: body === undefined });
    let answer: Answer = nothing;
    outgoing.on('error', () => resolve({ ...answer, closed: true }));
    outgoing.on('response', (headers) => {
      answer = { ...answer, closed: false, status: Number(headers[':status']), headers: listOf(headers) };
      // A trailers-only answer has its status here.
      if (headers['grpc-status'] !== undefined) answer = { ...answer, trailers: listOf(headers) };
    });
    outgoing.on('trailers', (trailers) => {
      answer = { ...answer, trailers: listOf(trailers) };
    });
    buffer(outgoing).then(
      (bytes) => resolve({ ...answer, body: grpc === undefined ? bytes.toString() : bytes.subarray(5).toString() }),
      () => resolve({ ...answer, closed: true }),
    );
    if (body !== undefined) outgoing.end(body);
  }).then((answer) => {
    session.destroy();
    return answer as Answer;
  });
}

/** Sends the bytes, if any, and takes the first bytes that come back. */
async function speakTcp(stream: Duplex, text: string): Promise<Answer> {
  if (text !== '') stream.write(text);
  const body = await new Promise<string | undefined>((resolve) => {
    stream.once('data', (bytes) => resolve(String(bytes)));
    stream.once('close', () => resolve(undefined));
    stream.once('end', () => resolve(undefined));
  });
  return { ...nothing, body: body ?? '', closed: body === undefined };
}

/** Lines of YAML end as HTTP's do, and the head is closed, unless the text says itself where a CR stands. */
function rawText(raw: string | undefined): string | undefined {
  if (raw === undefined || raw.includes('\r')) return raw;
  const text = raw.replaceAll('\n', '\r\n');
  return text.includes('\r\n\r\n') ? text : `${text.trimEnd()}\r\n\r\n`;
}

function grpcMessage(text: string): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(Buffer.byteLength(text), 1);
  return Buffer.concat([prefix, Buffer.from(text)]);
}

/** `${token}` anywhere in path, headers or raw text; in `authorization` when it is nowhere. */
async function withToken(world: World, request: CaseRequest): Promise<CaseRequest> {
  if (request.token === undefined) return request;
  const { key, claims, expiresInSec } = request.token;
  const token = await signToken(world.key(key), { ...claims, exp: Math.floor(Date.now() / 1000) + expiresInSec });
  const put = (text: string) => text.replaceAll(tokenPlace, token);
  const plain = pairs(request);
  const named = [request.path, request.raw ?? '', ...plain.map(([, value]) => value)].some(
    (text) => text.search(tokenPlace) >= 0,
  );
  const headers = plain.map(([name, value]) => [name, put(value)] as [string, string]);
  return {
    ...request,
    path: put(request.path),
    raw: request.raw === undefined ? undefined : put(request.raw),
    headers: named ? headers : [...headers, ['authorization', `Bearer ${token}`]],
  };
}

function hostOf({ host, to }: CaseRequest): string {
  return host ?? (to ?? 'echo').replace(/^.*\//, '').replace(/^pod:/, '');
}

function qualified(destination: string): string {
  return destination.includes('/') ? destination : `gateway-conformance-mesh/${destination}`;
}

function pairs({ headers }: CaseRequest): readonly (readonly [string, string])[] {
  return Array.isArray(headers) ? headers : Object.entries(headers);
}

function listOf(headers: Readonly<Record<string, unknown>>): readonly (readonly [string, string])[] {
  return Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => [name, String(one)] as const),
  );
}
