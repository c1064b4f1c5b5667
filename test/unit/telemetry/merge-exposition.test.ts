/** Metrics of several processes as one: I1 of merge-exposition.ts. */
import t from 'tap';
import { MergedExposition } from '../../../src/telemetry/merge-exposition.ts';
import { CellRegistry } from '../../../src/telemetry/metrics.ts';

async function textOf(requests: number, open: number): Promise<string> {
  const registry = new CellRegistry();
  registry.counter('a_total', 'Counted: "all" {of} it.', { path: 'x} y="1"', code: '200' }).value = requests;
  registry.gauge('open', 'Open now.').value = open;
  const histogram = registry.histogram('seconds', 'Time.', [1, 2], { to: 'b' });
  for (let i = 0; i < requests; i++) histogram.observe(1.5);
  let text = '';
  for await (const piece of registry.render(false).body) text += piece;
  return text;
}

t.test('counters and histograms are summed, gauges stand side by side', async (t) => {
  const merged = new MergedExposition();
  const texts = new Map([
    ['1', await textOf(2, 5)],
    ['2', await textOf(3, 6)],
  ]);
  const text = [...merged.merge(texts, false)].join('');
  t.equal(
    text,
    `# HELP a_total Counted: "all" {of} it.
# TYPE a_total counter
a_total{path="x} y=\\"1\\"",code="200"} 5
# HELP open Open now.
# TYPE open gauge
open{worker="1"} 5
open{worker="2"} 6
# HELP seconds Time.
# TYPE seconds histogram
seconds_bucket{to="b",le="1"} 0
seconds_bucket{to="b",le="2"} 5
seconds_bucket{to="b",le="+Inf"} 5
seconds_sum{to="b"} 7.5
seconds_count{to="b"} 5
`,
  );
  const open = [...merged.merge(texts, true)].join('');
  t.match(open, '# TYPE a counter\na_total{');
  t.ok(open.endsWith('# EOF\n'));
});

t.test('a sum never falls: what one that has ended had counted is kept, but not its gauges', async (t) => {
  const merged = new MergedExposition();
  merged.absorb(await textOf(4, 9));
  merged.absorb(await textOf(1, 9));
  const text = [...merged.merge(new Map([['3', await textOf(2, 1)]]), false)].join('');
  t.match(text, 'code="200"} 7\n');
  t.match(text, 'seconds_count{to="b"} 7\n');
  t.match(text, 'open{worker="3"} 1\n');
  t.notMatch(text, '} 9\n');
  const alone = [...merged.merge(new Map(), false)].join('');
  t.match(alone, 'code="200"} 5\n', 'also while nobody is left');
});

t.test('what is no sample is passed over', async (t) => {
  const merged = new MergedExposition();
  const text = 'nonsense\n# TYPE x counter\nx\nx{a="b"} y\nx{a="b"} 1 123\nx_total +Inf\n# EOF\n';
  t.match([...merged.merge(new Map([['1', text]]), false)].join(''), 'x{a="b"} 1\nx_total +Inf\n');
});
