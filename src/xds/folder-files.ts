/**
 * The files of a configuration folder, read again only when they changed, in slices. Names that begin with a dot are left out:
 * they are editors' and Kubernetes' (`..data`) scaffolding. Bounded in number.
 *
 * I1: a hurried scan believes nothing that a writer who is not done could have left: a file that is gone or broken, that has lost
 *     an object, or was written this very moment stays as it was, and `settled` is false.
 */
import { lstatSync, readFileSync, statSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import { type Diagnostic, hasErrors } from '../base/diagnostics.ts';
import { errorCode, errorText } from '../base/errors.ts';
import { type Shared, sharedTexts } from '../base/shared.ts';
import { resultInSlices } from '../base/slices.ts';
import { folderDiagnostic } from './codes.ts';
import { asMeshConfig, type ConfigFile, configFileSteps, keepAll, losesObjects } from './config-file.ts';

export interface FolderScan {
  /** By path, in order of the path. */
  readonly files: ReadonlyMap<string, ConfigFile>;
  readonly diagnostics: readonly Diagnostic[];
  /** False: as the scan before. */
  readonly changed: boolean;
  /** False: something is to be looked at once more, without haste. */
  readonly settled: boolean;
}

export interface ScanOptions {
  /** Paths that may have changed; undefined: any. */
  readonly changed?: ReadonlySet<string> | undefined;
  /** Whoever writes may not be done. */
  readonly hurried?: boolean;
}

interface Known {
  /** Size, inode and time of change: equal means unread. */
  readonly stamp: string;
  readonly text: string | undefined;
  readonly file: ConfigFile;
}

const maxFiles = 20_000;
/** Names that are looked at one by one. */
const fewNames = 16;
const smallBytes = 256 * 1024;
/** Who writes on and on leaves less between two writes. */
const restMs = 5;

export class FolderFiles {
  readonly #directory: string | undefined;
  readonly #meshConfig: string | undefined;
  readonly #clock: Clock;
  #known = new Map<string, Known>();
  /** Of the last scan. */
  #files: ReadonlyMap<string, ConfigFile> = new Map();
  #tooMany: readonly Diagnostic[] = [];
  #listed = false;

  /** `meshConfig`: a file beside those of the folder, or all there is. */
  constructor(directory: string | undefined, clock: Clock, meshConfig?: string) {
    this.#directory = directory;
    this.#clock = clock;
    this.#meshConfig = meshConfig;
  }

  /** Rejects when the folder itself cannot be listed. One scan at a time. */
  async scan({ changed: named, hurried = false }: ScanOptions = {}): Promise<FolderScan> {
    const before = this.#known;
    const few = named === undefined || !this.#listed ? undefined : this.#filesAmong(named);
    const only = few !== undefined;
    const names = few ?? (await this.#list());
    const next = only ? new Map(before) : new Map<string, Known>();
    const texts = sharedTexts();
    let settled = true;
    // Whether it has the names there were before, each in its place.
    let isInPlace = only;
    for (const name of names) {
      const known = before.get(name);
      const read = await this.#read(name, known, hurried, only, texts);
      if (read === 'unsettled') settled = false;
      else if (read === 'gone' || known === undefined) isInPlace = false;
      if (read === 'gone') next.delete(name);
      else if (read !== 'unsettled') next.set(name, read);
      else if (known !== undefined) next.set(name, known);
    }
    if (hurried && !only) {
      for (const [name, known] of before) {
        if (next.has(name)) continue;
        settled = false;
        next.set(name, known);
      }
    }
    // What is new, and what stayed though it is gone, goes to its place.
    const inOrder = (only ? isInPlace : settled)
      ? next
      : new Map(
          [...next].sort(
            ([a], [b]) => Number(b === this.#meshConfig) - Number(a === this.#meshConfig) || (a < b ? -1 : 1),
          ),
        );
    // Where every name is in its place, only those that were looked at can be other files.
    const looked = isInPlace ? names : inOrder.keys();
    const files = new Map<string, ConfigFile>(isInPlace ? this.#files : undefined);
    let changed = inOrder.size !== before.size;
    for (const name of looked) {
      const file = inOrder.get(name)?.file;
      if (file === undefined) continue;
      files.set(name, file);
      if (before.get(name)?.file !== file) changed = true;
    }
    this.#known = inOrder;
    this.#files = files;
    return { files, diagnostics: this.#tooMany, changed, settled };
  }

  /** Those of the names that are, or were, files of ours; undefined: one may be a directory, or a link to one. */
  #filesAmong(named: ReadonlySet<string>): readonly string[] | undefined {
    const found: string[] = [];
    if (named.size > fewNames) return undefined;
    for (const name of named) {
      if (this.#known.has(name)) found.push(name);
      else {
        const stats = lstatSync(name, { throwIfNoEntry: false });
        if (stats === undefined ? isFolderOfOurs(name, this.#known) : !stats.isFile()) return undefined;
        if (stats !== undefined && this.#directory !== undefined && isConfigFile(this.#directory, name))
          found.push(name);
      }
    }
    return found;
  }

  async #list(): Promise<readonly string[]> {
    const directory = this.#directory;
    const listed = directory === undefined ? [] : await listFiles(directory);
    const names = listed.filter((name) => name !== this.#meshConfig);
    const position = { file: directory ?? '', line: 1, column: 1 };
    const message = `${names.length} files, ${maxFiles} are read`;
    this.#tooMany = names.length > maxFiles ? [folderDiagnostic('FOLDER_TOO_LARGE', message, position)] : [];
    this.#listed = true;
    const extra = this.#meshConfig === undefined ? [] : [this.#meshConfig];
    return [...extra, ...names.slice(0, maxFiles)];
  }

  /** `atOnce`: without waiting for turns of the event loop, which a busy proxy has few of; for a few small files. */
  async #read(
    name: string,
    known: Known | undefined,
    hurried: boolean,
    atOnce: boolean,
    texts: Shared<string>,
  ): Promise<Known | 'gone' | 'unsettled'> {
    try {
      const { size, ino, mtimeMs, ctimeMs } = atOnce ? statSync(name) : await stat(name);
      const stamp = `${size} ${ino} ${mtimeMs} ${ctimeMs}`;
      if (known?.stamp === stamp) return known;
      if (hurried && Math.abs(this.#clock.wallMs() - mtimeMs) < restMs) return 'unsettled';
      const text = atOnce && size <= smallBytes ? readFileSync(name, 'utf8') : await readFile(name, 'utf8');
      if (known !== undefined && known.text === text) return { ...known, stamp };
      const asRead = name === this.#meshConfig ? asMeshConfig : undefined;
      const steps = configFileSteps(text, name, known?.file, texts, asRead);
      const file = await resultInSlices(steps, { clock: this.#clock, sliceMs: folderSliceMs });
      const doubtful = hasErrors(file.diagnostics) || (known !== undefined && losesObjects(known.file, file));
      return hurried && doubtful ? 'unsettled' : { stamp, text, file };
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      if (hurried) return 'unsettled';
      if (errorCode(error) === 'ENOENT' && name !== this.#meshConfig) return 'gone';
      const stamp = `unreadable ${errorCode(error)}`;
      if (known?.stamp === stamp) return known;
      const position = { file: name, line: 1, column: 1 };
      const problem = folderDiagnostic('FILE_UNREADABLE', errorText(error), position);
      return { stamp, text: undefined, file: keepAll(name, known?.file, [problem]) };
    }
  }
}

/**
 * How long reading or compiling a folder holds the thread at a time: longer than other work in slices, for in a busy proxy
 * every turn that is waited for is one of many requests.
 */
export const folderSliceMs = 3;

async function listFiles(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((name) => isConfigFile(directory, name))
    .sort();
}

function isConfigFile(directory: string, name: string): boolean {
  if (!/\.(?:ya?ml|json)$/i.test(name)) return false;
  return !path
    .relative(directory, name)
    .split(path.sep)
    .some((part) => part.startsWith('.'));
}

/** Something in it was read. */
function isFolderOfOurs(name: string, known: ReadonlyMap<string, unknown>): boolean {
  for (const file of known.keys()) if (file.startsWith(`${name}${path.sep}`)) return true;
  return false;
}
