import { readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { quantile } from '../../../bench/micro/measure.ts';
import { isOver, type MicroResult, main } from '../../../bench/micro/run.ts';
import { seededRandom } from '../../../bench/micro/seeded-random.ts';

t.test('the chosen decisions are measured and written as JSON', async (t) => {
  const file = path.join(t.testdir(), 'micro.json');
  const code = await main(['--brief', '--only', 'access-line', '--json', file]);
  const results = JSON.parse(readFileSync(file, 'utf8')) as readonly MicroResult[];
  t.equal(code, results.some(isOver) ? 1 : 0);
  t.match(results, [{ group: 'access-line', size: 1 }]);
  t.ok(results.every(({ nsPerCall, bytesPerCall, budgetNs }) => nsPerCall > 0 && bytesPerCall > 0 && budgetNs > 0));
});

t.test('what it cannot do is said, with what there is', async (t) => {
  t.equal(await main(['--only', 'nothing']), 2);
  t.equal(await main(['--all']), 2);
});

t.test('a budget is exceeded from twice of it on', async (t) => {
  const result: MicroResult = {
    group: 'x',
    size: 1,
    unit: undefined,
    nsPerCall: 1,
    spread: 0,
    bytesPerCall: 0,
    budgetNs: 1,
    used: 1.9,
  };
  t.notOk(isOver(result));
  t.ok(isOver({ ...result, used: 2.1 }));
});

t.test('quantiles lie between the values around them', async (t) => {
  t.equal(quantile([3, 1, 2], 0.5), 2);
  t.equal(quantile([1, 2, 3, 4], 0.25), 1.75);
  t.ok(Number.isNaN(quantile([], 0.5)));
});

t.test('seeded randomness repeats itself and stays in its range', async (t) => {
  const draw = () => {
    const random = seededRandom(7);
    return Array.from({ length: 100 }, () => random.next());
  };
  t.same(draw(), draw());
  t.ok(draw().every((value) => value >= 0 && value < 1));
});
