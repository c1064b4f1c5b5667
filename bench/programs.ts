/** Ambit's programs as they are shipped. As TypeScript each process would also hold Node's type stripper and more, 60 MiB. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';

const root = path.resolve(import.meta.dirname, '..');
const folder = path.join(root, '.cache/bench');

/** Where `compilePrograms` puts them. */
export const compiledPrograms = path.join(folder, 'bin');

/** As `npm run compile`, into a folder of the bench's own. Throws with what does not fit together. */
export function compilePrograms(): void {
  const argv = [path.join(root, 'bin/setup/programs.mjs'), folder];
  const { status, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`Ambit's programs cannot be built:\n${stderr}`);
}
