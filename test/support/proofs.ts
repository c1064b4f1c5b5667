/**
 * Pages of docs/ that name the tests which prove what they say: `` `test/…/x.test.ts` “title”, “title” ``, or the cases of a
 * folder of test/conformance: `` `…/cases.yaml` “name” ``; several proofs of a row separated by `<br>` in its last column.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');

export interface ProvenRow {
  readonly name: string;
  readonly text: string;
  readonly proofs: readonly Proof[];
}

export interface Proof {
  readonly file: string;
  readonly titles: readonly string[];
}

/** Rows of the page's tables whose first column matches. */
export function readProvenRows(page: string, name: RegExp): ProvenRow[] {
  const lines = readFileSync(path.join(root, page), 'utf8').split('\n');
  const rows: ProvenRow[] = [];
  for (const text of lines) {
    const first = /^\| (.+?) \|/.exec(text)?.[1];
    if (first === undefined || !name.test(first)) continue;
    const last = text.split(' | ').at(-1) ?? '';
    rows.push({ name: first, text, proofs: last.split('<br>').flatMap((part) => proofOf(part) ?? []) });
  }
  return rows;
}

/** What is wrong with a proof: the file or titles that do not exist. */
export function proofProblems({ file, titles }: Proof): string[] {
  if (!existsSync(path.join(root, file))) return [`${file} does not exist`];
  if (titles.length === 0) return [`${file} without a title`];
  const text = readFileSync(path.join(root, file), 'utf8');
  const has = file.endsWith('.yaml') ? isCase : isTitled;
  return titles.filter((title) => !has(text, title)).map((title) => `${file} has no “${title}”`);
}

function proofOf(part: string): Proof | undefined {
  const file = /^`(test\/\S+(?:\.test\.ts|\/cases\.yaml))` /.exec(part.trim())?.[1];
  if (file === undefined) return undefined;
  return { file, titles: [...part.matchAll(/“([^”]+)”/g)].map((match) => match[1] ?? '') };
}

/** The title closes a string, as a test's name does; the front of a name may be made from a variable. */
function isTitled(text: string, title: string): boolean {
  return [`${title}'`, `${title}\``].some((end) => text.includes(end));
}

/** `name: title` or `name: 'title'`, at the end of its line or of its place in a flow mapping. */
function isCase(text: string, title: string): boolean {
  return ['', "'", '"'].some((quote) =>
    [',', '}', '\n'].some((end) => text.includes(`name: ${quote}${title}${quote}${end}`)),
  );
}
