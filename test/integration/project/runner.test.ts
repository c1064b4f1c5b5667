/** Test files run by `test/run.ts`'s own parts: alone, and several in one process. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import t, { type Test } from 'tap';
import { type JobResult, runJobs } from '../../runner/run-jobs.ts';

const files = {
  'good.test.ts': `import t from 'tap';
t.test('is good', async (t) => t.ok(t.testdir({ file: 'x' })));`,
  'bad.test.ts': `import { test } from 'tap';
test('is bad', async (t) => t.equal(1, 2, 'numbers'));`,
  'throws.test.ts': `import t from 'tap';
t.pass('so far');
throw new Error('while loading');`,
  'late.test.ts': `import t from 'tap';
t.setTimeout(200);
t.test('waits', async (t) => {
  const timer = setInterval(() => {}, 1000);
  t.teardown(() => clearInterval(timer));
  await new Promise(() => {});
});`,
  'first.test.ts': `import t from 'tap';
t.teardown(() => { globalThis.firstIsOver = true; });
t.test('comes first', async (t) => t.pass());`,
  'second.test.ts': `import t from 'tap';
t.test('comes when the first has been cleaned up after', async (t) => t.ok(globalThis.firstIsOver));`,
  'shared.ts': `import t from 'tap';
export const check = (name) => t.test(name, async (t) => t.pass(name));`,
  'asks.test.ts': `import { check } from './shared.ts';
await check('asked by the first');`,
  'asks-too.test.ts': `import { check } from './shared.ts';
await check('asked by the second');
await check('twice');`,
  'quits.test.ts': `import t from 'tap';
t.test('quits', async () => process.exit(0));`,
} as const;

type Name = keyof typeof files;

async function run(t: Test, ...jobs: readonly (readonly Name[])[]): Promise<readonly JobResult[]> {
  // Below the repository, where \`tap\` is found.
  const folder = t.testdir(files);
  const root = path.resolve(import.meta.dirname, '../../..');
  const scratch = mkdtempSync(path.join(tmpdir(), 'ambit-runner-'));
  t.teardown(() => rmSync(scratch, { recursive: true }));
  const results: JobResult[] = [];
  await runJobs(
    jobs.map((names) => ({ files: names.map((name) => path.relative(root, path.join(folder, name))), weight: 1 })),
    { root, scratch, env: process.env, width: 2, goesOn: () => true, onResult: (result) => results.push(result) },
  );
  return results;
}

t.test('files in one process each have their own tests, time limit and teardown, whatever the others do', async (t) => {
  const [result] = await run(t, [
    'bad.test.ts',
    'late.test.ts',
    'throws.test.ts',
    'first.test.ts',
    'second.test.ts',
    'good.test.ts',
  ]);
  t.match(result?.counts, { passed: 4, skipped: 0 });
  const told = result?.failures.join('\n') ?? '';
  t.match(told, /bad\.test\.ts › is bad › not ok 1 - numbers\n/);
  t.match(told, /late\.test\.ts › .*timeout!/);
  t.match(told, /throws\.test\.ts › not ok \d - while loading\n/);
  t.notMatch(told, /(first|second|good)\.test\.ts/);
});

t.test('a file of its own that fails is named too', async (t) => {
  const results = await run(t, ['good.test.ts'], ['bad.test.ts']);
  const of = (name: Name) => results.find(({ job }) => job.files[0]?.endsWith(name));
  t.match(of('good.test.ts'), { counts: { passed: 1, failed: 0 }, failures: [] });
  t.match(of('bad.test.ts'), {
    counts: { passed: 0, failed: 1 },
    failures: [/bad\.test\.ts › is bad › not ok 1 - numbers\n/],
  });
  const cpuSeconds = results.reduce((sum, result) => sum + result.cpuSeconds, 0);
  t.ok(cpuSeconds > 0.1, 'processor time is told');
});

t.test('a test that ends the process does not pass for the files after it', async (t) => {
  const [result] = await run(t, ['quits.test.ts', 'good.test.ts']);
  t.ok((result?.counts.failed ?? 0) > 0);
  t.match(result?.failures.join('\n'), /quits\.test\.ts/);
});

t.test('what files share adds its tests to the file that is under way', async (t) => {
  const [result] = await run(t, ['asks.test.ts', 'asks-too.test.ts']);
  t.match(result, { counts: { passed: 3, failed: 0 }, failures: [] });
});

t.test('nothing is started once it is not to go on', async (t) => {
  let started = 0;
  await runJobs([{ files: ['a'], weight: 1 }], {
    ...{ root: '/', scratch: '/', env: {}, width: 1, goesOn: () => false, onChange: () => started++ },
    onResult: () => started++,
  });
  t.equal(started, 0);
});
