/** How one program of ours starts another: as its first line says, so that what Node is told stands in one place. */
import { readFileSync } from 'node:fs';
import process from 'node:process';

const opening = '#!/usr/bin/env -S ';

/** Words up to the program's own arguments; `env` sets what the first line sets, and becomes this very Node. */
export function programCommand(script: string): readonly [string, ...string[]] {
  const [first = ''] = readFileSync(script, 'utf8').split('\n', 1);
  if (!first.startsWith(opening)) throw new TypeError(`${script} does not open with ${opening}`);
  const words = first.slice(opening.length).split(' ');
  return ['env', ...words.map((word) => (word === 'node' ? process.execPath : word)), script];
}
