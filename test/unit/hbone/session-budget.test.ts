/** Places for sessions of the pool: in all, for one source, and who gives his to others. */
import t from 'tap';
import { SessionBudget } from '../../../src/hbone/http2/session-budget.ts';

const make = () =>
  new SessionBudget<{ readonly source: string; readonly name: string }>({
    maxClientSessions: 3,
    maxClientSessionsPerSource: 2,
  });

t.test('places are counted in all and for each source, until they are left', async (t) => {
  const budget = make();
  budget.enter('a');
  t.notOk(budget.isFullFor('a'));
  budget.enter('a');
  t.ok(budget.isFullFor('a'));
  t.notOk(budget.isFullFor('b'), 'others have theirs');
  t.notOk(budget.isFull);
  budget.enter('b');
  t.ok(budget.isFull);
  t.same([budget.heldBy('a'), budget.heldBy('b'), budget.heldBy('c')], [2, 1, 0]);
  budget.leave('b');
  budget.leave('a');
  t.notOk(budget.isFull);
  t.notOk(budget.isFullFor('a'));
  t.same([budget.heldBy('a'), budget.heldBy('b')], [1, 0]);
});

t.test('the longest idle goes first, and only what is idle now', async (t) => {
  const budget = make();
  const [first, second, third] = ['a', 'b', 'a'].map((source, at) => ({ source, name: `${at}` }));
  if (first === undefined || second === undefined || third === undefined) throw new Error('three');
  t.equal(budget.longestIdle(), undefined);
  for (const session of [first, second, third]) budget.idle(session);
  t.equal(budget.longestIdle(), first);
  budget.idle(first);
  t.equal(budget.longestIdle(), first, 'told twice it keeps its place');
  budget.notIdle(first);
  t.equal(budget.longestIdle(), second);
  t.equal(budget.longestIdleOf('a'), third);
  t.equal(budget.longestIdleOf('c'), undefined);
  budget.idle(first);
  t.equal(budget.longestIdleOf('a'), third, 'idle again is idle from now on');
});
