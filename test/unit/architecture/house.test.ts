/**
 * The house rules of ARCHITECTURE.md as a test: which room may import which, no cycles between files, and one door per
 * library. The tables in ARCHITECTURE.md are what is read, so the page cannot say one thing and the code another.
 */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

const root = path.resolve(import.meta.dirname, '../../..');
const page = readFileSync(path.join(root, 'ARCHITECTURE.md'), 'utf8');
const files = globSync('src/**/*.ts', { cwd: root, exclude: ['src/proto/gen/**'] }).sort();

interface Import {
  readonly from: string;
  readonly specifier: string;
}

const imports = files.flatMap((file) => importsOf(file));

t.test('rooms import only the rooms that their row names', async (t) => {
  const rooms = tableRows('may import').map(([room = '', , allowed = '']) => [roomName(room), words(allowed)] as const);
  t.ok(rooms.length > 15, 'the table of rooms was found');
  const allowed = new Map(rooms);
  for (const { from, specifier } of imports) {
    if (!specifier.startsWith('.')) continue;
    const target = path.join(path.dirname(from), specifier);
    const [room, other] = [from.split('/')[1] ?? '', target.split('/')[1] ?? ''];
    if (!target.startsWith('src/')) t.fail(`${from} imports ${specifier}, outside src`);
    else if (!allowed.has(room)) t.fail(`${from}: no room ${room} in the table`);
    else if (room !== other && !allowed.get(room)?.has(other) && !allowed.get(room)?.has('everything')) {
      t.fail(`${from} imports ${target}: ${room} may not import ${other}`);
    }
  }
});

t.test('no file imports itself by way of others', async (t) => {
  const next = new Map<string, string[]>();
  for (const { from, specifier } of imports) {
    if (specifier.startsWith('.'))
      next.set(from, [...(next.get(from) ?? []), path.join(path.dirname(from), specifier)]);
  }
  const done = new Set<string>();
  const visit = (file: string, trail: readonly string[]) => {
    const at = trail.indexOf(file);
    if (at >= 0) t.fail(`cycle: ${[...trail.slice(at), file].join(' → ')}`);
    if (at >= 0 || done.has(file)) return;
    for (const target of next.get(file) ?? []) visit(target, [...trail, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
});

t.test('each library has its door', async (t) => {
  const doors = new Map(tableRows('door').map(([library = '', door = '']) => [code(library), [...words(door)]]));
  t.ok(doors.size > 5, 'the table of doors was found');
  for (const { from, specifier } of imports) {
    if (specifier.startsWith('.') || specifier.startsWith('node:')) continue;
    const library = specifier.startsWith('@')
      ? specifier.split('/').slice(0, 2).join('/')
      : (specifier.split('/')[0] ?? '');
    const door = doors.get(library);
    if (door === undefined) t.fail(`${from} imports ${library}, which has no door`);
    else if (!door.some((place) => from === `src/${place}` || from.startsWith(`src/${place}/`))) {
      t.fail(`${from} imports ${library}, whose door is ${door.join(' or ')}`);
    }
  }
});

function importsOf(file: string): Import[] {
  const text = readFileSync(path.join(root, file), 'utf8');
  const found = text.matchAll(
    /^(?:import|export)\s(?:[\w$*{},\s]+?\sfrom\s)?'([^']+)'|^export\s(?:type\s)?(?:\*|\{[^}]*\})\sfrom\s'([^']+)'|\bimport\('([^']+)'\)/gm,
  );
  return [...found].map((match) => ({ from: file, specifier: match[1] ?? match[2] ?? match[3] ?? '' }));
}

/** Rows of the table whose last header is `header`, as cells. */
function tableRows(header: string): string[][] {
  const lines = page.split('\n');
  const start = lines.findIndex((line) => line.startsWith('|') && line.includes(`| ${header} |`));
  const rows: string[][] = [];
  for (const line of lines.slice(start + 2)) {
    if (start < 0 || !line.startsWith('|')) break;
    rows.push(
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  }
  return rows;
}

function code(cell: string): string {
  return cell.replaceAll('`', '');
}

function roomName(cell: string): string {
  return code(cell).replace('/', '');
}

function words(cell: string): Set<string> {
  return new Set(
    code(cell)
      .split(/,\s*/)
      .map((word) => word.replace(/\/$/, '')),
  );
}
