/**
 * Tricks with HTTP/2 requests, one row each, as frames that no honest client sends, through real tunnels to a byte-exact
 * HTTP/1.1 application: what survives the translation is one request and no other; the rest is a stream error, or a 400.
 */
import type { Duplex } from 'node:stream';
import t from 'tap';
import { eventually } from '../../support/eventually.ts';
import {
  endHeaders,
  endStream,
  FrameReader,
  frame,
  frameType,
  greeting,
  headerBlock,
  type ReadFrame,
} from '../../support/http2-frames.ts';
import { fieldValues, rawBackend } from '../../support/raw-backend.ts';
import { createHarness } from '../waypoint/harness.ts';

const backend = rawBackend();
const harness = await createHarness(t, { podKind: 'tcp', pods: [backend.pod] });

type Field = readonly [name: string, value: string];

const pseudo = (fields: Readonly<Record<string, string>> = {}): Field[] =>
  Object.entries({ ':method': 'GET', ':scheme': 'http', ':path': '/x', ':authority': 'a', ...fields });
const without = (name: string): Field[] => pseudo().filter(([field]) => field !== name);

interface Trick {
  readonly head: readonly Field[];
  readonly data?: readonly string[];
  readonly trailers?: readonly Field[];
  /** More frames, on the same stream. */
  readonly after?: Buffer;
}

const only = (...head: readonly Field[]): Trick => ({ head: [...pseudo(), ...head] });
const posted = (length: string, ...data: readonly string[]): Trick => ({
  head: [...pseudo({ ':method': 'POST' }), ['content-length', length]],
  data,
});

/** The frames of a request on stream 1. */
function framesOf({ head, data = [], trailers, after }: Trick): Buffer {
  const last = data.length === 0 && trailers === undefined;
  const frames = [frame(frameType.headers, endHeaders | (last ? endStream : 0), 1, headerBlock(head))];
  for (const [i, text] of data.entries()) {
    const ends = i === data.length - 1 && trailers === undefined;
    frames.push(frame(frameType.data, ends ? endStream : 0, 1, Buffer.from(text)));
  }
  if (trailers !== undefined) frames.push(frame(frameType.headers, endHeaders | endStream, 1, headerBlock(trailers)));
  if (after !== undefined) frames.push(after);
  return Buffer.concat(frames);
}

type Outcome =
  | { readonly kind: 'reset' | 'gone' }
  | { readonly kind: 'head'; readonly ends: boolean; readonly block: Buffer };

/** What the waypoint first says about stream 1. */
async function ask(trick: Trick, name: string): Promise<Outcome> {
  const stream = await harness.tunnel();
  stream.on('error', () => {});
  const frames = readFrames(stream);
  stream.write(Buffer.concat([greeting, frame(frameType.settings, 1, 0), framesOf(trick)]));
  const outcome = await eventually(`an answer to ${name}`, () => {
    if (stream.destroyed || frames.some(({ type }) => type === frameType.goAway)) return { kind: 'gone' } as const;
    const about = frames.find(
      (one) => one.id === 1 && (one.type === frameType.reset || (one.type === frameType.headers && !isInterim(one))),
    );
    if (about === undefined) return undefined;
    if (about.type === frameType.reset) return { kind: 'reset' } as const;
    return { kind: 'head', ends: (about.flags & endStream) !== 0, block: about.payload } as const;
  });
  stream.destroy();
  return outcome;
}

const isWhole = (outcome: Outcome) => outcome.kind === 'head' && isStatus(outcome.block, 200);

function readFrames(stream: Duplex): ReadFrame[] {
  const frames: ReadFrame[] = [];
  const reader = new FrameReader();
  stream.on('data', (chunk: Buffer) => void frames.push(...reader.read(chunk)));
  return frames;
}

/** 200 and 400 are in HPACK's static table (RFC 7541, appendix A). */
const isStatus = (block: Buffer, status: 200 | 400) => block[0] === (status === 200 ? 0x88 : 0x8c);

/** A status that is not in that table: here only 100. */
const isInterim = ({ flags, payload }: ReadFrame) => (flags & endStream) === 0 && (payload[0] as number) < 0x88;

