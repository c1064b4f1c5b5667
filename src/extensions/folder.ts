/**
 * The folder of extensions: where a module is, and what has changed since the last look. Names in it are the policy
 * objects' to choose, so none leads out of it. Bounded in number; a ConfigMap's links are followed.
 */
import { readdirSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { errorText } from '../base/errors.ts';

const maxFiles = 2_000;
const modules = /\.(?:ts|mts|js|mjs|cjs|cts|json|wasm)$/;

/** Real paths of files with what tells one version from another. */
export type FolderState = ReadonlyMap<string, string>;

export interface ModulePlace {
  readonly moduleUrl: string;
  readonly folderUrl: string;
}

/** A text says why there is none. */
export function locateModule(directory: string | undefined, module: string): ModulePlace | string {
  if (directory === undefined) return 'no folder of extensions is set (AMBIT_EXTENSIONS)';
  try {
    const folder = realpathSync(directory);
    const file = realpathSync(path.join(folder, module));
    if (!file.startsWith(folder + path.sep)) return `${module} lies outside the folder of extensions`;
    if (!statSync(file).isFile()) return `${module} is not a file`;
    return { moduleUrl: pathToFileURL(file).href, folderUrl: pathToFileURL(folder + path.sep).href };
  } catch (error) {
    return `${module}: ${errorText(error)}`;
  }
}

/** Empty when the folder cannot be read; packages' own files are not looked at. */
export function readFolderState(directory: string): FolderState {
  const state = new Map<string, string>();
  try {
    for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
      if (state.size >= maxFiles) break;
      if (!modules.test(name) || /(?:^|[/\\])(?:\.|node_modules[/\\])/.test(name)) continue;
      const stamp = stampOf(path.join(directory, name));
      if (stamp !== undefined) state.set(...stamp);
    }
  } catch {
    // It may come back: whoever looks again will see.
    return new Map();
  }
  return state;
}

/** Whether any of the files is another than it was. `files` empty: whether anything is. */
export function hasChanged(files: readonly string[], before: FolderState, now: FolderState): boolean {
  if (files.length > 0) return files.some((file) => before.get(file) !== now.get(file));
  return before.size !== now.size || [...now].some(([file, stamp]) => before.get(file) !== stamp);
}

function stampOf(file: string): readonly [string, string] | undefined {
  try {
    const real = realpathSync(file);
    const { mtimeMs, size, ino, ctimeMs } = statSync(real);
    return [real, `${mtimeMs} ${ctimeMs} ${size} ${ino}`];
  } catch {
    // It went away between listing and looking.
    return undefined;
  }
}
