/** HPACK's decoder: whatever a peer sends is decoded or refused, at a bounded cost. */
import fc from 'fast-check';
import t from 'tap';
import { HpackDecoder } from '../../../../src/hbone/http2/hpack-decoder.ts';
import { encodeFields } from '../../../../src/hbone/http2/hpack-encoder.ts';
import {
  bitBytes,
  endOfString,
  huffman,
  huffmanString,
  indexed,
  integer,
  literal,
  plainString,
  rawHuffmanString,
  sizeUpdate,
} from '../../../support/hpack-blocks.ts';

const decoder = (maxListBytes = 1 << 20, tableBytes?: number) =>
  new HpackDecoder(tableBytes === undefined ? { maxListBytes } : { maxListBytes, tableBytes });
const decode = (...parts: Uint8Array[]) => decoder().decode(Buffer.concat(parts));
const fieldsOf = (...parts: Uint8Array[]) => decode(...parts)?.fields;

const byteText = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString('latin1'));

t.test('Huffman: every string of bytes comes back, also a long one', async (t) => {
  fc.assert(
    fc.property(byteText, (text) => {
      t.same(fieldsOf(literal('without', 'a', text, huffmanString)), ['a', text]);
    }),
  );
  const all = Buffer.from(Array.from({ length: 256 }, (_, at) => at)).toString('latin1');
  t.same(fieldsOf(literal('without', 'a', all, huffmanString)), ['a', all]);
  const long = 'e'.repeat(40_000) + all;
  t.same(fieldsOf(literal('without', 'a', long, huffmanString)), ['a', long]);
});

t.test('Huffman: EOS and wrong padding are refused, also where the string is not wanted', async (t) => {
  const a = '00011';
  const bad: Record<string, Buffer> = {
    'EOS alone': huffman([endOfString]),
    'EOS within': huffman([97, endOfString, 97]),
    'EOS at the end': huffman([97, 97, endOfString]),
    'eight bits of padding': bitBytes('1'.repeat(8)),
    'a byte of padding too many': bitBytes(`${a}111${'1'.repeat(8)}`),
    'two bytes too many': bitBytes(`${a}111${'1'.repeat(16)}`),
    'padding of zeros': bitBytes(`${a}000`),
    'padding that turns to zero': bitBytes(`${a}110`),
    'a code that was cut': bitBytes('1111111111110000'),
  };
  for (const [name, bytes] of Object.entries(bad)) {
    t.equal(decode(literal('without', 'a', rawHuffmanString(bytes))), undefined, name);
    t.equal(
      decoder(0).decode(Buffer.concat([indexed(2), literal('without', 'a', rawHuffmanString(bytes))])),
      undefined,
    );
    t.equal(decode(Buffer.from([0]), rawHuffmanString(bytes), plainString('')), undefined, `${name}, as a name`);
  }
  for (let ones = 0; ones <= 7; ones++) {
    const text = { 0: 'aaaaaaaa', 1: 'aaa', 2: 'aaaaaa', 3: 'a', 4: 'aaaa', 5: 'aaaaaaa', 6: 'aa', 7: 'aaaaa' }[ones];
    t.same(fieldsOf(literal('without', 'a', text as string, huffmanString)), ['a', text], `${ones} bits of padding`);
  }
});

t.test('integers: small in any length allowed, never too large', async (t) => {
  const value = 'v'.repeat(200);
  const head = [Buffer.from([0]), plainString('a')];
  t.same(
    fieldsOf(...head, Buffer.from([0x7f, 0xc9, 0x00]), Buffer.from(value)),
    ['a', value],
    'longer than it need be',
  );
  t.same(fieldsOf(...head, Buffer.from([0x7f, 0xc9, 0x80, 0x80, 0x80, 0x00]), Buffer.from(value)), ['a', value]);
  t.equal(decode(...head, Buffer.from([0x7f, 0xc9, 0x80, 0x80, 0x80, 0x80, 0x00]), Buffer.from(value)), undefined);
  for (const start of [0xff, 0x7f, 0x3f, 0x1f, 0x0f]) {
    const ff = (count: number) => Buffer.alloc(count, 0xff);
    t.equal(decode(Buffer.from([start]), ff(4), Buffer.from([0x7f])), undefined, 'beyond 2^31');
    t.equal(decode(Buffer.from([start]), ff(100_000)), undefined, 'endless');
    t.equal(decode(Buffer.from([start])), undefined, 'cut');
  }
  // 2^32 + 1 would be 1 in 32 bits: `:authority`.
  t.equal(decode(integer(0x80, 7, 2 ** 32 + 1)), undefined);
  t.equal(decode(integer(0x80, 7, 2 ** 31)), undefined);
  t.equal(decode(Buffer.from([0]), integer(0, 7, 2 ** 32 + 1), Buffer.from('aaaa')), undefined);
});