const line = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
const refused: Readonly<Record<string, Trick>> = {
  'a name in capitals': only(['X-A', 'b']),
  connection: only(['connection', 'close']),
  'keep-alive': only(['keep-alive', 'timeout=5']),
  'proxy-connection': only(['proxy-connection', 'close']),
  'transfer-encoding': only(['transfer-encoding', 'chunked']),
  'transfer-encoding with a body': {
    head: [...pseudo({ ':method': 'POST' }), ['transfer-encoding', 'chunked']],
    data: [`0\r\n\r\n${line}`],
  },
  upgrade: only(['upgrade', 'websocket']),
  'te other than trailers': only(['te', 'gzip']),
  'te trailers and more': only(['te', 'trailers, gzip']),
  'an unknown pseudo header': { head: [...pseudo(), [':x', 'y']] },
  'a pseudo header of responses': { head: [...pseudo(), [':status', '200']] },
  'a pseudo header twice': { head: [...pseudo(), [':path', '/smuggled']] },
  'the authority twice': { head: [...pseudo(), [':authority', 'b']] },
  'a pseudo header behind a header': { head: [...without(':path'), ['x', 'y'], [':path', '/x']] },
  'no method': { head: without(':method') },
  'no scheme': { head: without(':scheme') },
  'no path': { head: without(':path') },
  'no authority and no host': { head: without(':authority') },
  'an empty path': { head: pseudo({ ':path': '' }) },
  'an empty authority': { head: pseudo({ ':authority': '' }) },
  'an authority with a user': { head: pseudo({ ':authority': 'user@a' }) },
  'an authority with a path': { head: pseudo({ ':authority': 'a/b' }) },
  'an authority with CR LF': { head: pseudo({ ':authority': 'a\r\nx: y' }) },
  'another host': only(['host', 'b']),
  'two hosts': only(['host', 'a'], ['host', 'b']),
  'two hosts without an authority': { head: [...without(':authority'), ['host', 'a'], ['host', 'b']] },
  'a method with a space': { head: pseudo({ ':method': 'GET /smuggled HTTP/1.1\r\nx:' }) },
  'a method with CR LF': { head: pseudo({ ':method': 'GET\r\n' }) },
  'an empty method': { head: pseudo({ ':method': '' }) },
  'CONNECT inside the tunnel': {
    head: [
      [':method', 'CONNECT'],
      [':authority', 'a:80'],
    ],
  },
  'CONNECT with a path': { head: pseudo({ ':method': 'CONNECT' }) },
  'a path with a space': { head: pseudo({ ':path': '/a HTTP/1.1' }) },
  'a path with CR LF': { head: pseudo({ ':path': '/a HTTP/1.1\r\nx: y' }) },
  'a path with a line feed': { head: pseudo({ ':path': '/a\nb' }) },
  'a path with a NUL': { head: pseudo({ ':path': '/a\0b' }) },
  'a path with an escaped NUL': { head: pseudo({ ':path': '/a%00' }) },
  'a path with octets': { head: pseudo({ ':path': '/\xe9' }) },
  'a path with a fragment': { head: pseudo({ ':path': '/a#b' }) },
  'a path that is an address with a user': { head: pseudo({ ':path': 'http://user@b/' }) },
  'a path that is none': { head: pseudo({ ':path': 'x' }) },
  'an asterisk': { head: pseudo({ ':path': '*' }) },
  'two content-lengths': only(['content-length', '0'], ['content-length', '0']),
  'a list of content-lengths': posted('3, 3', 'abc'),
  'a negative content-length': posted('-1', 'abc'),
  'a content-length in words': posted('three', 'abc'),
  'a signed content-length': posted('+3', 'abc'),
  'a content-length beyond 64 bits': posted('99999999999999999999', 'abc'),
  'a content-length without a body': only(['content-length', '5']),
};

/** nghttp2 leaves such a field out, before anybody looks at the request: what is left is one request without it. */
const dropped: Readonly<Record<string, Trick>> = {
  'a name with a space': only(['x a', 'b']),
  'a name with a colon': only(['x:a', 'b']),
  'a name with a line end': only(['x\r\ntransfer-encoding', 'chunked']),
  'a name with a NUL': only(['x\0a', 'b']),
  'a name of octets': only(['x\xe9', 'b']),
  'an empty name': only(['', 'b']),
  'a value with CR LF': only(['x', 'a\r\ntransfer-encoding: chunked']),
  'a value with a line feed': only(['x', 'a\nb: c']),
  'a value with a carriage return': only(['x', 'a\rb']),
  'a value with a NUL': only(['x', 'a\0b']),
  'a value with CR LF and a request': only(['x', `a\r\n\r\n${line}`]),
};

/** Forwarded until the fault is found, and never whole. */
const broken: Readonly<Record<string, Trick>> = {
  'a body longer than its content-length': posted('3', 'abcdef'),
  'a body longer than its content-length, in two frames': posted('3', 'abc', line),
  'a body shorter than its content-length': posted('50', 'abc'),
  'a length among the trailers': {
    head: pseudo({ ':method': 'POST' }),
    data: ['abc'],
    trailers: [['content-length', '50']],
  },
  'a pseudo header in trailers': { head: pseudo({ ':method': 'POST' }), data: ['abc'], trailers: [[':path', '/y']] },
  'a connection header in trailers': {
    head: pseudo({ ':method': 'POST' }),
    data: ['abc'],
    trailers: [['transfer-encoding', 'chunked']],
  },
};

