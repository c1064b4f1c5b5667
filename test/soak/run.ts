/**
 * `npm run test:soak [-- --seconds N]`: ten minutes of load with pods, policies and certificates changing under it, in the lab.
 * Progress on stderr, a table on stdout; exit code 1 on any failure that was not meant, or on growth (`report.ts`).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { errorText } from '../../src/base/errors.ts';
import { enterLab } from '../../src/lab/enter.ts';
import { problemsOf, table } from './report.ts';
import { runSoak } from './soak.ts';

const usage = 'Usage: npm run test:soak [-- --seconds N]   (N from 20; 600 unless told)\n';

function secondsOf(argv: readonly string[]): number | undefined {
  try {
    const { values } = parseArgs({ args: [...argv], options: { seconds: { type: 'string', default: '600' } } });
    const seconds = Number(values.seconds);
    return Number.isInteger(seconds) && seconds >= 20 ? seconds : undefined;
  } catch {
    // What it does not know it says by its usage.
    return undefined;
  }
}

async function main(argv: readonly string[]): Promise<number> {
  const seconds = secondsOf(argv);
  if (seconds === undefined) {
    process.stderr.write(usage);
    return 2;
  }
  const entry = await enterLab();
  if (entry.kind !== 'inside') {
    process.stderr.write(`soak: ${entry.cause}; ${entry.remedy}\n`);
    return 1;
  }
  const directory = mkdtempSync(path.join(tmpdir(), 'ambit-soak-'));
  try {
    const record = await runSoak({ seconds, directory, onProgress: (text) => process.stderr.write(`${text}\n`) });
    const problems = problemsOf(record);
    process.stdout.write(`${table(record)}\n`);
    for (const problem of problems) process.stdout.write(`FAILED ${problem}\n`);
    process.stdout.write(problems.length === 0 ? 'soak passed\n' : `soak failed: ${problems.length} problems\n`);
    return problems.length === 0 ? 0 : 1;
  } catch (error) {
    process.stderr.write(`soak: ${errorText(error)}\n`);
    return 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

process.exit(await main(process.argv.slice(2)));
