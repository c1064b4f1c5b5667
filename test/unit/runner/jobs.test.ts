/** Which test files run together (test/runner/jobs.ts). */
import { globSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { planRound } from '../../runner/jobs.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const files = globSync('test/*/**/*.test.ts', { cwd: root }).sort();

t.test('every file is in one job', async (t) => {
  const { sharing, alone } = planRound(files);
  t.ok(files.length > 300, `${files.length} files`);
  t.same([...sharing, ...alone].flatMap((job) => job.files).sort(), files);
});

t.test('what measures or looks at the host has the machine to itself, in a process of its own', async (t) => {
  const { sharing, alone } = planRound([
    'test/unit/base/a.test.ts',
    'test/interop/b.test.ts',
    'test/netns/demo/c.test.ts',
  ]);
  t.same(alone, [{ files: ['test/interop/b.test.ts'] }, { files: ['test/netns/demo/c.test.ts'] }]);
  t.same(sharing, [{ files: ['test/unit/base/a.test.ts'] }]);
});

t.test('small files share a process with their neighbours, in shares of about one size', async (t) => {
  const small = Array.from({ length: 100 }, (_, index) => `test/unit/base/${String(index).padStart(3, '0')}.test.ts`);
  const { sharing } = planRound([...small, 'test/unit/native/watch.test.ts', 'test/netns/dns/pods.test.ts']);
  const [native, netns, ...shares] = sharing;
  t.same(native, { files: ['test/unit/native/watch.test.ts'] });
  t.same(netns, { files: ['test/netns/dns/pods.test.ts'] });
  t.same(
    shares.flatMap((job) => job.files),
    small,
  );
  t.ok(shares.every((job) => job.files.length >= 15 && job.files.length <= 25));
});
