/** The examples of RFC 7541 Appendix C, with the table that each leaves. */
import t, { type Test } from 'tap';
import { HpackDecoder } from '../../../../src/hbone/http2/hpack-decoder.ts';
import { indexed } from '../../../support/hpack-blocks.ts';

const hex = (text: string) => Buffer.from(text.replace(/\s+/g, ''), 'hex');

/** The dynamic table, the latest first: read by its indexes, which changes nothing. */
function table(decoder: HpackDecoder, count: number): readonly string[] | undefined {
  return decoder.decode(Buffer.concat(Array.from({ length: count }, (_, at) => indexed(62 + at))))?.fields;
}

interface Step {
  readonly block: string;
  readonly fields: readonly string[];
  /** What the table holds behind it. */
  readonly table: readonly string[];
}

function follows(t: Test, decoder: HpackDecoder, steps: readonly Step[]): void {
  for (const [at, step] of steps.entries()) {
    t.same(decoder.decode(hex(step.block)), { fields: step.fields, tooLarge: false }, `list ${at + 1}`);
    t.same(table(decoder, step.table.length / 2), step.table, `table ${at + 1}`);
  }
  const last = steps.at(-1)?.table.length ?? 0;
  t.equal(decoder.decode(indexed(62 + last / 2)), undefined, 'the table holds nothing more');
}

t.test('C.2: each kind of literal, and an indexed field', async (t) => {
  const examples: readonly Step[] = [
    {
      block: '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572',
      fields: ['custom-key', 'custom-header'],
      table: ['custom-key', 'custom-header'],
    },
    { block: '040c 2f73 616d 706c 652f 7061 7468', fields: [':path', '/sample/path'], table: [] },
    { block: '1008 7061 7373 776f 7264 0673 6563 7265 74', fields: ['password', 'secret'], table: [] },
    { block: '82', fields: [':method', 'GET'], table: [] },
  ];
  for (const example of examples) follows(t, new HpackDecoder({ maxListBytes: 4096 }), [example]);
});

const first = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'];
const requests = [
  { fields: first, table: [':authority', 'www.example.com'] },
  {
    fields: [...first, 'cache-control', 'no-cache'],
    table: ['cache-control', 'no-cache', ':authority', 'www.example.com'],
  },
  {
    fields: [
      ...[':method', 'GET', ':scheme', 'https', ':path', '/index.html', ':authority', 'www.example.com'],
      ...['custom-key', 'custom-value'],
    ],
    table: ['custom-key', 'custom-value', 'cache-control', 'no-cache', ':authority', 'www.example.com'],
  },
];

const withBlocks = (steps: readonly Omit<Step, 'block'>[], blocks: readonly string[]): Step[] =>
  steps.map((step, at) => ({ ...step, block: blocks[at] as string }));

t.test('C.3: requests without Huffman', async (t) => {
  const blocks = [
    '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
    '8286 84be 5808 6e6f 2d63 6163 6865',
    '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
  ];
  follows(t, new HpackDecoder({ maxListBytes: 4096 }), withBlocks(requests, blocks));
});

t.test('C.4: requests with Huffman', async (t) => {
  const blocks = [
    '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
    '8286 84be 5886 a8eb 1064 9cbf',
    '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
  ];
  follows(t, new HpackDecoder({ maxListBytes: 4096 }), withBlocks(requests, blocks));
});

const location = ['location', 'https://www.example.com'];
const date = ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'];
const later = ['date', 'Mon, 21 Oct 2013 20:13:22 GMT'];
const control = ['cache-control', 'private'];
const cookie = ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'];
const gzip = ['content-encoding', 'gzip'];
const responses = [
  {
    fields: [':status', '302', ...control, ...date, ...location],
    table: [...location, ...date, ...control, ':status', '302'],
  },
  {
    fields: [':status', '307', ...control, ...date, ...location],
    table: [':status', '307', ...location, ...date, ...control],
  },
  {
    fields: [':status', '200', ...control, ...later, ...location, ...gzip, ...cookie],
    table: [...cookie, ...gzip, ...later],
  },
];
/** The examples have a table of 256 bytes from their beginning on; an encoder says so. */
const sizeOf256 = '3fe101';

t.test('C.5: responses without Huffman, with evictions', async (t) => {
  const blocks = [
    `${sizeOf256} 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
     2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
    '4803 3330 37c1 c0bf',
    `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a
     6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d
     6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31`,
  ];
  follows(t, new HpackDecoder({ maxListBytes: 4096, tableBytes: 256 }), withBlocks(responses, blocks));
});

t.test('C.6: responses with Huffman, with evictions', async (t) => {
  const blocks = [
    `${sizeOf256} 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
     2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
    '4883 640e ffc1 c0bf',
    `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d
     d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106
     3d50 07`,
  ];
  follows(t, new HpackDecoder({ maxListBytes: 4096, tableBytes: 256 }), withBlocks(responses, blocks));
});
