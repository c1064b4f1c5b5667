/** Ambit's programs as they are shipped: compiled. As TypeScript each process would also hold Node's type stripper, 15 MiB. */
import { spawnSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

const root = path.resolve(import.meta.dirname, '..');
const folder = path.join(root, '.cache/bench');

/** Where `compilePrograms` puts them. */
export const compiledPrograms = path.join(folder, 'bin');

/** As `npm run compile`, into a folder of the bench's own. Throws with what the compiler said. */
export function compilePrograms(): void {
  rmSync(folder, { recursive: true, force: true });
  const compiler = path.join(root, 'node_modules/typescript/bin/tsc');
  const argv = [compiler, '-p', path.join(root, 'tsconfig.build.json'), '--outDir', folder];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`Ambit does not compile:\n${stdout}${stderr}`);
  cpSync(path.join(root, 'src/proto/gen'), path.join(folder, 'src/proto/gen'), { recursive: true });
}
