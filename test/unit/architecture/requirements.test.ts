/** docs/requirements.md against the tests it names: no row is missing, and none leans on a test that does not exist. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

const root = path.resolve(import.meta.dirname, '../../..');
const page = readFileSync(path.join(root, 'docs/requirements.md'), 'utf8');
const rows = page.split('\n').filter((line) => /^\| R\d+ \|/.test(line));

t.test('all fifty-seven requirements are there, once and in order', async (t) => {
  const numbers = rows.map((row) => Number(/^\| R(\d+) /.exec(row)?.[1]));
  t.same(
    numbers,
    Array.from({ length: 57 }, (_, i) => i + 1),
  );
});

t.test('every row names tests that exist, by file and title', async (t) => {
  for (const row of rows) {
    const name = row.slice(2, row.indexOf(' |', 2));
    const proof = row.split(' | ').at(-1) ?? '';
    const proofs = proof.split('<br>').flatMap((part) => proofOf(part) ?? []);
    t.ok(proofs.length > 0, `${name} has a proof`);
    for (const { file, titles } of proofs) {
      const text = existsSync(path.join(root, file)) ? readFileSync(path.join(root, file), 'utf8') : '';
      t.ok(titles.length > 0, `${name}: ${file} with a title`);
      for (const title of titles) t.ok(isTitled(text, title), `${name}: ${file} has “${title}”`);
    }
  }
});

t.test('only parts of R6 and R43 wait for something', async (t) => {
  t.same(
    rows.filter((row) => row.includes('waits: ')).map((row) => row.slice(2, 5).trim()),
    ['R6', 'R43'],
  );
});

function proofOf(part: string): { readonly file: string; readonly titles: readonly string[] } | undefined {
  const file = /^`(test\/\S+\.test\.ts)` /.exec(part)?.[1];
  if (file === undefined) return undefined;
  return { file, titles: [...part.matchAll(/“([^”]+)”/g)].map((match) => match[1] ?? '') };
}

/** The title closes a string, as a test's name does; the front of a name may be made from a variable. */
function isTitled(text: string, title: string): boolean {
  return [`${title}'`, `${title}\``].some((end) => text.includes(end));
}
