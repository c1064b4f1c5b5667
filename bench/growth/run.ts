/**
 * `npm run bench -- growth`: cost per request and memory of Ambit's ztunnels against the number of workloads, services,
 * endpoints, policies, connections and streams, and what starting with a mesh of some size takes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { errorText } from '../../src/base/errors.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { enterLab } from '../../src/lab/enter.ts';
import { openWorld } from '../world.ts';
import { warmUp } from './cost.ts';
import type { Curve } from './curve.ts';
import { pathCurves } from './path-curves.ts';
import { curveCharts, curveTable, isFlagged } from './report.ts';
import { startCurve } from './start-curve.ts';
import { type WalkedCurve, walk } from './walk.ts';

const curves: readonly Curve[] = [startCurve, ...pathCurves];

const usage = `usage: npm run bench -- growth [OPTION …]
  --only CURVE,…   of ${curves.map(({ key }) => key).join(', ')}
  --quick          fewer points, briefly
  --seconds N      of each load (3, with --quick 1)
  --json FILE      everything measured
  --svg FOLDER     a chart for each curve
  --help           this
`;

interface Options {
  readonly curves: readonly Curve[];
  readonly quick: boolean;
  readonly seconds: number;
  readonly json: string | undefined;
  readonly svg: string | undefined;
}

/** `argv` without the program's name. The value is the exit code: 1 when something could not be measured. */
export async function main(argv: readonly string[]): Promise<number> {
  const options = readOptions(argv);
  if (options === 'help') {
    process.stdout.write(usage);
    return 0;
  }
  if (typeof options === 'string') {
    process.stderr.write(`bench: ${options}\n${usage}`);
    return 2;
  }
  const entry = await enterLab();
  if (entry.kind === 'unavailable') {
    process.stderr.write(`bench: no network namespaces here: ${entry.cause}\n       ${entry.remedy}\n`);
    return 1;
  }
  const walked = await walkAll(options);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(walked, undefined, 2)}\n`);
  if (options.svg !== undefined) {
    mkdirSync(options.svg, { recursive: true });
    for (const { fileName, svg } of walked.flatMap(curveCharts)) writeFileSync(path.join(options.svg, fileName), svg);
  }
  const flagged = walked.flatMap(({ key, series }) => series.filter(isFlagged).map(({ name }) => `${key}: ${name}`));
  for (const each of flagged) process.stdout.write(`worse than logarithmic: ${each}\n`);
  return walked.some(({ failures }) => failures.length > 0) ? 1 : 0;
}

async function walkAll({ curves: chosen, quick, seconds }: Options): Promise<readonly WalkedCurve[]> {
  const progress = (text: string) => process.stderr.write(`… ${text}\n`);
  const world = await openWorld({
    only: new Set(['none', 'ztunnel-pair']),
    logger: silentLogger,
    onProgress: progress,
  });
  try {
    const walked: WalkedCurve[] = [];
    if (chosen.some(({ figures }) => figures.some(({ onPath }) => onPath))) await warmUp({ world, seconds, progress });
    for (const curve of chosen) {
      const points = quick ? curve.quickPoints : curve.points;
      const done = await walk(curve, points, { world, seconds, progress });
      process.stdout.write(`${curveTable(done)}\n`);
      walked.push(done);
    }
    return walked;
  } finally {
    await world.close();
  }
}

/** Another text than `help`: what is wrong. */
function readOptions(argv: readonly string[]): Options | string {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        only: { type: 'string', multiple: true },
        quick: { type: 'boolean', default: false },
        seconds: { type: 'string' },
        json: { type: 'string' },
        svg: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help === true) return 'help';
    const only = values.only?.flatMap((word) => word.split(','));
    const unknown = only?.filter((word) => curves.every(({ key }) => key !== word)) ?? [];
    if (unknown.length > 0) return `--only: no curve ${unknown.join(', ')}`;
    const seconds = Number(values.seconds ?? (values.quick ? 1 : 3));
    if (!(Number.isInteger(seconds) && seconds >= 1 && seconds <= 60)) return '--seconds: a whole number from 1 to 60';
    const chosen = curves.filter(({ key }) => only?.includes(key) ?? true);
    return { curves: chosen, quick: values.quick, seconds, json: values.json, svg: values.svg };
  } catch (error) {
    return errorText(error);
  }
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
