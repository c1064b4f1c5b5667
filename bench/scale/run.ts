/**
 * `npm run bench -- scale`: a ztunnel by itself, compiled and in dedicated mode, whose control plane has a large mesh: time
 * until the first state is in force, memory, how long its event loop was held, and what one changed workload costs.
 *
 * I1: both processes end with this one; nothing needs privileges, and all sockets are on loopback.
 */
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { errorText } from '../../src/base/errors.ts';
import { compilePrograms } from '../programs.ts';
import { measureScale, type ScaleFigures } from './measure.ts';
import type { MeshSize } from './mesh.ts';

const usage = `usage: npm run bench -- scale [OPTION …]
  --workloads N    (100000)
  --services N     (20000)
  --policies N     of ten rules each (1000)
  --repeats N      the median of each figure counts (1)
  --json FILE      everything measured
  --help           this
`;

interface Options {
  readonly size: MeshSize;
  readonly repeats: number;
  readonly json: string | undefined;
}

/** What the mesh of 100 000 workloads, 20 000 services and 1000 policies is to cost at most. */
const targets: readonly { readonly key: keyof ScaleFigures; readonly name: string; readonly limit: number }[] = [
  { key: 'startSeconds', name: 'start until the mesh is asked for, s', limit: Number.POSITIVE_INFINITY },
  { key: 'firstStateSeconds', name: 'answer until the first state is in force, s', limit: 8 },
  { key: 'cpuSeconds', name: 'CPU for that, s', limit: Number.POSITIVE_INFINITY },
  { key: 'settledMb', name: 'settled RSS, MB', limit: 220 },
  { key: 'peakMb', name: 'peak RSS, MB', limit: 500 },
  { key: 'delayP99Ms', name: 'turn of the event loop meanwhile, p99, ms', limit: 5 },
  { key: 'delayMaxMs', name: 'turn of the event loop meanwhile, longest, ms', limit: 50 },
  { key: 'changeMs', name: 'one changed workload, pushed until acknowledged, ms', limit: Number.POSITIVE_INFINITY },
  { key: 'changeCpuMs', name: 'CPU for that, with everything of the stream, ms', limit: 1 },
];

/** `argv` without the program's name. The value is the exit code: 1 when a target is missed. */
export async function main(argv: readonly string[]): Promise<number> {
  const options = readOptions(argv);
  if (typeof options === 'string') {
    const asked = options === 'help';
    (asked ? process.stdout : process.stderr).write(asked ? usage : `bench: ${options}\n${usage}`);
    return asked ? 0 : 2;
  }
  compilePrograms();
  const runs: ScaleFigures[] = [];
  for (let i = 0; i < options.repeats; i++) runs.push(await measureScale(options.size, progress));
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(runs, undefined, 2)}\n`);
  const { workloads, services, policies } = options.size;
  process.stdout.write(`${workloads} workloads, ${services} services, ${policies} policies of ten rules\n`);
  let missed = 0;
  for (const { key, name, limit } of targets) {
    const value = median(runs.map((run) => run[key]));
    const verdict = !Number.isFinite(limit) ? '' : value <= limit ? `met (${limit})` : `MISSED (${limit})`;
    if (verdict.startsWith('MISSED')) missed++;
    process.stdout.write(`  ${name.padEnd(52)} ${value.toFixed(2).padStart(9)}  ${verdict}\n`);
  }
  return missed === 0 ? 0 : 1;
}

function progress(text: string): void {
  process.stderr.write(`… ${text}\n`);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/** A text: what is wrong, or `help`. */
function readOptions(argv: readonly string[]): Options | string {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        workloads: { type: 'string', default: '100000' },
        services: { type: 'string', default: '20000' },
        policies: { type: 'string', default: '1000' },
        repeats: { type: 'string', default: '1' },
        json: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help === true) return 'help';
    const numbers = ['workloads', 'services', 'policies', 'repeats'] as const;
    const wrong = numbers.find((name) => !/^[1-9][0-9]{0,6}$/.test(values[name]));
    if (wrong !== undefined) return `--${wrong}: a whole number from 1`;
    const [workloads = 0, services = 0, policies = 0, repeats = 0] = numbers.map((name) => Number(values[name]));
    return { size: { workloads, services, policies }, repeats, json: values.json };
  } catch (error) {
    return errorText(error);
  }
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
