/** HPACK against node:http2, that is nghttp2: what its encoder made is decoded here, and it decodes what was encoded here. */
import { type ClientHttp2Session, createServer, connect as http2Connect, type ServerHttp2Stream } from 'node:http2';
import { duplexPair } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { malformedRequest } from '../../../../src/hbone/http2/check-fields.ts';
import { HpackDecoder } from '../../../../src/hbone/http2/hpack-decoder.ts';
import { encodeFields } from '../../../../src/hbone/http2/hpack-encoder.ts';
import {
  ack,
  endHeaders,
  endStream,
  FrameReader,
  frame,
  frameType,
  greeting,
  preface,
  reset,
  setting,
  settings,
} from '../../../support/http2-frames.ts';

const nameCharacter = fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz0123456789-_.~!#$%&'*+^`|".split(''));
const valueCharacter = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0x20, max: 0x7e }) },
  { weight: 1, arbitrary: fc.constantFrom(9, ...Array.from({ length: 128 }, (_, at) => 128 + at)) },
);
const fieldValue = fc.array(valueCharacter, { maxLength: 300 }).map((codes) =>
  Buffer.from(codes)
    .toString('latin1')
    .replace(/^[ \t]+|[ \t]+$/g, ''),
);
const fieldName = fc.oneof(
  fc.constantFrom('accept', 'cache-control', 'cookie', 'forwarded', 'baggage', 'traceparent', 'via', 'x-again'),
  fc.string({ unit: nameCharacter, minLength: 1, maxLength: 40 }).map((name) => `x-${name}`),
);
/** Few values come often, so that entries of the table are met again. */
const field = fc.tuple(fieldName, fc.oneof(fieldValue, fc.constantFrom('', 'a', 'for=10.0.0.1', 'v'.repeat(900))));
const request = fc
  .tuple(fc.constantFrom('10.0.0.1:80', '[::1]:8080', 'a.example:443'), fc.array(field, { maxLength: 12 }))
  .map(([authority, fields]) => [':method', 'CONNECT', ':authority', authority, ...fields.flat()]);
const requests = fc.array(request, { minLength: 1, maxLength: 12 });

/** The blocks that Node's client sends for these requests, one after the other over one connection. */
async function blocksOfNode(
  lists: readonly (readonly string[])[],
  tableBytes: number,
  encoderBytes: number,
): Promise<Buffer[]> {
  const [near, far] = duplexPair();
  const session: ClientHttp2Session = http2Connect('http://a.example', {
    createConnection: () => near,
    maxDeflateDynamicTableSize: encoderBytes,
    maxSendHeaderBlockLength: 1 << 20,
  } as object);
  session.on('error', () => {});
  const blocks: Buffer[] = [];
  const parts: Buffer[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const send = () => {
    const stream = session.request(lists[blocks.length] as unknown as Record<string, string>);
    stream.on('error', () => {});
  };
  session.once('error', reject);
  const frames = new FrameReader();
  let toSkip = preface.length;
  far.on('data', (chunk: Buffer) => {
    const skipped = Math.min(toSkip, chunk.length);
    toSkip -= skipped;
    for (const { type, flags, id, payload } of frames.read(chunk.subarray(skipped))) {
      if (type === frameType.settings && (flags & ack) === 0) far.write(frame(frameType.settings, ack, 0));
      if (type !== frameType.headers && type !== frameType.continuation) continue;
      parts.push(payload);
      if ((flags & endHeaders) === 0) continue;
      blocks.push(Buffer.concat(parts.splice(0)));
      // The first was sent before our settings came, as an encoder with the initial table.
      if (blocks.length === 1) far.write(settings([setting.headerTableSize, tableBytes]));
      far.write(reset(id, 'CANCEL'));
      if (blocks.length === lists.length) resolve();
      else setImmediate(send);
    }
  });
  far.write(settings());
  send();
  await promise;
  session.destroy();
  far.destroy();
  return blocks;
}

t.test('decodes what nghttp2 encodes, list after list, with tables of any size', async (t) => {
  let indexed = 0;
  await fc.assert(
    fc.asyncProperty(
      requests,
      fc.constantFrom(0, 100, 1024, 4096, 65_536),
      fc.constantFrom(0, 300, 4096, 65_536),
      async (lists, tableBytes, encoderBytes) => {
        const blocks = await blocksOfNode(lists, tableBytes, encoderBytes);
        const decoder = new HpackDecoder({ maxListBytes: 1 << 20, tableBytes });
        for (const [at, block] of blocks.entries()) {
          const decoded = decoder.decode(block);
          if (decoded === undefined || decoded.tooLarge) throw new Error(`list ${at} was refused`);
          if (!sameFields(decoded.fields, lists[at] as string[])) throw new Error(`list ${at} differs`);
          if (malformedRequest(decoded.fields) !== undefined) throw new Error(`list ${at} is called malformed`);
          indexed += block.filter((byte) => byte >= 0xbe).length;
        }
      },
    ),
    { numRuns: 60 },
  );
  t.ok(indexed > 0, 'the dynamic table was used');
});

t.test('nghttp2 decodes what is encoded here, list after list', async (t) => {
  const server = createServer({ maxHeaderListPairs: 1000 } as object);
  t.teardown(() => server.close());
  await fc.assert(
    fc.asyncProperty(requests, async (lists) => {
      const [near, far] = duplexPair();
      const got: string[][] = [];
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const onStream = (stream: ServerHttp2Stream, _: unknown, __: unknown, rawHeaders: readonly string[]) => {
        stream.on('error', () => {});
        got.push([...rawHeaders]);
        stream.close();
        if (got.length === lists.length) resolve();
      };
      server.on('stream', onStream as never);
      server.once('sessionError', reject);
      server.emit('connection', far);
      const frames = new FrameReader();
      near.on('data', (chunk: Buffer) => {
        if (frames.read(chunk).some(({ type }) => type === frameType.goAway)) reject(new Error('nghttp2 gave up'));
      });
      near.write(greeting);
      for (const [at, list] of lists.entries()) {
        const block = encodeFields(list);
        near.write(frame(frameType.headers, endHeaders | endStream, at * 2 + 1, block));
      }
      await promise;
      server.removeListener('stream', onStream as never);
      server.removeListener('sessionError', reject);
      near.destroy();
      far.destroy();
      for (const [at, list] of lists.entries()) {
        if (!sameFields(got[at] as string[], list)) throw new Error(`list ${at} differs`);
      }
    }),
    { numRuns: 60 },
  );
  t.pass('the lists that were sent');
});

function sameFields(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((text, at) => text === right[at]);
}
