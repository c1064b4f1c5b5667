/** Targets and what `--check` makes of them (bench/targets.ts, bench/check.ts). */
import t from 'tap';
import { margins, problemsOf } from '../../../bench/check.ts';
import { loads } from '../../../bench/loads/loads.ts';
import { judge, targets } from '../../../bench/targets.ts';
import { systemKeys } from '../../../bench/world.ts';
import { recordOf, systemOf, turnOf, usageOf } from './records.ts';

const systems = [systemOf('ztunnel-pair', 'l4', { ours: true }), systemOf('envoy-pair', 'l4')];

/** The ztunnel pair takes so many times the CPU of the Envoy pair for a request. */
function resultsOf(times: number, rssBytes = 100e6) {
  const measurements = [1, 2, 3].flatMap((repeat) => [
    turnOf('requests-32', 'ztunnel-pair', repeat, { cpuSeconds: times, rssBytes }),
    turnOf('requests-32', 'envoy-pair', repeat, { cpuSeconds: 1 }),
  ]);
  const usage = [usageOf({ rssBytes: 60e6 }), usageOf({ rssBytes: 94e6 })];
  return { idle: [{ system: 'ztunnel-pair', usage }], measurements };
}

const verdictOf = (results: ReturnType<typeof resultsOf>, name: string) =>
  judge(results, systems).find(({ target }) => target.name === name);

t.test('every target is about systems and loads that there are', async (t) => {
  const keys = loads.map(({ key }) => key);
  for (const target of targets) {
    t.ok(systemKeys.includes(target.system), target.system);
    if (target.kind !== 'ratio') continue;
    t.ok(systemKeys.includes(target.peer), target.peer);
    t.ok(keys.includes(target.load), target.load);
  }
  t.ok(keys.includes('idle'));
});

t.test('a ratio is met up to its limit', async (t) => {
  t.match(verdictOf(resultsOf(1.299), 'CPU per request'), { kind: 'met' });
  t.match(verdictOf(resultsOf(1.301), 'CPU per request'), { kind: 'missed' });
});

t.test('memory counts by the largest proxy, at its worst load', async (t) => {
  t.match(verdictOf(resultsOf(1), 'memory idle'), { kind: 'met', value: { median: 94e6 } });
  const results = resultsOf(1, 171e6);
  results.measurements.push(
    turnOf('ping-pong', 'ztunnel-pair', 1),
    turnOf('idle', 'ztunnel-pair', 1, { rssBytes: 9e9 }),
  );
  t.match(verdictOf(results, 'memory under load'), { kind: 'missed', value: { median: 171e6 } });
});

t.test('what was not measured is never met, and absent systems have no targets', async (t) => {
  t.match(verdictOf(resultsOf(1), 'CPU per GB up'), { kind: 'not measured' });
  t.ok(judge(resultsOf(1), systems).every(({ target }) => target.system === 'ztunnel-pair'));
});

t.test('a check fails for targets missed by far, and for nothing less', async (t) => {
  const problems = (times: number, rssBytes?: number) => {
    const results = resultsOf(times, rssBytes);
    return problemsOf(recordOf({ ...results, verdicts: judge(results, systems) }));
  };
  t.same(problems(1.3 * margins.cpu - 0.01), []);
  t.match(problems(1.3 * margins.cpu + 0.01), [
    /^ztunnel-pair, CPU per request: \d.* of envoy-pair \(target 1.30, allowed \d/,
  ]);
  t.same(problems(1, 170e6 * margins.memory), []);
  t.match(problems(1, 170e6 * margins.memory + 1), [/memory under load/]);
});

t.test('a check fails for every error of ours and for every turn without a result', async (t) => {
  const record = recordOf({
    systems: [systemOf('ztunnel-pair', 'l4', { ours: true }), systemOf('envoy-pair', 'l4')],
    loads: [{ key: 'x', name: 'x', unit: 'request' }],
    measurements: [
      turnOf('x', 'ztunnel-pair', 1, { errors: 1, causes: { refused: 1 } }),
      turnOf('x', 'envoy-pair', 1, { errors: 2, causes: { reset: 2 } }),
    ],
    failures: ['ztunnel-pair', 'envoy-pair', 'envoy-pair'].map((system, repeat) => ({
      load: 'x',
      system,
      repeat,
      reason: 'wrk is gone',
    })),
  });
  t.same(problemsOf(record), [
    'x: 3 turns not measured (ztunnel-pair, envoy-pair): wrk is gone',
    'x on ztunnel-pair: 1 errors (refused 1)',
  ]);
});
