/**
 * `npm run bench -- routes`: a compiled waypoint over a folder of many routes, one of which changes again and again while
 * connections hammer it, against its targets. Nothing needs privileges, and all sockets are on loopback.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { errorText } from '../../src/base/errors.ts';
import { compilePrograms } from '../programs.ts';
import { measureRoutes, median } from './measure.ts';

const usage = `usage: npm run bench -- routes [OPTION …]
  --routes N      (5000)
  --services N    (500)
  --help          this
`;

/** `argv` without the program's name. The value is the exit code: 1 when a target is missed. */
export async function main(argv: readonly string[]): Promise<number> {
  const size = readSize(argv);
  if (typeof size === 'string') {
    const asked = size === 'help';
    (asked ? process.stdout : process.stderr).write(asked ? usage : `bench: ${size}\n${usage}`);
    return asked ? 0 : 2;
  }
  compilePrograms();
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-routes-'));
  try {
    const figures = await measureRoutes(size, folder, (text) => process.stderr.write(`… ${text}\n`));
    const {
      readCpuMs,
      compileCpuMs,
      changeCpuMs,
      longestSliceCpuMs,
      changeMs,
      requests,
      failed,
      readyMb,
      startPeakMb,
      settledMb,
      peakMb,
    } = figures;
    const rows: readonly (readonly [name: string, value: number, limit: number])[] = [
      ['reading the folder, ms of CPU', readCpuMs, Number.POSITIVE_INFINITY],
      ['compiling it, ms of CPU', compileCpuMs, 1000],
      ['both', readCpuMs + compileCpuMs, 1000],
      ['one changed route read and compiled, ms of CPU', changeCpuMs, Number.POSITIVE_INFINITY],
      ['the longest slice of that, ms of CPU', longestSliceCpuMs, 5],
      ['one changed route, from the write to its first answer, median, ms', median(changeMs), 30],
      ['the same, longest, ms', Math.max(...changeMs), Number.POSITIVE_INFINITY],
      ['failed requests', failed.length, 0],
      ['RSS while it starts, at most, MB', startPeakMb, Number.POSITIVE_INFINITY],
      ['RSS when it is ready, MB', readyMb, Number.POSITIVE_INFINITY],
      ['RSS under the load, at most, MB', peakMb, 150],
      ['RSS at rest after it, MB', settledMb, 150],
    ];
    process.stdout.write(`${size.routes} routes, ${size.services} services; ${requests} requests meanwhile\n`);
    let missed = 0;
    for (const [name, value, limit] of rows) {
      const verdict = !Number.isFinite(limit) ? '' : value <= limit ? `met (${limit})` : `MISSED (${limit})`;
      if (verdict.startsWith('MISSED')) missed++;
      process.stdout.write(`  ${name.padEnd(68)} ${value.toFixed(1).padStart(9)}  ${verdict}\n`);
    }
    for (const why of new Set(failed)) process.stdout.write(`  failed: ${why}\n`);
    return missed === 0 ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A text: what is wrong, or `help`. */
function readSize(argv: readonly string[]): { readonly routes: number; readonly services: number } | string {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        routes: { type: 'string', default: '5000' },
        services: { type: 'string', default: '500' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help === true) return 'help';
    const wrong = (['routes', 'services'] as const).find((name) => !/^[1-9][0-9]{0,5}$/.test(values[name]));
    if (wrong !== undefined) return `--${wrong}: a whole number from 1`;
    return { routes: Number(values.routes), services: Number(values.services) };
  } catch (error) {
    return errorText(error);
  }
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
