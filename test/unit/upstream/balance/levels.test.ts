/** How levels share the requests: the examples of Envoy's documentation, and what holds for any levels. */
import fc from 'fast-check';
import t from 'tap';
import { levelLoads } from '../../../../src/upstream/balance/levels.ts';

const loads = (percents: readonly number[], minHealthPercent = 0) =>
  levelLoads(
    percents.map((healthy) => ({ healthy, total: 100 })),
    minHealthPercent,
  );

t.test('a level takes what its healthy endpoints can, with a reserve', async (t) => {
  const of = (...percents: number[]) => loads(percents).loads;
  t.same(of(100, 100), [100, 0]);
  t.same(of(72, 72), [100, 0]);
  t.same(of(71, 71), [99, 1]);
  t.same(of(50, 50), [70, 30]);
  t.same(of(25, 100), [35, 65]);
  t.same(of(0, 100), [0, 100]);
  t.same(of(25, 25), [50, 50], 'too little in all: in proportion');
  t.same(of(100, 100, 100), [100, 0, 0]);
  t.same(of(50, 50, 100), [70, 30, 0]);
  t.same(of(25, 25, 100), [35, 35, 30]);
  t.same(of(25, 25, 20), [37, 35, 28]);
  t.same(of(0, 0), [100, 0], 'nobody: the first is asked, and has none');
});

t.test('health is not looked at where too few are healthy, unless others can take over', async (t) => {
  t.same(loads([40], 50), { loads: [100], panic: [true] });
  t.same(loads([60], 50), { loads: [100], panic: [false] });
  t.same(loads([10, 100], 50), { loads: [14, 86], panic: [false, false] }, 'all is well as a whole');
  t.same(loads([10, 20], 50), { loads: [50, 50], panic: [true, true] }, 'by numbers when all are in panic');
  t.same(loads([0], 0), { loads: [100], panic: [false] }, 'without a threshold never');
  t.same(loads([0], 1), { loads: [100], panic: [true] });
  t.same(
    levelLoads(
      [
        { healthy: 0, total: 1 },
        { healthy: 0, total: 3 },
      ],
      50,
    ).loads,
    [25, 75],
  );
});

t.test('loads are percents that make 100', async () => {
  const level = fc.record({ healthy: fc.nat({ max: 50 }), more: fc.nat({ max: 50 }) });
  fc.assert(
    fc.property(fc.array(level, { minLength: 1, maxLength: 6 }), fc.nat({ max: 100 }), (levels, threshold) => {
      const counts = levels.map(({ healthy, more }) => ({ healthy, total: healthy + more }));
      const { loads: parts, panic } = levelLoads(counts, threshold);
      const total = parts.reduce((sum, part) => sum + part, 0);
      return total === 100 && parts.every((part) => part >= 0) && panic.length === counts.length;
    }),
  );
});
