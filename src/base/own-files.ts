/**
 * Where this build has the files that it starts as programs or threads of their own, and the package it belongs to. As
 * TypeScript these are the sources; when built, modules stand together in files that say nothing of where they came from, so
 * both folders are looked for once, upwards from the file that this came to stand in.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const suffix = path.extname(import.meta.filename);
const build = above((folder) => (existsSync(path.join(folder, `bin/ztunnel${suffix}`)) ? folder : undefined)) ?? '';
const ownPackage = above(readOwnPackage);

/** Of this build, from package.json. */
export const version: string = ownPackage?.version ?? 'unknown';

/** Absolute path of a source by its path in the repository without a suffix, `bin/ztunnel`. */
export function ownFile(source: string): string {
  return path.join(build, `${source}${suffix}`);
}

/** Absolute path of something that is not built, `examples/bookinfo`. */
export function packageFile(file: string): string {
  return path.join(ownPackage?.folder ?? '', file);
}

/** What `look` first finds, from this file's folder upwards. */
function above<T>(look: (folder: string) => T | undefined): T | undefined {
  for (let folder = import.meta.dirname; ; folder = path.dirname(folder)) {
    const found = look(folder);
    if (found !== undefined || folder === path.dirname(folder)) return found;
  }
}

function readOwnPackage(folder: string): { readonly folder: string; readonly version?: string } | undefined {
  const file = path.join(folder, 'package.json');
  if (!existsSync(file)) return undefined;
  const { name, version } = JSON.parse(readFileSync(file, 'utf8'));
  return name === 'ambit' ? { folder, version } : undefined;
}
