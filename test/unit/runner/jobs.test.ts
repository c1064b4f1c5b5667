/** Which test files run together (test/runner/jobs.ts). */
import { globSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { type Job, planRound } from '../../runner/jobs.ts';
import { nextFitting } from '../../runner/run-jobs.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const files = globSync('test/*/**/*.test.ts', { cwd: root }).sort();

t.test('every file is in one job', async (t) => {
  const { sharing, alone } = planRound(files);
  t.ok(files.length > 300, `${files.length} files`);
  t.same([...sharing, ...alone].flatMap((job) => job.files).sort(), files);
});

t.test('what measures has the machine to itself, in a process of its own', async (t) => {
  const { sharing, alone } = planRound([
    'test/unit/base/a.test.ts',
    'test/bench/b.test.ts',
    'test/netns/soak/c.test.ts',
  ]);
  t.same(
    alone.map(({ files }) => files),
    [['test/bench/b.test.ts'], ['test/netns/soak/c.test.ts']],
  );
  t.same(sharing, [{ files: ['test/unit/base/a.test.ts'], weight: 1 }]);
});

t.test('small files share a process with their neighbours, in shares of about one size', async (t) => {
  const small = Array.from({ length: 100 }, (_, index) => `test/unit/base/${String(index).padStart(3, '0')}.test.ts`);
  const { sharing } = planRound([...small, 'test/unit/native/watch.test.ts', 'test/netns/dns/pods.test.ts']);
  const shares = sharing.slice(0, -2);
  const [native, netns] = sharing.slice(-2);
  t.same(native, { files: ['test/unit/native/watch.test.ts'], weight: 1 });
  t.same(netns, { files: ['test/netns/dns/pods.test.ts'], weight: 1 });
  t.same(
    shares.flatMap((job) => job.files),
    small,
  );
  t.ok(shares.every((job) => job.files.length >= 15 && job.files.length <= 25));
});

t.test('the heaviest are begun first, then the longest', async (t) => {
  const [pods, bytes, demo] = ['dns/pods', 'integrity/bytes', 'demo/demo'].map((name) => `test/netns/${name}.test.ts`);
  const { sharing } = planRound([pods, bytes, demo] as string[]);
  t.same(sharing, [
    { files: [demo], weight: 2 },
    { files: [bytes], weight: 1 },
    { files: [pods], weight: 1 },
  ]);
});

t.test('a job begins when there is a place for all of its weight; lighter ones do not wait for it', async (t) => {
  const job = (weight: number): Job => ({ files: [], weight });
  const [one, other, two, four] = [job(1), job(1), job(2), job(4)];
  t.equal(nextFitting([two, one], [other], 3), two);
  t.equal(nextFitting([two, one], [other, other], 3), one);
  t.equal(nextFitting([two, one], [two, other], 3), undefined);
  t.equal(nextFitting([four, one], [other], 3), one);
  t.equal(nextFitting([four, one], [], 3), four, 'what is too heavy runs by itself');
  t.equal(nextFitting([one], [four], 3), undefined, 'and nothing beside it');
  t.equal(nextFitting([], [], 3), undefined);
});
