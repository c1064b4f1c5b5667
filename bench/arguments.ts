/** The bench's command line: what is asked for, or what is wrong with it and what there is instead. */
import { accessSync, constants, mkdirSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { errorText } from '../src/base/errors.ts';

export interface RunOptions {
  readonly quick: boolean;
  /** Keys of systems and loads; undefined is all of them. */
  readonly only?: ReadonlySet<string>;
  readonly load?: ReadonlySet<string>;
  readonly seconds: number;
  readonly repeats: number;
  readonly json?: string;
  readonly markdown?: string;
  readonly svg?: string;
  readonly check: boolean;
}

export type Command =
  | { readonly kind: 'run'; readonly options: RunOptions }
  | { readonly kind: 'list' | 'help' }
  | { readonly kind: 'wrong'; readonly message: string };

/** What there is to choose from. */
export interface Choice {
  readonly systems: readonly string[];
  readonly loads: readonly string[];
  /** Of `--quick`, unless `--only` names others. */
  readonly quickSystems: readonly string[];
  readonly quickLoads: readonly string[];
}

export const usage = `usage: npm run bench [-- OPTION ...]       Ambit and its peers, in turns, under the same loads
       npm run bench -- micro [OPTION …]   the hot decisions, one by one
       npm run bench -- scale [OPTION …]   a ztunnel whose control plane has a large mesh, against its targets
       npm run bench -- routes [OPTION …]  a waypoint with many routes, one of which changes under load, against its targets
       npm run bench -- growth [OPTION …]  cost against the number of workloads, policies, connections
       npm run bench -- pods [OPTION …]    many pods of one node
  --quick             few loads and systems, briefly: under 3 minutes
  --only SYSTEM,…     these systems          --load LOAD,…       these loads
  --seconds N         of each turn (3)       --repeats N         turns that count (5)
  --json FILE         everything measured    --markdown FILE     the tables as a page
  --svg FOLDER        a chart for each load
  --check             exit 1 for errors and for targets missed by far
  --list              systems and loads      --help              this
`;

const limits = { seconds: 60, repeats: 50 } as const;

export function readCommand(argv: readonly string[], choice: Choice): Command {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true },
        load: { type: 'string', multiple: true },
        seconds: { type: 'string' },
        repeats: { type: 'string' },
        json: { type: 'string' },
        markdown: { type: 'string' },
        svg: { type: 'string' },
        check: { type: 'boolean', default: false },
        list: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help === true) return { kind: 'help' };
    if (values.list === true) return { kind: 'list' };
    const { quick, check, json, markdown, svg } = values;
    const only = readKeys('only', values.only, choice.systems) ?? (quick ? new Set(choice.quickSystems) : undefined);
    const load = readKeys('load', values.load, choice.loads) ?? (quick ? new Set(choice.quickLoads) : undefined);
    const options: RunOptions = {
      quick,
      check,
      seconds: readCount('seconds', values.seconds, quick ? 1 : 3),
      repeats: readCount('repeats', values.repeats, quick ? 3 : 5),
      ...(only === undefined ? {} : { only }),
      ...(load === undefined ? {} : { load }),
      ...(json === undefined ? {} : { json: writable('json', json) }),
      ...(markdown === undefined ? {} : { markdown: writable('markdown', markdown) }),
      ...(svg === undefined ? {} : { svg: writableFolder('svg', svg) }),
    };
    return { kind: 'run', options };
  } catch (error) {
    return { kind: 'wrong', message: errorText(error) };
  }
}

function readKeys(
  name: string,
  words: readonly string[] | undefined,
  known: readonly string[],
): ReadonlySet<string> | undefined {
  if (words === undefined) return undefined;
  const keys = words.flatMap((word) => word.split(',')).filter((key) => key !== '');
  const unknown = keys.filter((key) => !known.includes(key));
  if (unknown.length > 0 || keys.length === 0) {
    throw new Error(`--${name}: ${unknown.join(', ') || 'nothing'} is not one of ${known.join(', ')}`);
  }
  return new Set(keys);
}

function readCount(name: keyof typeof limits, word: string | undefined, otherwise: number): number {
  const value = word === undefined ? otherwise : Number(word);
  if (Number.isInteger(value) && value >= 1 && value <= limits[name]) return value;
  throw new Error(`--${name}: ${word} is not a whole number from 1 to ${limits[name]}`);
}

/** Said before the run rather than after it. */
function writable(name: string, file: string): string {
  const folder = path.dirname(path.resolve(file));
  try {
    accessSync(folder, constants.W_OK);
    return file;
  } catch {
    throw new Error(`--${name} ${file}: cannot write into ${folder}`);
  }
}

function writableFolder(name: string, folder: string): string {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new Error(`--${name} ${folder}: ${errorText(error)}`);
  }
  return writable(name, path.join(folder, 'x')) && folder;
}
