/** Malformed requests against node:http2, that is nghttp2: it resets their streams with PROTOCOL_ERROR, and shows the others. */
import { createServer, type ServerHttp2Stream } from 'node:http2';
import { duplexPair } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { malformedRequest } from '../../../../src/hbone/http2/check-fields.ts';
import {
  endHeaders,
  errorCode,
  FrameReader,
  frame,
  frameType,
  greeting,
  headerBlock,
} from '../../../support/http2-frames.ts';

type Field = readonly [name: string, value: string];

const values: Record<string, readonly string[]> = {
  ':method': ['CONNECT', 'GET', 'OPTIONS', '', 'G T', 'get'],
  ':authority': ['a:1', '', 'a/b', '[::1]:2', 'a\n', 'a@b', 'a b'],
  ':scheme': ['https', 'http', 'HTTP', 'urn', 'a+b', '', 'a b', '1a', '+a'],
  ':path': ['/', '*', '', 'a', '/ab?c#d', '/\x7f'],
  ':protocol': ['websocket'],
  ':status': ['200'],
  ':': [''],
};
const regularValues: Record<string, readonly string[]> = {
  forwarded: ['for=a', '', ' a', 'a\0', 'a\r', 'a\x01', 'é'],
  Forwarded: ['a'],
  'for warded': ['a'],
  te: ['trailers', 'Trailers', 'gzip', ''],
  connection: ['close', ''],
  'proxy-connection': ['a'],
  'keep-alive': ['a'],
  'transfer-encoding': ['chunked'],
  upgrade: ['a'],
  host: ['a', '', 'a/b'],
  'content-length': [
    '0',
    '12',
    '',
    '-1',
    '1a',
    '9223372036854775807',
    '9223372036854775808',
    '00000000000000000000001',
  ],
};
const fieldsOf = (of: Record<string, readonly string[]>): Field[] =>
  Object.entries(of).flatMap(([name, its]) => its.map((value): Field => [name, value]));

const connect: Field[] = [
  [':method', 'CONNECT'],
  [':authority', 'a:1'],
];
const get: Field[] = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':path', '/'],
  [':authority', 'a'],
];
const options: Field[] = [...get.slice(1), [':method', 'OPTIONS']];
const regular = fc.constantFrom(...fieldsOf(regularValues));
const pseudo = fc.constantFrom(...fieldsOf(values));
/** One of each, in any order; or a sound one with regular fields, some in front. */
const anyPseudo = fc
  .record(Object.fromEntries(Object.entries(values).map(([name, its]) => [name, fc.constantFrom(...its)])), {
    requiredKeys: [],
  })
  .chain((some) => fc.shuffledSubarray(Object.entries(some).map(([name, value]): Field => [name, value ?? ''])));
/** Sound ones but for the value of one field. */
const oneChanged = fc
  .tuple(fc.constantFrom(connect, get, options), fc.nat({ max: 3 }), fc.nat({ max: 10 }))
  .map(([base, at, choice]) =>
    base.map(([name, value], index): Field => {
      const its = values[name] ?? [];
      return [name, index === at ? (its[choice % its.length] ?? '') : value];
    }),
  );
const list = fc.oneof(
  oneChanged,
  fc.tuple(fc.constantFrom(connect, get), fc.array(regular, { maxLength: 3 })).map((parts) => parts.flat()),
  fc
    .tuple(fc.constantFrom(connect, get), fc.array(fc.oneof(regular, pseudo), { maxLength: 2 }))
    .map((parts) => parts.flat()),
  fc.tuple(anyPseudo, fc.array(regular, { maxLength: 1 })).map((parts) => parts.flat()),
  fc.tuple(regular, fc.constantFrom(connect, get)).map(([first, rest]) => [first, ...rest]),
);

