/** Environment variables that the code reads and those in docs/environment.md are one list. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const files = globSync(['src/**/*.ts', 'bin/**/*.{ts,mjs}', 'bench/**/*.ts', 'native/*.{js,mjs}', 'test/run.ts'], {
  cwd: root,
  exclude: ['src/proto/gen/**'],
});

t.test('docs/environment.md lists the variables that are read', async (t) => {
  const rows = read('docs/environment.md')
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  const listed = new Set(rows.flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`(\w+)`/g)].map((m) => m[1])));
  const used = new Set(files.flatMap(variablesOf));
  t.ok(used.size > 40, 'variables were found');
  t.same([...used].filter((name) => !listed.has(name)).sort(), [], 'missing on the page');
  t.same([...listed].filter((name) => !used.has(name ?? '')).sort(), [], 'on the page only');
});

function variablesOf(file: string): string[] {
  const text = read(file);
  const patterns = [
    /\b(AMBIT_[A-Z0-9_]+)\b/g,
    /\b(?:env|environment)\??\.([A-Z][A-Z0-9_]+)\b/g,
    ...(file.startsWith('src/app/') && file.endsWith('-settings.ts') ? [/^ {2}([A-Z][A-Z0-9_]+): /gm] : []),
  ];
  const taken = [...text.matchAll(/const \{ ([A-Za-z_, ]+) \} = process\.env/g)].flatMap((match) =>
    (match[1] ?? '').split(', ').filter((name) => name === name.toUpperCase()),
  );
  return [...taken, ...patterns.flatMap((pattern) => [...text.matchAll(pattern)].map((match) => match[1] ?? ''))];
}
