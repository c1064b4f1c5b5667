/**
 * Micro benches of the hot decisions: `node bench/micro/run.ts [--only GROUP] [--json FILE] [--brief]`. Each has a
 * budget, scaled by the speed of this machine at this moment (`calibration`), and is over it from twice of it on.
 */
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { errorText } from '../../src/base/errors.ts';
import { balanceCases } from './balance-cases.ts';
import { brief, type Cost, calibration, measure, referenceNs, thorough } from './measure.ts';
import { meshCases } from './mesh-cases.ts';
import type { MicroCase } from './micro-case.ts';
import { policyCases } from './policy-cases.ts';
import { routeCases } from './route-cases.ts';
import { telemetryCases } from './telemetry-cases.ts';
import { waypointTelemetryCases } from './waypoint-telemetry-cases.ts';

export const microCases: readonly MicroCase[] = [
  ...meshCases,
  ...balanceCases,
  ...policyCases,
  ...routeCases,
  ...telemetryCases,
  ...waypointTelemetryCases,
];

export interface MicroResult extends Cost {
  readonly group: string;
  readonly size: number;
  readonly unit: string | undefined;
  /** At the speed this machine had around the measurement. */
  readonly budgetNs: number;
  /** Of the budget; 1 is all of it. */
  readonly used: number;
}

/** Machines are noisy, even when only their CPU time counts. */
const margin = 2;

/** `argv` without the program's name. The value is the exit code: 1 when a budget is exceeded, 2 for bad arguments. */
export async function main(argv: readonly string[]): Promise<number> {
  const options = readOptions(argv);
  if (typeof options === 'string') {
    process.stderr.write(`bench/micro: ${options}\n`);
    return 2;
  }
  const results: MicroResult[] = [];
  for (const one of options.cases) {
    if (process.stderr.isTTY) process.stderr.write(`… ${one.group} ${one.size}\n`);
    results.push(run(one, options.brief));
  }
  printTable(results, process.stdout);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(results, undefined, 2)}\n`);
  return results.some(isOver) ? 1 : 0;
}

export function run(one: MicroCase, briefly: boolean): MicroResult {
  const options = briefly ? brief : thorough;
  const operation = one.prepare();
  const before = measure(calibration(), options).nsPerCall;
  const cost = measure(operation, options);
  const after = measure(calibration(), options).nsPerCall;
  const budgetNs = (one.budgetNs * (before + after)) / 2 / referenceNs;
  const { group, size, unit } = one;
  return { group, size, unit, ...cost, budgetNs, used: cost.nsPerCall / budgetNs };
}

export function isOver(result: MicroResult): boolean {
  return result.used > margin;
}

interface Options {
  readonly cases: readonly MicroCase[];
  readonly brief: boolean;
  readonly json: string | undefined;
}

/** A text: what is wrong. */
function readOptions(argv: readonly string[]): Options | string {
  const groups = [...new Set(microCases.map(({ group }) => group))];
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        only: { type: 'string', multiple: true },
        brief: { type: 'boolean', default: false },
        json: { type: 'string' },
      },
    });
    const unknown = values.only?.find((name) => !groups.includes(name));
    if (unknown !== undefined) return `--only ${unknown}: one of ${groups.join(', ')}`;
    const cases = microCases.filter(({ group }) => values.only?.includes(group) ?? true);
    return { cases, brief: values.brief, json: values.json };
  } catch (error) {
    return errorText(error);
  }
}

const columns = ['', 'µs/call', '±', 'bytes/call', 'budget µs', 'used'];

function printTable(results: readonly MicroResult[], output: { write(text: string): unknown }): void {
  const lines = results.map((result) => [
    result.unit === undefined ? result.group : `${result.group}, ${result.size.toLocaleString('en')} ${result.unit}`,
    (result.nsPerCall / 1000).toFixed(2),
    `${(result.spread * 100).toFixed(0)} %`,
    result.bytesPerCall.toFixed(0),
    (result.budgetNs / 1000).toFixed(1),
    `${(result.used * 100).toFixed(0)} %${isOver(result) ? '  OVER' : result.used > 1 ? '  slow' : ''}`,
  ]);
  const widths = columns.map((name, i) => Math.max(name.length, ...lines.map((line) => line[i]?.length ?? 0)));
  for (const line of [columns, ...lines]) {
    const cells = line.map((cell, i) =>
      i === 0 || i === 5 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
    );
    output.write(`  ${cells.join('  ').trimEnd()}\n`);
  }
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