/** One request for the application, with this body. */
const one: Readonly<Record<string, readonly [trick: Trick, body: string]>> = {
  plain: [only(), ''],
  'te: trailers': [only(['te', 'trailers']), ''],
  'the same host': [only(['host', 'a']), ''],
  'host alone': [{ head: [...without(':authority'), ['host', 'a']] }, ''],
  'a length that holds': [posted('3', 'abc'), 'abc'],
  'a length that holds, in two frames': [posted('6', 'abc', 'def'), 'abcdef'],
  'no length': [{ head: pseudo({ ':method': 'POST' }), data: ['abc', ''] }, 'abc'],
  'a body that looks like chunks': [
    { head: pseudo({ ':method': 'POST' }), data: ['0\r\n\r\n', line] },
    `0\r\n\r\n${line}`,
  ],
  trailers: [{ head: pseudo({ ':method': 'POST' }), data: ['abc'], trailers: [['x', 'y']] }, 'abc'],
  'trailers with CR LF': [
    { head: pseudo({ ':method': 'POST' }), data: ['abc'], trailers: [['x', `a\r\n\r\n${line}`]] },
    'abc',
  ],
  'DATA behind the end': [{ ...only(), after: frame(frameType.data, endStream, 1, Buffer.from(line)) }, ''],
  'a header that HTTP/1.1 would fold': [only(['x', 'a'], ['x', 'b']), ''],
  'cookies in crumbs': [only(['cookie', 'a=b'], ['cookie', 'c=d']), ''],
  'http2-settings and proxy-authorization': [only(['http2-settings', 'AAMAAABk'], ['proxy-authorization', 'x']), ''],
  expect: [{ head: [...pseudo({ ':method': 'POST' }), ['expect', '100-continue']], data: ['abc'] }, 'abc'],
  'a value of octets': [only(['x', '\xe9']), ''],
};

t.test('refused: a stream error or 400, and the application sees nothing', async (t) => {
  for (const [name, trick] of Object.entries(refused)) {
    const before = backend.requests.length;
    const outcome = await ask(trick, name);
    const answered = outcome.kind === 'head' && outcome.ends && !isStatus(outcome.block, 200);
    t.ok(outcome.kind === 'reset' || outcome.kind === 'gone' || answered, `${name}: ${outcome.kind}`);
    t.equal(backend.requests.length, before, `${name}: nothing came through`);
  }
  t.equal(backend.leftover(), '');
});

t.test('what HTTP/2 cannot carry is left out, and nothing of it reaches the application', async (t) => {
  for (const [name, trick] of Object.entries(dropped)) {
    const before = backend.requests.length;
    t.ok(isWhole(await ask(trick, name)), name);
    const [request, ...others] = backend.requests.slice(before);
    t.same(others, [], `${name}: one request`);
    const names = request?.head.slice(1).map((field) => field.slice(0, field.indexOf(':')));
    t.same(
      names?.sort(),
      ['connection', 'host', 'x-forwarded-client-cert', 'x-forwarded-proto', 'x-request-id'],
      `${name}: gone`,
    );
  }
  t.notMatch(backend.leftover(), 'smuggled');
});

t.test('broken off: the application never sees a whole request', async (t) => {
  for (const [name, trick] of Object.entries(broken)) {
    const before = backend.requests.length;
    const outcome = await ask(trick, name);
    t.notOk(isWhole(outcome), `${name}: ${outcome.kind}`);
    t.equal(backend.requests.length, before, `${name}: nothing whole came through`);
  }
  t.notMatch(backend.leftover(), 'smuggled');
});

t.test('one request in is one request out', async (t) => {
  for (const [name, [trick, body]] of Object.entries(one)) {
    const before = backend.requests.length;
    const outcome = await ask(trick, name);
    // DATA behind the end is an error of the stream, which may be told before the answer.
    if (trick.after === undefined) t.ok(isWhole(outcome), `${name}: ${outcome.kind}`);
    const got = backend.requests.slice(before);
    t.ok(got.length === 1 || (trick.after !== undefined && got.length === 0), `${name}: one request`);
    for (const { head, body: arrived } of got) {
      t.equal(arrived, body, `${name}: its body`);
      t.same(fieldValues(head, 'host'), ['a'], `${name}: one Host`);
      t.ok(fieldValues(head, 'content-length').length + fieldValues(head, 'transfer-encoding').length <= 1);
      const hop = ['upgrade', 'http2-settings', 'proxy-authorization', 'trailer', 'expect'];
      t.same(
        hop.flatMap((field) => fieldValues(head, field)),
        [],
        `${name}: nothing of the hop before`,
      );
      t.notOk(
        head.some((field) => field.startsWith(':')),
        `${name}: no pseudo header`,
      );
    }
  }
});
