/**
 * `npm run bench`: Ambit and what one would otherwise run, side by side in one lab, in turns, under the same loads. It
 * tells on stderr what it does and on stdout what it found; see `usage` in arguments.ts.
 *
 * I1: everything measured is inside the lab; this process leaves nothing behind, however it ends (lab/enter.ts).
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { systemClock } from '../src/base/clock.ts';
import { errorText } from '../src/base/errors.ts';
import { silentLogger } from '../src/base/logger.ts';
import { enterLab, isInsideLab } from '../src/lab/enter.ts';
import { type Choice, type RunOptions, readCommand, usage } from './arguments.ts';
import { problemsOf } from './check.ts';
import { loads } from './loads/loads.ts';
import { measure, systemsFor } from './measure.ts';
import type { Load } from './model.ts';
import { compiledPrograms, compilePrograms } from './programs.ts';
import { chartFileName, chartsOf } from './report/charts.ts';
import { describeMachine } from './report/machine.ts';
import { markdownReport } from './report/markdown.ts';
import { createProgress } from './report/progress.ts';
import type { RunRecord } from './report/record.ts';
import { terminalReport } from './report/terminal.ts';
import { judge } from './targets.ts';
import { findAccounting, readUsage, resetPeaks, stolenSeconds } from './usage.ts';
import { openWorld, preparePeers, systemKeys } from './world.ts';

const choice: Choice = {
  systems: systemKeys,
  loads: loads.map(({ key }) => key),
  quickSystems: ['none', 'ztunnel-pair', 'envoy-pair', 'waypoint', 'envoy-waypoint'],
  quickLoads: loads.filter(({ quick }) => quick === true).map(({ key }) => key),
};

async function main(argv: readonly string[]): Promise<number> {
  const [word, ...rest] = argv;
  if (word === 'micro') return (await import('./micro/run.ts')).main(rest);
  if (word === 'growth') return (await import('./growth/run.ts')).main(rest);
  if (word === 'pods') return (await import('./pods/run.ts')).main(rest);
  if (word === 'routes') return (await import('./routes/run.ts')).main(rest);
  if (word === 'scale') return (await import('./scale/run.ts')).main(rest);
  const command = readCommand(argv, choice);
  switch (command.kind) {
    case 'wrong':
      process.stderr.write(`bench: ${command.message}\n${usage}`);
      return 2;
    case 'help':
      process.stdout.write(usage);
      return 0;
    case 'list':
      process.stdout.write(listing());
      return 0;
    case 'run':
      return runBench(command.options);
  }
}

function listing(): string {
  const width = Math.max(...loads.map(({ key }) => key.length));
  return [
    'systems',
    ...systemKeys.map((key) => `  ${key}`),
    'loads',
    ...loads.map(({ key, name, quick }) => `  ${key.padEnd(width)}  ${name}${quick === true ? ' (quick)' : ''}`),
    '',
  ].join('\n');
}

async function runBench(options: RunOptions): Promise<number> {
  if (!isInsideLab()) {
    compilePrograms();
    await preparePeers(options.only);
  }
  const entry = await enterLab();
  if (entry.kind === 'unavailable') {
    process.stderr.write(`bench: no network namespaces here: ${entry.cause}\n       ${entry.remedy}\n`);
    return 1;
  }
  const record = await takeRun(options);
  process.stdout.write(terminalReport(record));
  writeFiles(record, options);
  if (!options.check) return record.failures.length === 0 ? 0 : 1;
  const problems = problemsOf(record);
  for (const problem of problems) process.stderr.write(`bench: ${problem}\n`);
  return problems.length === 0 ? 0 : 1;
}

async function takeRun(options: RunOptions): Promise<RunRecord> {
  const date = new Date(systemClock.wallMs()).toISOString();
  const { only, seconds, repeats, quick } = options;
  const progress = createProgress(process.stderr, systemClock);
  const world = await openWorld({
    programs: compiledPrograms,
    logger: silentLogger,
    onProgress: progress.say,
    ...(only === undefined ? {} : { only }),
  });
  try {
    const { lab, systems, missing } = world;
    for (const { name, reason } of missing) progress.say(`${name} is missing:\n    ${reason}`);
    const chosen = loads.filter((load) => options.load?.has(load.key) ?? true);
    const plan = { systems, loads: chosen, seconds, repeats, runInSeconds: quick ? 3 : 18, retakes: !quick };
    const surroundings = { lab, clock: systemClock, readUsage, resetPeaks, stolenSeconds, progress: progress.turn };
    const measured = await measure(plan, loads, surroundings);
    return {
      date,
      machine: describeMachine(),
      accounting: findAccounting(),
      ...{ seconds, repeats, quick },
      systems: systems.map(({ key, name, layer, ours, settings }) => ({ key, name, layer, ours, settings })),
      missing,
      loads: chosen.filter((load) => systemsFor(load, systems).length > 0).map(loadRecord),
      ...measured,
      verdicts: judge(measured, systems),
    };
  } finally {
    progress.end();
    await world.close();
  }
}

function loadRecord({ key, name, unit, fixedRate }: Load): RunRecord['loads'][number] {
  return { key, name, unit, ...(fixedRate === true ? { fixedRate } : {}) };
}

function writeFiles(record: RunRecord, { json, markdown, svg }: RunOptions): void {
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(record, undefined, 2)}\n`);
  if (svg !== undefined) {
    for (const { fileName, svg: text } of chartsOf(record)) writeFileSync(path.join(svg, fileName), text);
  }
  if (markdown === undefined) return;
  const chartOf = (load: string) =>
    svg === undefined ? undefined : path.relative(path.dirname(markdown), path.join(svg, chartFileName(load)));
  writeFileSync(markdown, markdownReport(record, chartOf));
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`bench: ${errorText(error)}\n`);
  process.exitCode = 1;
}
