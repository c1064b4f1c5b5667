/**
 * The files of a configuration folder, read again only when they changed. Names that begin with a dot are left out: they
 * are editors' and Kubernetes' (`..data`) scaffolding. Bounded in number.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Diagnostic } from '../base/diagnostics.ts';
import { errorCode, errorText } from '../base/errors.ts';
import { folderDiagnostic } from './codes.ts';
import { asMeshConfig, type ConfigFile, keepAll, readConfigFile } from './config-file.ts';

export interface FolderScan {
  /** By path, in order of the path. */
  readonly files: ReadonlyMap<string, ConfigFile>;
  readonly diagnostics: readonly Diagnostic[];
  /** False: as the scan before. */
  readonly changed: boolean;
}

interface Known {
  /** Size, inode and time of change: equal means unread. */
  readonly stamp: string;
  readonly text: string | undefined;
  readonly file: ConfigFile;
}

const maxFiles = 20_000;

export class FolderFiles {
  readonly #directory: string | undefined;
  readonly #meshConfig: string | undefined;
  #known = new Map<string, Known>();

  /** `meshConfig`: a file beside those of the folder, or all there is. */
  constructor(directory: string | undefined, meshConfig?: string) {
    this.#directory = directory;
    this.#meshConfig = meshConfig;
  }

  /** Rejects when the folder itself cannot be listed. One scan at a time. */
  async scan(): Promise<FolderScan> {
    const directory = this.#directory;
    const listed = directory === undefined ? [] : await listFiles(directory);
    const names = listed.filter((name) => name !== this.#meshConfig);
    const diagnostics: Diagnostic[] = [];
    if (names.length > maxFiles) {
      const position = { file: directory ?? '', line: 1, column: 1 };
      diagnostics.push(folderDiagnostic('FOLDER_TOO_LARGE', `${names.length} files, ${maxFiles} are read`, position));
    }
    const next = new Map<string, Known>();
    const extra = this.#meshConfig === undefined ? [] : [this.#meshConfig];
    for (const name of [...extra, ...names.slice(0, maxFiles)]) {
      const known = await this.#read(name, this.#known.get(name));
      if (known !== undefined) next.set(name, known);
    }
    const changed =
      next.size !== this.#known.size || [...next].some(([name, { file }]) => this.#known.get(name)?.file !== file);
    this.#known = next;
    return { files: new Map([...next].map(([name, { file }]) => [name, file])), diagnostics, changed };
  }

  /** Undefined: the file is gone. */
  async #read(name: string, known: Known | undefined): Promise<Known | undefined> {
    try {
      const { size, ino, mtimeMs, ctimeMs } = await stat(name);
      const stamp = `${size} ${ino} ${mtimeMs} ${ctimeMs}`;
      if (known?.stamp === stamp) return known;
      const text = await readFile(name, 'utf8');
      if (known !== undefined && known.text === text) return { ...known, stamp };
      const asRead = name === this.#meshConfig ? asMeshConfig : undefined;
      return { stamp, text, file: readConfigFile(text, name, known?.file, asRead) };
    } catch (error) {
      if (errorCode(error) === 'ENOENT' && name !== this.#meshConfig) return undefined;
      if (errorCode(error) === undefined) throw error;
      const stamp = `unreadable ${errorCode(error)}`;
      if (known?.stamp === stamp) return known;
      const position = { file: name, line: 1, column: 1 };
      const problem = folderDiagnostic('FILE_UNREADABLE', errorText(error), position);
      return { stamp, text: undefined, file: keepAll(name, known?.file, [problem]) };
    }
  }
}

async function listFiles(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => !entry.isDirectory() && /\.(?:ya?ml|json)$/i.test(entry.name))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter(
      (name) =>
        !path
          .relative(directory, name)
          .split(path.sep)
          .some((part) => part.startsWith('.')),
    )
    .sort();
}