t.test('indexes: 0 and those beyond the table are refused', async (t) => {
  t.equal(decode(indexed(0)), undefined);
  t.same(fieldsOf(indexed(61)), ['www-authenticate', '']);
  t.equal(decode(indexed(62)), undefined);
  for (const kind of ['indexing', 'without', 'never'] as const) {
    t.same(fieldsOf(literal(kind, 61, 'v')), ['www-authenticate', 'v']);
    t.equal(decode(literal(kind, 62, 'v')), undefined);
  }
  t.same(fieldsOf(literal('indexing', 'a', 'v'), literal('without', 62, 'w')), ['a', 'v', 'a', 'w']);
  t.equal(decode(literal('indexing', 'a', 'v'), indexed(63)), undefined);
  t.equal(decode(literal('without', 'a', 'v'), indexed(62)), undefined);
  t.equal(decode(literal('never', 'a', 'v'), indexed(62)), undefined);
});

t.test('a block that is cut anywhere within a field is refused', async (t) => {
  const parts = [
    sizeUpdate(1024),
    indexed(2),
    literal('indexing', 'x-name', 'value'),
    literal('never', 23, 'secret', huffmanString),
    literal('without', 'a'.repeat(300), 'b'.repeat(300), huffmanString),
    indexed(62),
  ];
  const whole = Buffer.concat(parts);
  const ends = new Set(parts.map((_, at) => Buffer.concat(parts.slice(0, at + 1)).length));
  t.ok(decode(whole));
  for (let length = 1; length < whole.length; length++) {
    const got = decode(whole.subarray(0, length));
    if ((got === undefined) === ends.has(length)) t.fail(`cut behind ${length} bytes`);
  }
});

t.test('size updates: at the beginning, a few, within our setting', async (t) => {
  t.same(fieldsOf(sizeUpdate(0), sizeUpdate(4096), indexed(2)), [':method', 'GET']);
  t.same(fieldsOf(sizeUpdate(0)), []);
  t.equal(decode(sizeUpdate(4097)), undefined);
  t.equal(decode(indexed(2), sizeUpdate(0)), undefined);
  t.equal(decode(indexed(2), sizeUpdate(0), plainString('a'), plainString('b')), undefined, 'nor is it a literal');
  t.equal(decode(literal('without', 'a', ''), sizeUpdate(0)), undefined);
  t.equal(decode(...Array.from({ length: 9 }, () => sizeUpdate(0))), undefined);
  t.ok(decoder(4096, 8192).decode(sizeUpdate(8192)));
  t.equal(decoder(4096, 8192).decode(sizeUpdate(8193)), undefined);
});

t.test('size updates: 4096 is the size until an encoder has seen that ours is lower', async (t) => {
  const small = decoder(1 << 20, 100);
  t.ok(small.decode(literal('indexing', 'a', 'v'.repeat(1000))));
  t.ok(small.decode(Buffer.concat([sizeUpdate(2000), indexed(62)])));
  t.ok(small.decode(sizeUpdate(100)));
  t.equal(small.decode(sizeUpdate(101)), undefined);
});

t.test('size updates: they evict the oldest', async (t) => {
  const some = decoder();
  t.ok(some.decode(Buffer.concat([literal('indexing', 'a', '1'), literal('indexing', 'b', '2')])));
  t.ok(some.decode(sizeUpdate(34)));
  t.same(some.decode(indexed(62))?.fields, ['b', '2']);
  t.equal(some.decode(indexed(63)), undefined);
});

t.test('an entry larger than the table empties it', async (t) => {
  const some = decoder();
  t.ok(some.decode(literal('indexing', 'a', '1')));
  t.same(some.decode(literal('indexing', 'b', 'v'.repeat(4096)))?.fields, ['b', 'v'.repeat(4096)]);
  t.equal(some.decode(indexed(62)), undefined);
});

t.test('a literal may take its name from the entry that it evicts', async (t) => {
  const some = decoder();
  t.ok(some.decode(literal('indexing', 'n'.repeat(2000), '')));
  const value = 'v'.repeat(2000);
  t.same(some.decode(literal('indexing', 62, value))?.fields, ['n'.repeat(2000), value]);
  t.same(some.decode(indexed(62))?.fields, ['n'.repeat(2000), value]);
});

t.test('nothing is decoded behind a malformed block', async (t) => {
  const some = decoder();
  t.equal(some.decode(indexed(0)), undefined);
  t.equal(some.decode(indexed(2)), undefined);
});

