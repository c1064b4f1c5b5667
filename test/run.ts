/**
 * `npm test`: every tier in turn, then one line `N passed, N failed, N skipped`. Arguments choose tiers or files:
 * `npm test -- unit`, `npm test -- test/unit/base/address.test.ts`. In CI a skipped test is a failure (design §8).
 */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, globSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { enableCompileCache } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

const root = path.resolve(import.meta.dirname, '..');
/** Tiers of a round run side by side: what one waits for leaves the processors to the others. */
const rounds = [['static'], ['unit', 'integration', 'conformance'], ['netns'], ['interop'], ['bench']] as const;
const tiers: readonly string[] = rounds.flat();
/** These look at the host's state, measure, or keep to times. The bounds of the others leave room for neighbours. */
const alone = /^test\/(interop|bench|netns\/(bench\/loads|demo|lab\/cleanup|path\/members|soak)\b)/;
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

const total: Counts = { passed: 0, failed: 0, skipped: 0 };
await runAll(process.argv.slice(2));
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
  const files = words.filter((word) => !tiers.includes(word));
  if (files.length > 0) await runTap('files', files);
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

/** First the files that can share the machine, then the others one by one. */
async function runTiers(chosen: readonly string[]): Promise<void> {
  const files = chosen.flatMap((tier) => globSync(`test/${tier}/**/*.test.ts`, { cwd: root }));
  const sharing = files.filter((file) => !alone.test(file));
  const others = files.filter((file) => alone.test(file));
  const name = chosen.join('+');
  // One more than there are processors, since files wait; a whole mesh each is work enough for two.
  const jobs = chosen.includes('netns') ? Math.min(2, availableParallelism()) : availableParallelism() + 1;
  await runTap(name, sharing, jobs);
  if (!interrupted) await runTap(`${name}-alone`, others);
}

/** Tap's own plugin set-up is built once; each file is then a process of its own under Node's type stripping. */
async function runTap(tier: string, files: readonly string[], jobs = 1): Promise<void> {
  if (files.length === 0) return;
  // Part of what tap builds goes into node_modules, and so does the note of it: both go when packages are installed anew.
  const built = path.join(root, 'node_modules/.ambit-tap');
  if (!existsSync(built) && (await run(bin('tap'), ['build'])) === 0) writeFileSync(built, '');
  const output = path.join(scratch, `${tier}.tap`);
  const startedMs = Date.now();
  const code = await run(bin('tap'), [
    'run',
    `--jobs=${jobs}`,
    ...['end-with-parent', 'plain-children'].map(
      (name) => `--node-arg=--import=${path.join(root, 'test', `${name}.mjs`)}`,
    ),
    // On a terminal what goes on; elsewhere nothing, and what failed is told below.
    `--reporter=${process.stdout.isTTY === true ? 'terse' : 'silent'}`,
    `--output-file=${output}`,
    ...files,
  ]);
  if (code !== 0) await printFailures(output);
  const counts = await readCounts(output);
  // A runner that failed without saying which test did is a failure too.
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(0);
  console.log(`# ${tier}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped in ${seconds} s`);
}

/** Every failed line of raw TAP with the names it stands under and what tap says of it. */
async function printFailures(file: string): Promise<void> {
  const lines = existsSync(file) ? (await readFile(file, 'utf8')).split('\n') : [];
  const names: string[] = [];
  for (const [index, line] of lines.entries()) {
    const [, indent = '', name] = /^(\s*)# Subtest: (.*)$/.exec(line) ?? [];
    if (name !== undefined) names.splice(indent.length / 4, Number.POSITIVE_INFINITY, name);
    const depth = /^(\s*)not ok /.exec(line)?.[1];
    if (depth === undefined) continue;
    const under = names.slice(0, depth.length / 4);
    console.log(`✗ ${[...under, line.trim()].join(' › ')}`);
    for (const detail of lines.slice(index + 1, index + 25)) {
      if (!detail.startsWith(`${depth}  `)) break;
      console.log(detail);
      if (detail.trim() === '...') break;
    }
  }
}

/** Tap's own closing count: `# { total: 5, pass: 3, fail: 1, todo: 1, skip: 1 }`. */
async function readCounts(file: string): Promise<Counts> {
  const text = existsSync(file) ? await readFile(file, 'utf8') : '';
  const summary = text.match(/^# \{ total: .*\}$/gm)?.at(-1) ?? '';
  const count = (name: string) => Number(new RegExp(`${name}: (\\d+)`).exec(summary)?.[1] ?? 0);
  return { passed: count('pass'), failed: count('fail'), skipped: count('skip') + count('todo') };
}

function run(command: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    // The kernel ends it with us.
    const argv = ['--pdeathsig', 'KILL', command, ...args];
    const env = { ...process.env, NODE_COMPILE_CACHE: compiled, AMBIT_TEST_PROGRAMS: path.join(programs, 'bin') };
    const child = spawn('setpriv', argv, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}
