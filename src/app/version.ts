/** The version of this build, from package.json: the same file beside `src/` and beside `dist/`. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

export const version: string = readVersion(import.meta.dirname);

function readVersion(from: string): string {
  for (let folder = from; folder !== path.dirname(folder); folder = path.dirname(folder)) {
    const file = path.join(folder, 'package.json');
    if (!existsSync(file)) continue;
    const found = JSON.parse(readFileSync(file, 'utf8')) as { readonly name?: string; readonly version?: string };
    if (found.name === 'ambit' && found.version !== undefined) return found.version;
  }
  return 'unknown';
}
