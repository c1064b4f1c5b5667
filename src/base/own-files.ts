/**
 * Where this build has the files that it starts as programs or threads of their own, and the package it belongs to. As
 * TypeScript these are the sources; when built, modules stand together in files that say nothing of where they came from, so
 * both folders are looked for once, upwards from the file that this came to stand in.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const suffix = path.extname(import.meta.filename);
const build = above((folder) => existsSync(path.join(folder, `bin/ztunnel${suffix}`)));
const ownPackage = above((folder) => readPackage(folder)?.name === 'ambit');

/** Of this build, from package.json. */
export const version: string = (ownPackage && readPackage(ownPackage)?.version) ?? 'unknown';

/** Absolute path of a source by its path in the repository without a suffix, `bin/ztunnel`. */
export function ownFile(source: string): string {
  return path.join(build ?? '', `${source}${suffix}`);
}

/** Absolute path of something that is not built, `examples/bookinfo`. */
export function packageFile(file: string): string {
  return path.join(ownPackage ?? '', file);
}

function above(isIt: (folder: string) => boolean): string | undefined {
  for (let folder = import.meta.dirname; ; folder = path.dirname(folder)) {
    if (isIt(folder)) return folder;
    if (folder === path.dirname(folder)) return undefined;
  }
}

function readPackage(folder: string): { readonly name?: string; readonly version?: string } | undefined {
  const file = path.join(folder, 'package.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}