/** Of each list, whether nghttp2 let it through. */
async function verdictsOfNode(lists: readonly (readonly Field[])[]): Promise<boolean[]> {
  const server = createServer({ maxSessionInvalidFrames: 1e6, maxSessionRejectedStreams: 1e6 } as object);
  const verdicts: boolean[] = [];
  let open = lists.length;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const verdict = (stream: number, accepted: boolean) => {
    const at = (stream - 1) / 2;
    if (verdicts[at] !== undefined) return;
    verdicts[at] = accepted;
    if (--open === 0) resolve();
  };
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {});
    verdict(stream.id as number, true);
    stream.close();
  });
  server.on('sessionError', reject);
  const [near, far] = duplexPair();
  server.emit('connection', far);
  const frames = new FrameReader();
  near.on('data', (chunk: Buffer) => {
    for (const { type, id, payload } of frames.read(chunk)) {
      if (type === frameType.reset && payload.readUInt32BE(0) === errorCode.PROTOCOL_ERROR) verdict(id, false);
      if (type === frameType.goAway) reject(new Error(`GOAWAY ${payload.readUInt32BE(4)}`));
    }
  });
  near.write(greeting);
  for (const [at, fields] of lists.entries()) {
    near.write(frame(frameType.headers, endHeaders, at * 2 + 1, headerBlock(fields)));
  }
  await promise;
  near.destroy();
  far.destroy();
  server.close();
  return verdicts;
}

type Verdict = 'sound' | 'malformed' | 'left out';

function compare(fields: readonly Field[], accepted: boolean): Verdict {
  const why = malformedRequest(fields.flat());
  if (why === undefined && accepted) return 'sound';
  if (why !== undefined && !accepted) return 'malformed';
  if (accepted && /^invalid (field name|value of (?!content-length))/.test(why as string)) return 'left out';
  throw new Error(`nghttp2 ${accepted ? 'accepts' : 'refuses'}, here: ${why}: ${JSON.stringify(fields)}`);
}

t.test('what is malformed here is what nghttp2 resets, but for fields that it leaves out', async (t) => {
  const counts = { sound: 0, malformed: 0, 'left out': 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(list, { minLength: 1, maxLength: 30 }), async (lists) => {
      const verdicts = await verdictsOfNode(lists);
      for (const [at, fields] of lists.entries()) counts[compare(fields, verdicts[at] as boolean)]++;
    }),
    { numRuns: 300 },
  );
  for (const [name, count] of Object.entries(counts)) t.ok(count > 20, `${name}: ${count}`);
});

t.test('each character, in each place, is to nghttp2 what it is here', async (t) => {
  const places: Record<string, (character: string) => Field[]> = {
    'of :method': (a) => [[':method', `G${a}`], ...get.slice(1)],
    'of :authority': (a) => [
      [':method', 'CONNECT'],
      [':authority', `a${a}b`],
    ],
    'in front of :authority': (a) => [
      [':method', 'CONNECT'],
      [':authority', a],
    ],
    'of :scheme': (a) => [[':method', 'GET'], [':scheme', `u${a}`], ...get.slice(2)],
    'in front of :scheme': (a) => [[':method', 'GET'], [':scheme', `${a}u`], ...get.slice(2)],
    'of :path': (a) => [[':path', `/${a}b`], ...get.filter(([name]) => name !== ':path')],
    'at the end of :path': (a) => [[':path', `/${a}`], ...get.filter(([name]) => name !== ':path')],
    'of a name': (a) => [...connect, [`a${a}`, 'b']],
    'of a value': (a) => [...connect, ['a', `b${a}c`]],
    'of host': (a) => [...connect, ['host', `b${a}c`]],
    'of content-length': (a) => [...get, ['content-length', `1${a}`]],
  };
  for (const [place, make] of Object.entries(places)) {
    const lists = Array.from({ length: 256 }, (_, code) => make(String.fromCharCode(code)));
    const verdicts = await verdictsOfNode(lists);
    const found = new Set(lists.map((fields, code) => compare(fields, verdicts[code] as boolean)));
    t.ok(found.has('sound') && found.size > 1, `${place}: ${[...found].join(', ')}`);
  }
});
