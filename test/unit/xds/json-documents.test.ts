/** JSON that is read quickly against the same text read as YAML. */
import fc from 'fast-check';
import t from 'tap';
import { parseYaml } from '../../../src/config/yaml.ts';
import { readConfigFile } from '../../../src/xds/config-file.ts';
import { readJsonDocuments } from '../../../src/xds/json-documents.ts';

/** Enough of it to count as large. */
const padding = { padding: 'x'.repeat(64 << 10) };

t.test('documents are those of the YAML parser, with the same positions', async (t) => {
  const values = fc.array(fc.dictionary(fc.string({ minLength: 1 }), fc.jsonValue({ maxDepth: 3 })), { maxLength: 3 });
  fc.assert(
    fc.property(values, fc.constantFrom(0, 2), (list, indent) => {
      const text = [padding, ...list].map((value) => JSON.stringify(value, undefined, indent)).join('\n---\n');
      const expected = parseYaml(text, 'f').documents;
      const found = readJsonDocuments(text, 'f') ?? [];
      return (
        found.length === expected.length &&
        found.every(({ value, at }, i) => {
          const other = expected[i];
          const keys: string[][] = [[], ...Object.keys(value as object).map((key) => [key])];
          return (
            JSON.stringify(value) === JSON.stringify(other?.value) &&
            keys.every((path) => JSON.stringify(at(path)) === JSON.stringify(other?.at(path)))
          );
        })
      );
    }),
    { numRuns: 100 },
  );
  t.pass();
});

t.test('what is small, or not only JSON, is left to the YAML parser', async (t) => {
  t.equal(readJsonDocuments('{"a": 1}', 'f'), undefined);
  const large = JSON.stringify(padding);
  for (const text of [`# a comment\n${large}`, `${large}\n---\nkind: Pod`, large.slice(0, -1), `${large}\n${large}`]) {
    t.equal(readJsonDocuments(text, 'f'), undefined);
  }
});

t.test('an error in a large file is told at its place', async (t) => {
  const workloads = Array.from({ length: 1000 }, (_, i) => ({
    uid: `u${i}`,
    name: `pod-${i}`,
    namespace: 'default',
    workloadIps: [i === 900 ? 'nowhere' : '10.0.0.1'],
  }));
  const text = JSON.stringify({ workloads }, undefined, 1);
  const { diagnostics } = readConfigFile(text, 'mesh.json', undefined);
  const line = text.split('\n').findIndex((each) => each.includes('nowhere')) + 1;
  t.match(diagnostics, [{ code: 'LOCAL_INVALID', position: { file: 'mesh.json', line } }]);
});
