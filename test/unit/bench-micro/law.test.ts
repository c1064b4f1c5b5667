import t from 'tap';
import { lawOf, type Point } from '../../../bench/growth/law.ts';

const tens = [10, 100, 1000, 10_000];
const over = (f: (x: number) => number) => lawOf(tens.map((x): Point => [x, f(x)]));

t.test('what is constant, logarithmic or falling is not worse than logarithmic', async (t) => {
  for (const f of [() => 5, (x: number) => 2 + Math.log(x), (x: number) => 100 / x]) {
    t.match(over(f), { worseThanLogarithmic: false });
  }
});

t.test('what is linear is worse, also on top of something constant', async (t) => {
  t.match(
    over((x) => x),
    { worseThanLogarithmic: true, ratio: 1000 },
  );
  t.match(
    over((x) => 100 + x / 100),
    { worseThanLogarithmic: true },
  );
  t.match(
    over((x) => Math.sqrt(x)),
    { worseThanLogarithmic: true },
  );
});

t.test('noise at the end is no law', async (t) => {
  t.match(
    over((x) => (x === 10_000 ? 1.15 : 1)),
    { worseThanLogarithmic: false },
  );
});

t.test('the exponent is that of a power', async (t) => {
  t.ok(Math.abs((over((x) => 3 * x * x)?.exponent ?? 0) - 2) < 1e-9);
  t.ok(Math.abs(over(() => 7)?.exponent ?? 1) < 1e-9);
});

t.test('one point has no law', async (t) => {
  t.equal(lawOf([[1, 1]]), undefined);
});
