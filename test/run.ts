/**
 * `npm test`: every tier in turn, then one line `N passed, N failed, N skipped`. Arguments choose tiers or files:
 * `npm test -- unit`, `npm test -- test/unit/base/address.test.ts`. In CI a skipped test is a failure (design §8).
 */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, globSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type Job, planRound, single } from './runner/jobs.ts';
import { runJobs } from './runner/run-jobs.ts';
import { statusLine, timesLine } from './runner/tell.ts';

const root = path.resolve(import.meta.dirname, '..');
/** Tiers of a round run side by side: what one waits for leaves the processors to the others. */
const rounds = [['static'], ['unit', 'integration', 'conformance'], ['netns'], ['interop'], ['bench']] as const;
const tiers: readonly string[] = rounds.flat();
const bin = (name: string) => path.join(root, 'node_modules/.bin', name);
const checks: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ['types', bin('tsc'), '--noEmit', '-p', '.'],
  ['format and lint', bin('biome'), 'check', '.'],
  ['type-aware lint', bin('oxlint'), '--type-aware', 'src', 'bin', 'test', 'bench'],
];

const scratch = mkdtempSync(path.join(tmpdir(), 'ambit-test-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
// What one program has compiled is not compiled by the next: a proxy starts in half the time. Each user has a folder of
// their own in it, ours made while nobody else can get there.
const compiled = path.join(scratch, 'compiled');
// Not left to the next call: where NODE_COMPILE_CACHE is set already, it changes nothing.
mkdirSync(compiled);
enableCompileCache(compiled);
chmodSync(compiled, 0o1777);
chmodSync(scratch, 0o711);
// Ctrl-C reaches the tests by itself: what they still say is waited for, but no further tier is begun.
let interrupted = false;
process.on('SIGINT', () => {
  interrupted = true;
});
for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));

/** The programs as they are shipped, which the tests start (`test/support/program-files.ts`). */
const programs = path.join(root, '.cache/programs');
const testEnvironment = {
  ...process.env,
  NODE_COMPILE_CACHE: compiled,
  AMBIT_TEST_PROGRAMS: path.join(programs, 'bin'),
};

const { values, positionals: words } = parseArgs({ allowPositionals: true, options: { times: { type: 'boolean' } } });
const withTimes = values.times === true;
const total = { passed: 0, failed: 0, skipped: 0 };
await runAll(words);
if (interrupted) total.failed++;
if (process.env.CI === 'true' && total.skipped > 0) {
  console.error(`CI has everything the tests need, yet ${total.skipped} were skipped: that is a failure here`);
  total.failed += total.skipped;
  total.skipped = 0;
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;

async function runAll(words: readonly string[]): Promise<void> {
  const unknown = words.filter((word) => !tiers.includes(word) && !existsSync(path.resolve(root, word)));
  if (unknown.length > 0) {
    console.error(`neither a tier (${tiers.join(', ')}) nor a file: ${unknown.join(', ')}`);
    total.failed++;
    return;
  }
  if ((await run(process.execPath, [path.join(root, 'bin/setup/programs.mjs'), programs])) !== 0) {
    console.error('the programs cannot be built, see above');
    total.failed++;
    return;
  }
  const files = words
    .filter((word) => !tiers.includes(word))
    .map((file) => path.relative(root, path.resolve(root, file)));
  if (files.length > 0) await runTests('files', files.map(single));
  for (const round of rounds) {
    const chosen = round.filter((tier) => words.length === 0 || words.includes(tier));
    if (interrupted || chosen.length === 0) continue;
    if (chosen.includes('static')) await runChecks();
    else await runTiers(chosen);
  }
}

async function runChecks(): Promise<void> {
  for (const [name, command, ...args] of checks) {
    const code = await run(command, args);
    console.log(`${code === 0 ? 'ok' : 'not ok'} - ${name}`);
    if (code === 0) total.passed++;
    else total.failed++;
  }
}

/** First the jobs that can share the machine, then the others one by one. */
async function runTiers(chosen: readonly string[]): Promise<void> {
  const files = chosen.flatMap((tier) => globSync(`test/${tier}/**/*.test.ts`, { cwd: root }).sort());
  const { sharing, alone } = planRound(files);
  const name = chosen.join('+');
  // One more than there are processors, since files wait.
  await runTests(name, sharing, availableParallelism() + 1);
  if (!interrupted) await runTests(`${name}-alone`, alone);
}

async function runTests(name: string, jobs: readonly Job[], width = 1): Promise<void> {
  if (jobs.length === 0) return;
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const startedMs = Date.now();
  let ended = 0;
  await runJobs(jobs, {
    root,
    scratch,
    env: testEnvironment,
    width,
    goesOn: () => !interrupted,
    onChange: (running) => status(statusLine(name, ended, jobs.length, running)),
    onResult: (result) => {
      ended++;
      status('');
      for (const failure of result.failures) console.log(`✗ ${failure}`);
      if (withTimes) console.log(timesLine(result, startedMs));
      for (const key of ['passed', 'failed', 'skipped'] as const) counts[key] += result.counts[key];
    },
  });
  status('');
  for (const key of ['passed', 'failed', 'skipped'] as const) total[key] += counts[key];
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(0);
  console.log(`# ${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped in ${seconds} s`);
}

/** On a terminal one line says what goes on; elsewhere nothing does. */
function status(line: string): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${line.slice(0, process.stdout.columns - 1)}`);
}

function run(command: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    // The kernel ends it with us.
    const argv = ['--pdeathsig', 'KILL', command, ...args];
    const child = spawn('setpriv', argv, { cwd: root, env: testEnvironment, stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}