t.test('a list of the allowed size is whole; one byte more, and it ends before that field', async (t) => {
  const block = encodeFields(['a', '1', 'bb', '22', 'c', '3']);
  t.same(decoder(34 + 36 + 34).decode(block), { fields: ['a', '1', 'bb', '22', 'c', '3'], tooLarge: false });
  t.same(decoder(34 + 36 + 33).decode(block), { fields: ['a', '1', 'bb', '22'], tooLarge: true });
  // The third would fit in what the second leaves.
  t.same(decoder(34 + 35).decode(block), { fields: ['a', '1'], tooLarge: true });
  t.same(decoder(0).decode(block), { fields: [], tooLarge: true });
  t.same(decoder(0).decode(Buffer.alloc(0)), { fields: [], tooLarge: false });
});

t.test('the table is right behind a list that was too large', async (t) => {
  const some = decoder(100);
  const got = some.decode(
    Buffer.concat([
      literal('without', 'a', 'v'.repeat(200)),
      literal('indexing', 'b', '1', huffmanString),
      literal('without', 'c', '2'),
      literal('indexing', 'd', '3'),
      literal('without', 'e', '4', huffmanString),
    ]),
  );
  t.same(got, { fields: [], tooLarge: true });
  t.same(some.decode(Buffer.concat([indexed(62), indexed(63)]))?.fields, ['d', '3', 'b', '1']);
});

t.test('a byte that stands for 4 KiB does not make a list beyond its limit', async (t) => {
  const some = decoder(64 << 10);
  t.ok(some.decode(literal('indexing', 'a', 'v'.repeat(4000))));
  const bomb = Buffer.alloc(1 << 20, 0xbe);
  const before = process.cpuUsage();
  const got = some.decode(bomb);
  const { user } = process.cpuUsage(before);
  t.equal(got?.tooLarge, true);
  t.equal(got?.fields.length, 16 * 2);
  t.ok(user < 1e6, `a mebibyte took ${user} µs`);
});

t.test('evictions cost no more than additions', async (t) => {
  // Each adds an entry of a name of 4000 bytes by two bytes, and evicts one; then 128 small ones that one large entry evicts.
  const some = decoder(100, 1 << 20);
  t.ok(some.decode(Buffer.concat([sizeUpdate(1 << 20), literal('indexing', 'n'.repeat(4000), '')])));
  const again = Buffer.alloc(1 << 20, Buffer.from([0x7e, 0]));
  const small = Buffer.alloc(1 << 19, literal('indexing', 'a', ''));
  const before = process.cpuUsage();
  t.ok(some.decode(again));
  for (let round = 0; round < 4; round++)
    t.ok(some.decode(Buffer.concat([small, literal('indexing', 62, 'v'.repeat(99))])));
  const { user } = process.cpuUsage(before);
  t.ok(user < 2e6, `took ${user} µs`);
});

t.test('random bytes are decoded or refused, and never throw', async (t) => {
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    // More likely to go on for a while.
    fc
      .array(
        fc.oneof(
          fc.integer({ min: 0, max: 70 }).map(indexed),
          fc.integer({ min: 0, max: 5000 }).map(sizeUpdate),
          fc
            .tuple(fc.constantFrom('indexing' as const, 'without' as const), fc.nat({ max: 64 }), byteText)
            .map(([kind, index, text]) => literal(kind, index === 0 ? 'a' : index, text)),
          fc.uint8Array({ maxLength: 6 }).map((bytes) => literal('indexing', 'a', rawHuffmanString(bytes))),
        ),
        { maxLength: 20 },
      )
      .map((parts) => Buffer.concat(parts)),
  );
  let decoded = 0;
  fc.assert(
    fc.property(fc.array(hostile, { maxLength: 5 }), fc.nat({ max: 500 }), (blocks, maxListBytes) => {
      const some = decoder(maxListBytes);
      for (const block of blocks) {
        const got = some.decode(block);
        if (got === undefined) continue;
        decoded++;
        let bytes = 0;
        for (const text of got.fields) bytes += text.length + 16;
        if (bytes > maxListBytes) t.fail('more than the limit');
      }
    }),
    { numRuns: 2000 },
  );
  t.ok(decoded > 100);
});

t.test('whatever the list, encoded and decoded it is itself', async (t) => {
  const safe = byteText.map((text) => text.replaceAll(/[\0\r\n]/g, ''));
  const field = fc.tuple(
    fc.oneof(
      fc.constantFrom(':method', ':path', 'cookie', 'authorization', 'content-length', 'via'),
      safe.filter((name) => name.length > 0),
    ),
    fc.oneof(safe, fc.constantFrom('GET', '/', '')),
  );
  const one = decoder();
  fc.assert(
    fc.property(fc.array(field, { maxLength: 30 }), (list) => {
      t.same(one.decode(encodeFields(list.flat())), { fields: list.flat(), tooLarge: false });
    }),
    { numRuns: 200 },
  );
});
