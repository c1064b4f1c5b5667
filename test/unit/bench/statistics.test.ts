/** From turns to figures (bench/statistics.ts). */
import t from 'tap';
import { errorsOf, median, ratioOf, spreadOf } from '../../../bench/statistics.ts';
import { turnOf, usageOf } from './records.ts';

t.test('a figure is the median over the repeats with the least and the most', async (t) => {
  const measurements = [3, 1, 2].map((cpuSeconds, index) => turnOf('x', 'a', index + 1, { cpuSeconds }));
  const cpu = spreadOf({ idle: [], measurements }, 'x', 'a', 'cpuPerUnit');
  t.match(
    [cpu?.min, cpu?.median, cpu?.max].map((value) => value?.toFixed(6)),
    ['0.001000', '0.002000', '0.003000'],
  );
});

t.test('a ratio is of turns of the same repeat', async (t) => {
  // The machine becomes ten times as slow: each pair says 2, while the ratio of two medians would be anything.
  const measurements = [1, 10, 100].flatMap((slow, index) => [
    turnOf('x', 'a', index + 1, { cpuSeconds: 2 * slow }),
    turnOf('x', 'b', index + 1, { cpuSeconds: slow }),
  ]);
  const ratio = ratioOf({ idle: [], measurements: measurements.slice(0, 5) }, 'x', 'a', 'b', 'cpuPerUnit');
  t.same(
    [ratio?.min, ratio?.median, ratio?.max].map((value) => value?.toFixed(3)),
    ['2.000', '2.000', '2.000'],
  );
});

t.test('what was not measured has no figure', async (t) => {
  const measurements = [turnOf('x', 'a', 1, { units: 0 }), { ...turnOf('x', 'none', 1), before: [], after: [] }];
  const results = { idle: [], measurements };
  t.equal(spreadOf(results, 'x', 'a', 'cpuPerUnit'), undefined, 'no unit went through');
  t.equal(spreadOf(results, 'x', 'none', 'cpuPerUnit'), undefined, 'no proxy');
  t.equal(spreadOf(results, 'x', 'none', 'peakRssBytes'), undefined, 'no proxy');
  t.equal(spreadOf(results, 'x', 'a', 'p99Ms'), undefined, 'no latency');
  t.equal(ratioOf(results, 'x', 'a', 'none', 'cpuPerUnit'), undefined);
  t.ok(Number.isNaN(median([])));
});

t.test('memory of a connection is what both proxies hold beyond what they held before the first load', async (t) => {
  const proxies = (rssBytes: number) => [usageOf({ rssBytes }), usageOf({ rssBytes: 2 * rssBytes })];
  const idle = [{ system: 'a', usage: proxies(10e6) }];
  const measurements = [{ ...turnOf('idle', 'a', 1), before: proxies(12e6), after: proxies(11e6) }];
  t.equal(spreadOf({ idle, measurements }, 'idle', 'a', 'bytesPerUnit')?.median, 3e3);
});

t.test('errors are counted over all repeats, by cause', async (t) => {
  const measurements = [
    turnOf('x', 'a', 1, { errors: 2, causes: { reset: 2 } }),
    turnOf('x', 'a', 2, { errors: 3, causes: { reset: 1, timeout: 2 } }),
  ];
  const { count, causes } = errorsOf({ idle: [], measurements }, 'x', 'a');
  t.equal(count, 5);
  t.same(
    [...causes],
    [
      ['reset', 3],
      ['timeout', 2],
    ],
  );
});
