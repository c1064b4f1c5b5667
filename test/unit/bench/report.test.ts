/** What a run looks like on the terminal, as a page and as charts (bench/report/). */
import t from 'tap';
import { chartsOf } from '../../../bench/report/charts.ts';
import { columnsOf, stolenText } from '../../../bench/report/format.ts';
import { lineChart } from '../../../bench/report/line-chart.ts';
import { markdownReport } from '../../../bench/report/markdown.ts';
import { createProgress } from '../../../bench/report/progress.ts';
import type { RunRecord } from '../../../bench/report/record.ts';
import { axis, figure } from '../../../bench/report/svg.ts';
import { terminalReport } from '../../../bench/report/terminal.ts';
import { judge } from '../../../bench/targets.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { loadOf, recordOf, systemOf, turnOf } from './records.ts';

const latency = { p50Ms: 0.123, p90Ms: 1234.5, p99Ms: 12_345.6, p999Ms: 23_456.7 };

/** With names and figures as long as they become. */
function longRecord(): RunRecord {
  const systems = [
    systemOf('none', 'none', { name: 'no proxy' }),
    systemOf('ztunnel-pair', 'l4', { name: 'Ambit ztunnel pair', ours: true, settings: 'long settings '.repeat(20) }),
    systemOf('envoy-pair', 'l4', { name: 'Envoy pair' }),
    systemOf('waypoint', 'l7', { name: 'Ambit waypoint', ours: true }),
    systemOf('waypoint-100', 'l7', { name: 'Ambit waypoint, 100 routes and policies', ours: true }),
    systemOf('envoy-waypoint', 'l7', { name: 'Envoy waypoint' }),
  ];
  const units = ['request', 'connection', 'round trip', 'GB', 'idle connection'] as const;
  const loads = units.map((unit) => ({ key: `load-${unit.replace(' ', '-')}`, name: `many of ${unit}`, unit }));
  const measurements = loads.flatMap(({ key }) =>
    systems.flatMap((system, index) =>
      [1, 2, 3].map((repeat) => {
        const figures = {
          perSecond: 11_111 * (repeat + index),
          cpuSeconds: 0.987 * repeat,
          rssBytes: 1.111e9 * repeat,
        };
        const turn = turnOf(key, system.key, repeat, { ...figures, latency, errors: index });
        return system.layer === 'none' ? { ...turn, before: [], after: [] } : turn;
      }),
    ),
  );
  const results = { idle: [], measurements };
  const missing = [{ key: 'nginx-l7', name: 'nginx', reason: 'as root run: apt-get install -y nginx' }];
  return recordOf({ systems, loads, ...results, missing, verdicts: judge(results, systems) });
}

t.test('the terminal gets aligned tables that fit 120 columns', async (t) => {
  const lines = terminalReport(longRecord()).split('\n');
  t.same(
    lines.filter((line) => line.length > 120),
    [],
  );
  const row = lines.findIndex((line) => line.startsWith('  Envoy pair '));
  const head = lines.slice(0, row).findLast((line) => line.includes('CPU µs/request')) ?? '';
  t.equal(head.length, lines[row]?.length, 'right-hand columns end together');
  t.ok(lines.some((line) => line === 'nginx is missing: as root run: apt-get install -y nginx'));
  t.ok(lines.some((line) => line.includes('What went wrong')));
});

t.test('each of ours is held against no proxy and its own layer, not against the other', async (t) => {
  const lines = terminalReport(longRecord()).split('\n');
  const rowsUnder = (head: string) => {
    const from = lines.findIndex((line) => line.startsWith(`  ${head}`) && line.includes('CPU/request'));
    const rows = lines.slice(from + 1);
    return rows.slice(0, rows.indexOf('')).map((line) => line.trim().split(/ {2,}/)[0]);
  };
  t.same(rowsUnder('Ambit ztunnel pair'), ['no proxy', 'Envoy pair']);
  t.same(rowsUnder('Ambit waypoint'), ['no proxy', 'Envoy waypoint']);
  t.same(rowsUnder('Ambit waypoint, 100'), ['no proxy', 'Ambit waypoint', 'Envoy waypoint']);
});

