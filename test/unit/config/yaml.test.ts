import fc from 'fast-check';
import t from 'tap';
import { collectGarbage } from '../../../src/base/garbage.ts';
import { completed, turnOfTheLoop } from '../../../src/base/slices.ts';
import { defaultYamlLimits, parseYaml, yamlSteps } from '../../../src/config/yaml.ts';

t.test('documents come with the position of every value, in the file as a whole', async (t) => {
  const { documents, diagnostics } = parseYaml('a: 1\n---\nb:\n  - c: 2\n    d: x\n---\n', 'f.yaml');
  t.same(diagnostics, []);
  t.same(
    documents.map(({ value }) => value),
    [{ a: 1 }, { b: [{ c: 2, d: 'x' }] }],
  );
  t.same(documents[1]?.at(['b', 0, 'd']), { file: 'f.yaml', line: 5, column: 8 });
  t.same(documents[1]?.at(['b', 0, 'nothing']), { file: 'f.yaml', line: 4, column: 5 }, 'else what is around it');
  t.same(documents[0]?.at([]), { file: 'f.yaml', line: 1, column: 1 });
});

t.test('a value that was collected reads the same again', async (t) => {
  const text = 'a: {b: [1, x]}\nc:\n  - d: 2\n';
  const [document] = parseYaml(text, 'f.yaml').documents;
  const first = new WeakRef(document?.value as object);
  for (let turns = 0; first.deref() !== undefined && turns < 100; turns++) {
    await turnOfTheLoop();
    collectGarbage({ type: 'major' });
  }
  t.equal(first.deref(), undefined, 'nobody holds it');
  t.same(document?.value, { a: { b: [1, 'x'] }, c: [{ d: 2 }] });
  t.equal(document?.value, document?.value, 'and is there once while somebody looks at it');
});

t.test(
  'documents of an earlier version stay the same objects and say the same, whatever became of that version',
  async (t) => {
    const first = parseYaml('a: 1\n---\nb: [2, !odd x]\n---\nc: {d: 3}\n---\ne: 4\n', 'f.yaml');
    t.same(first.documents, [], 'half a file is not what the user meant');
    const before = completed(yamlSteps('a: 1\n---\nb: 2\n---\nc: {d: 3}\n---\ne: 4\n', 'f.yaml'));
    const broken = completed(
      yamlSteps('a: 1\n---\nb: [2\n---\nc: {d: 3}\n---\ne: 4\n', 'f.yaml', undefined, undefined, before.plain),
    );
    t.equal(broken.diagnostics.length, 1);
    const after = completed(
      yamlSteps('a: 1\n---\nb: 22\n---\nc: {d: 3}\n---\n\n\ne: 4\n', 'f.yaml', undefined, undefined, before.plain),
    );
    t.equal(after.documents[0], before.documents[0]);
    t.not(after.documents[1], before.documents[1]);
    t.equal(after.documents[2], before.documents[2]);
    t.not(after.documents[3], before.documents[3], 'its place is another');
    const values = after.documents.map(({ value }) => new WeakRef(value as object));
    for (let turns = 0; values.some((value) => value.deref() !== undefined) && turns < 100; turns++) {
      await turnOfTheLoop();
      collectGarbage({ type: 'major' });
    }
    t.same(
      after.documents.map(({ value }) => value),
      [{ a: 1 }, { b: 22 }, { c: { d: 3 } }, { e: 4 }],
      'read again',
    );
    t.same(before.documents[1]?.value, { b: 2 });
    t.same(before.documents[1]?.at(['b']), { file: 'f.yaml', line: 3, column: 4 });
    t.same(after.documents[2]?.at(['c', 'd']), { file: 'f.yaml', line: 5, column: 8 });
    t.same(after.documents[3]?.at(['e']), { file: 'f.yaml', line: 9, column: 4 });
  },
);

t.test('JSON is YAML', async (t) => {
  t.same(parseYaml('{"a": [1, "b", null]}', 'f.json').documents[0]?.value, { a: [1, 'b', null] });
});

t.test('text that is not valid gives its place and no documents', async (t) => {
  for (const [text, line] of [
    ['a: 1\nb: [\n', 3],
    ['a: 1\na: 2\n', 2],
    ['a: !unknown 1\n', 1],
    ['a: *nowhere\n', 1],
    ['ok: 1\n---\n\t- x', 3],
  ] as const) {
    const { documents, diagnostics } = parseYaml(text, 'f.yaml');
    t.same(documents, [], JSON.stringify(text));
    t.match(diagnostics[0], { severity: 'error', code: 'YAML_SYNTAX', position: { file: 'f.yaml', line } }, text);
  }
});

t.test('size, depth, number of documents and aliases are bounded', async (t) => {
  const code = (text: string, limits = defaultYamlLimits) => parseYaml(text, 'f.yaml', limits).diagnostics[0]?.code;
  t.equal(code('a: 1', { ...defaultYamlLimits, bytes: 3 }), 'YAML_TOO_LARGE');
  t.equal(code('a: 1\n---\nb: 1\n', { ...defaultYamlLimits, documents: 1 }), 'YAML_TOO_LARGE');
  t.equal(code('['.repeat(5_000)), 'YAML_SYNTAX');
  const bomb = Array.from({ length: 9 }, (_, i) => `a${i}: &a${i} [${i === 0 ? 'x' : `*a${i - 1},`.repeat(9)}]`).join(
    '\n',
  );
  t.equal(code(bomb), 'YAML_SYNTAX');
});

t.test('no text makes it throw', async (t) => {
  const pieces = fc.constantFrom(
    'a',
    ':',
    ' ',
    '\n',
    '-',
    '[',
    ']',
    '{',
    '}',
    '&x',
    '*x',
    '!t',
    '|',
    '"',
    "'",
    '#',
    '---\n',
    '%',
    '\t',
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
      const { documents, diagnostics } = parseYaml(parts.join(''), 'f.yaml');
      for (const document of documents) document.at(['a', 0, 'b']);
      return documents.length === 0 || diagnostics.length === 0;
    }),
    { numRuns: 2000 },
  );
  t.pass();
});
