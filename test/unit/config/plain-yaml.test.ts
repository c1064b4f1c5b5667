/** The quick reader against the library: it may give up, but never read something else. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { parseAllDocuments, stringify } from 'yaml';
import { readPlainYaml } from '../../../src/config/plain-yaml.ts';

/** What the library makes of one document; undefined: it has something to say against it. */
function byLibrary(text: string): { readonly value: unknown } | undefined {
  const documents = parseAllDocuments(text, { logLevel: 'silent' });
  if (!Array.isArray(documents) || documents.length > 1) return undefined;
  const [document] = documents;
  if (document === undefined) return { value: null };
  if (document.errors.length > 0 || document.warnings.length > 0) return undefined;
  return { value: document.toJS() as unknown };
}

/** Undefined: fine. */
function difference(text: string): string | undefined {
  const quick = readPlainYaml(text);
  if (quick === undefined) return undefined;
  const slow = byLibrary(text);
  if (slow !== undefined && Object.is(JSON.stringify(quick.value), JSON.stringify(slow.value))) return undefined;
  return `${JSON.stringify(text)} → ${JSON.stringify(quick.value)}, the library: ${JSON.stringify(slow?.value)}`;
}

const word = fc.oneof(
  fc.constantFrom(
    'a',
    'key',
    'x-y',
    'http://h:80/p',
    'null',
    'true',
    '1',
    '0x1f',
    '-1.5e3',
    '.5',
    '+3',
    '012',
    '1_0',
    '~',
    'a b',
  ),
  fc.constantFrom(
    '',
    ' ',
    '#',
    'a #b',
    'a: b',
    '- a',
    '"',
    "'",
    "it's",
    '{',
    '[a',
    '*x',
    '&x',
    '!t',
    '%',
    '@',
    '`',
    '?',
    '|',
    '>',
    'é',
    '\\d+',
  ),
  fc.string({ maxLength: 6 }),
);
const json = fc.letrec<{ readonly node: unknown }>((tie) => ({
  node: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(word, fc.integer(), fc.boolean(), fc.constant(null), fc.double({ noNaN: true, noDefaultInfinity: true })),
    fc.array(tie('node'), { maxLength: 3 }),
    fc.dictionary(word, tie('node'), { maxKeys: 3 }),
  ),
})).node;

t.test('what was written by the library is read as the library reads it', async (t) => {
  fc.assert(
    fc.property(
      json,
      fc.constantFrom({}, { indentSeq: false }, { flowCollectionPadding: false, collectionStyle: 'flow' } as const),
      (value, style) => {
        const found = difference(stringify(value, { lineWidth: 0, ...style }));
        if (found !== undefined) throw new Error(found);
      },
    ),
    { numRuns: 1500 },
  );
  t.pass();
});

const line = fc
  .tuple(
    fc.nat(4),
    fc.constantFrom('', '- ', '- - ', '-'),
    fc.option(word, { nil: undefined }),
    fc.constantFrom(':', ': ', ' : ', ''),
    word,
    fc.constantFrom('', '', ' # c', ' '),
  )
  .map(
    ([indent, dash, name, colon, value, end]) =>
      `${' '.repeat(indent)}${dash}${name ?? ''}${name === undefined ? '' : colon}${value}${end}`,
  );

t.test('what somebody typed is read as the library reads it, or not at all', async (t) => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 6 }), (lines) => {
      const found = difference(lines.join('\n'));
      if (found !== undefined) throw new Error(found);
    }),
    { numRuns: 6000 },
  );
  t.pass();
});

t.test('flow collections as somebody typed them', async (t) => {
  const piece = fc.oneof(
    word,
    fc.constantFrom('{', '}', '[', ']', ',', ', ', ': ', ':', ' ', '"a"', "'b'", 'a: ', '{a: 1}', '[1, 2]'),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.constantFrom('', 'k: ', '- '), (pieces, before) => {
      const found = difference(`${before}${pieces.join('')}`);
      if (found !== undefined) throw new Error(found);
    }),
    { numRuns: 6000 },
  );
  t.pass();
});

t.test('of our own examples hardly a document needs the library', async (t) => {
  const root = path.resolve(import.meta.dirname, '../../../examples');
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.yaml'));
  const texts = files.flatMap((name) => readFileSync(path.join(root, name), 'utf8').split(/^---$/m));
  t.ok(texts.length > 20);
  for (const text of texts) t.equal(difference(text), undefined);
  t.ok(texts.filter((text) => readPlainYaml(text) !== undefined).length > texts.length * 0.9);
});
