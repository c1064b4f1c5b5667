import t from 'tap';
import { CallBudget } from '../../../src/control/call-budget.ts';
import { FakeClock } from '../../support/fake-clock.ts';

t.test('a caller that asks too often waits, and its neighbour does not', async (t) => {
  const clock = new FakeClock();
  const budget = new CallBudget({ burst: 3, perSecond: 1, maxCallers: 10 }, clock);
  t.same(
    [1, 2, 3, 4].map(() => budget.take('a')),
    [true, true, true, false],
  );
  t.equal(budget.take('b'), true);
  clock.advance(1000);
  t.same([budget.take('a'), budget.take('a')], [true, false]);
  clock.advance(60_000);
  t.same(
    [1, 2, 3, 4].map(() => budget.take('a')),
    [true, true, true, false],
    'rest does not pile up',
  );
});

t.test('the one that was quiet longest is forgotten first', async (t) => {
  const budget = new CallBudget({ burst: 1, perSecond: 0, maxCallers: 2 }, new FakeClock());
  t.equal(budget.take('a'), true);
  t.equal(budget.take('b'), true);
  t.equal(budget.take('a'), false);
  t.equal(budget.take('c'), true);
  t.equal(budget.take('a'), false, 'a spoke after b');
});
