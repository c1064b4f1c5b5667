/**
 * The codes of AmbitError and docs/errors.md are one list. A code opens with its room's name, so a literal that does so
 * is a code; diagnostics of configuration, which have a page of their own, are made in compile/ and xds/ alone.
 */
import { globSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

const root = path.resolve(import.meta.dirname, '../../..');
const rooms = readdirSync(path.join(root, 'src')).map((room) => room.toUpperCase());
const files = globSync('src/**/*.ts', { cwd: root, exclude: ['src/proto/gen/**', 'src/compile/**', 'src/xds/**'] });
/** A response flag and variables that look like codes of rooms. */
const flags = new Set(['IDENTITY_ERROR', 'XDS_ADDRESS', 'XDS_HEADER_']);

t.test('docs/errors.md lists the codes that the code has, each once', async (t) => {
  const page = readFileSync(path.join(root, 'docs/errors.md'), 'utf8');
  const listed = [...page.matchAll(/^\| `([A-Z0-9_]+)` \|/gm)].map((row) => row[1] ?? '');
  const literal = new RegExp(`'((?:${rooms.join('|')})_[A-Z0-9_]+)'`, 'g');
  const used = new Set(files.flatMap((file) => codesIn(file, literal)).filter((code) => !flags.has(code)));
  t.ok(used.size > 30, 'codes were found');
  t.same(
    listed.filter((code, at) => listed.indexOf(code) !== at),
    [],
    'listed twice',
  );
  t.same([...used].filter((code) => !listed.includes(code)).sort(), [], 'missing on the page');
  t.same(listed.filter((code) => !used.has(code)).sort(), [], 'on the page only');
});

t.test('a code opens with the name of a room', async (t) => {
  for (const file of files) {
    for (const code of codesIn(file, /new AmbitError\([^;]*?\bcode: '([^']+)'/g)) {
      t.ok(rooms.includes(code.split('_')[0] ?? ''), `${file}: ${code}`);
    }
  }
});

function codesIn(file: string, pattern: RegExp): string[] {
  return [...readFileSync(path.join(root, file), 'utf8').matchAll(pattern)].map((match) => match[1] ?? '');
}
