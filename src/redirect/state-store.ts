/**
 * What was applied, kept outside the process: one file per program and network namespace, by default below /run/ambit, which
 * lives as long as the kernel state it describes. It holds the parameters, the steps, the members and former settings.
 * I1: the file is written before the machine is changed, so that a crash half-way leaves a record of what to undo.
 */
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AmbitError, errorCode } from '../base/errors.ts';
import type { BackendKind } from './iptables-backend.ts';
import type { Member, ProgramName, ProgramParameters } from './parameters.ts';
import type { Step } from './step.ts';

export const defaultStateDirectory = '/run/ambit/redirect';

export interface RedirectState {
  readonly version: 1;
  readonly program: ProgramName;
  readonly parameters: ProgramParameters;
  readonly backend: BackendKind;
  readonly steps: readonly Step[];
  readonly members: readonly Member[];
  /** Steps of an earlier plan that a change was about to withdraw; left here when the process died over it. */
  readonly leftover: readonly Step[];
  readonly saved: Readonly<Record<string, string>>;
}

export interface StateStore {
  load(program: ProgramName): Promise<RedirectState | undefined>;
  save(state: RedirectState): Promise<void>;
  clear(program: ProgramName): Promise<void>;
  /** Where the record is, for messages. */
  location(program: ProgramName): string;
}

/** Files in `directory` for the namespace with this id (`networkNamespaceId`). Errors carry `REDIRECT_STATE`. */
export function createFileStateStore(directory: string, namespaceId: string): StateStore {
  const pathOf = (program: ProgramName) => join(directory, `${program}-${namespaceId}.json`);
  return {
    location: pathOf,
    async load(program) {
      const path = pathOf(program);
      try {
        return parseState(await readFile(path, 'utf8'), program, path);
      } catch (error) {
        if (errorCode(error) === 'ENOENT') return undefined;
        throw stateError(`cannot read the record ${path}`, error);
      }
    },
    async save(state) {
      const path = pathOf(state.program);
      try {
        await mkdir(directory, { recursive: true, mode: 0o700 });
        await writeFile(`${path}.new`, `${JSON.stringify(state)}\n`, { mode: 0o600 });
        await rename(`${path}.new`, path);
      } catch (error) {
        throw stateError(`cannot write the record ${path}; name a writable directory with --state-dir`, error);
      }
    },
    clear: (program) => rm(pathOf(program), { force: true }),
  };
}

/** Inode of the namespace that the file stands for; this process' own by default. */
export async function networkNamespaceId(path = '/proc/self/ns/net'): Promise<string> {
  try {
    return String((await stat(path)).ino);
  } catch (error) {
    throw stateError(`${path} is no network namespace`, error);
  }
}

function parseState(text: string, program: ProgramName, path: string): RedirectState {
  const state = JSON.parse(text) as Partial<RedirectState> | null;
  const sound =
    state?.version === 1 && state.program === program && Array.isArray(state.steps) && Array.isArray(state.members);
  if (sound) return state as RedirectState;
  throw new TypeError(`${path} is not a record of program ${program}; delete it to start afresh`);
}

function stateError(message: string, cause: unknown): AmbitError {
  return new AmbitError(message, { code: 'REDIRECT_STATE', origin: 'local', cause });
}
