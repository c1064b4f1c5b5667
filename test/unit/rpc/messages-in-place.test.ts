/** The decoder put in grpc-js' place gives what the library's own gives, however the bytes are cut. */
import { StreamDecoder } from '@grpc/grpc-js/build/src/stream-decoder.js';
import fc from 'fast-check';
import t from 'tap';
import { putMessagesTogetherInPlace } from '../../../src/rpc/messages-in-place.ts';

const own = StreamDecoder.prototype.write;
putMessagesTogetherInPlace();
const inPlace = StreamDecoder.prototype.write;

function framed(flag: number, message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** What a decoder gives for each write. */
function decoded(write: typeof own, chunks: readonly Buffer[], most: number): readonly (readonly string[] | string)[] {
  const decoder = new StreamDecoder(most);
  const results: (readonly string[] | string)[] = [];
  for (const chunk of chunks) {
    try {
      results.push(write.call(decoder, chunk).map((message) => message.toString('hex')));
    } catch (error) {
      return [...results, String(error)];
    }
  }
  return results;
}

t.test('it is another one, and the one in use', (t) => {
  t.not(inPlace, own);
  putMessagesTogetherInPlace();
  t.equal(StreamDecoder.prototype.write, inPlace);
  t.end();
});

t.test('messages of any size in chunks of any size are those of the library', (t) => {
  const messages = fc.array(fc.tuple(fc.integer({ min: 0, max: 1 }), fc.uint8Array({ maxLength: 40 })), {
    maxLength: 8,
  });
  const cuts = fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 30 });
  const limit = fc.constantFrom(-1, 20, 1000);
  fc.assert(
    fc.property(messages, cuts, limit, (messages, cuts, most) => {
      let rest = Buffer.concat(messages.map(([flag, message]) => framed(flag, message)));
      const chunks: Buffer[] = [];
      for (const length of cuts) {
        chunks.push(rest.subarray(0, length));
        rest = rest.subarray(length);
      }
      chunks.push(rest);
      t.same(decoded(inPlace, chunks, most), decoded(own, chunks, most));
    }),
    { numRuns: 300 },
  );
  t.end();
});