t.test('the page tells where it was made, the targets, and every load with its chart', async (t) => {
  const record = longRecord();
  const page = markdownReport(record, (load) => `charts/${load}.svg`);
  for (const part of ['2026-01-02T03:04:05.000Z', 'abcdef0123', 'Linux 6.1', '26.0.0', '## Targets', 'not measured']) {
    t.ok(page.includes(part), part);
  }
  for (const { key, name } of record.loads) {
    t.ok(page.includes(`\n## ${name}\n`), name);
    t.ok(page.includes(`](charts/${key}.svg)`), key);
  }
  const tables = page.split('\n\n').filter((part) => part.startsWith('|'));
  for (const table of tables) {
    t.equal(
      new Set(
        table
          .trim()
          .split('\n')
          .map((line) => line.split(/(?<!\\)\|/).length),
      ).size,
      1,
      'as many cells in each row',
    );
  }
});

t.test('charts are well-formed whatever the names are', async (t) => {
  const record = longRecord();
  const odd = record.systems.map((system) => ({ ...system, name: `<${system.name}> & "co"` }));
  const charts = chartsOf({ ...record, systems: odd });
  t.equal(charts.length, record.loads.length);
  const series = [
    {
      name: '<a> & b',
      points: [
        [10, 1],
        [1000, Number.NaN],
        [100_000, 0],
      ] as const,
    },
  ];
  const curves = [true, false].map((log) =>
    lineChart({ title: 'a < b', xLabel: 'x', yLabel: 'y', series, logX: log, logY: log }),
  );
  for (const svg of [
    ...charts.map(({ svg }) => svg),
    ...curves,
    lineChart({ title: '', xLabel: '', yLabel: '', series: [] }),
  ]) {
    t.notMatch(svg, /NaN|Infinity|undefined/);
    t.equal(openTags(svg), 0, 'each element is closed');
    t.notMatch(svg.replaceAll(/&#\d+;/g, ''), /&/);
  }
});

function openTags(svg: string): number {
  const count = (pattern: RegExp) => svg.match(pattern)?.length ?? 0;
  return count(/<[a-z]/g) - count(/\/>/g) - count(/<\/[a-z]+>/g);
}

t.test('axes have round ticks around the values', async (t) => {
  t.same(axis([3, 97], 0, 100, false).ticks, [0, 20, 40, 60, 80, 100]);
  t.same(
    axis([0.3], 0, 100, false).ticks.map((tick) => tick.toFixed(2)),
    ['0.00', '0.10', '0.20', '0.30'],
  );
  t.same(axis([100, 1e5], 0, 100, true).ticks, [100, 1000, 1e4, 1e5]);
  t.same(axis([60, 300], 0, 100, true).ticks, [50, 100, 200, 500]);
  const { at } = axis([100, 1e4], 0, 100, true);
  t.same(
    [100, 1000, 1e4, 0].map((value) => Math.round(at(value))),
    [0, 50, 100, 0],
  );
});

t.test('how much others had of the machine is told, and that nothing was measured', async (t) => {
  const turns = [0.01, 0.02, 0.4].map((stolenShare, i) => ({ ...turnOf('x', 'a', i), stolenShare }));
  const again = '3 turns taken again for more than 5 %';
  t.equal(stolenText({ measurements: turns, retaken: 3 }), `2.0 %, at most 40.0 % of a turn; ${again}`);
  t.equal(stolenText({ measurements: [], retaken: 0 }), 'nothing was measured');
});

t.test('figures are short', async (t) => {
  t.same([0.12345, 7, 1234, 98_765, 1.5e6, 3e9].map(figure), ['0.123', '7', '1.23 k', '98.8 k', '1.5 M', '3 G']);
  const cpu = columnsOf('request').find((column) => column.figure === 'cpuPerUnit');
  t.same(
    [71.23e-6, 915.4e-6, 0.0123].map((value) => cpu?.text(value)),
    ['71.2', '915', '12300'],
  );
});

t.test(
  'progress tells what, which of how many, and how long still; a terminal gets one line that changes',
  async (t) => {
    const clock = new FakeClock();
    const step = { load: loadOf('x'), system: systemOf('a', 'l4'), turns: 31 };
    const shown = (isTTY: boolean) => {
      const texts: string[] = [];
      const progress = createProgress({ isTTY, columns: 60, write: (text) => texts.push(text) }, clock);
      progress.say('starting');
      progress.turn({ ...step, repeat: 0, turn: 1 });
      clock.advance(10_000);
      progress.turn({ ...step, repeat: 1, turn: 2 });
      progress.end();
      return texts;
    };
    t.same(shown(false), ['… starting\n', '[ 1/31] x: a, warm-up\n', '[ 2/31] x: a, repeat 1 · about 5 min left\n']);
    t.ok(shown(true).every((text) => text.startsWith('\r\u001B[K') && !text.includes('\n') && text.length < 65));
  },
);
