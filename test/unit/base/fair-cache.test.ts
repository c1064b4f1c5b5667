/** Room that is shared: what one uses does not push out what others use. */
import fc from 'fast-check';
import t from 'tap';
import { FairCache } from '../../../src/base/fair-cache.ts';

function cache(limit: number) {
  const gone: string[] = [];
  const made: string[] = [];
  const kept = new FairCache<string>(limit, (value) => void gone.push(value));
  const use = (user: string, key: string) =>
    kept.use(key, user, () => {
      made.push(key);
      return key;
    });
  return { kept, use, gone, made };
}

t.test('one user alone loses what it used longest ago', async (t) => {
  const { kept, use, gone, made } = cache(2);
  for (const key of ['a', 'b', 'a', 'c']) use('one', key);
  t.same(gone, ['b']);
  t.same(made, ['a', 'b', 'c'], 'what is remembered is not made again');
  t.equal(kept.size, 2);
});

t.test('who uses very much loses its own', async (t) => {
  const { use, gone, made } = cache(10);
  for (const key of ['x', 'y', 'z']) use('quiet', key);
  for (let i = 0; i < 1000; i++) use('greedy', `g${i}`);
  t.equal(gone.length, 993);
  t.ok(gone.every((key) => key.startsWith('g')));
  for (const key of ['x', 'y', 'z']) use('quiet', key);
  t.equal(made.length, 1003);
});

t.test('what two use is there as long as one of them remembers it', async (t) => {
  const { use, gone, made } = cache(4);
  use('greedy', 'shared');
  use('quiet', 'shared');
  for (let i = 0; i < 100; i++) use('greedy', `g${i}`);
  t.notOk(gone.includes('shared'));
  use('quiet', 'shared');
  t.equal(made.filter((key) => key === 'shared').length, 1);
});

t.test('with as many users as there is room for, one more has its place', async (t) => {
  const { kept, use, gone } = cache(3);
  for (const user of ['a', 'b', 'c', 'd']) use(user, `of ${user}`);
  t.equal(kept.size, 3);
  t.same(gone, ['of a']);
});

t.test('who stays within its part loses nothing, and the room has its limit', async () => {
  const steps = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'quiet'), fc.nat(30)), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (uses) => {
      const { kept, use } = cache(9);
      // Three users: three keys are the part of one; the others use them as well.
      const used = new Set<string>();
      for (const [user, n] of uses) {
        const key = user === 'quiet' ? `k${n % 3}` : `k${n}`;
        use(user, key);
        if (user === 'quiet') used.add(key);
        if (kept.size > 9) return false;
      }
      // Made anew only if it was lost.
      let lost = 0;
      for (const key of used) kept.use(key, 'quiet', () => String(lost++));
      return lost === 0;
    }),
  );
});
