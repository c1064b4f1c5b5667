/** A run as a Markdown page: where and how it was made, whether the targets are met, then every load. */
import { stolenText } from './format.ts';
import type { RunRecord } from './record.ts';
import { loadBlocks, type Table, targetTable } from './tables.ts';
import { troublesOf } from './troubles.ts';

/** Ends with a line feed. `chartOf` tells where a load's chart is, as seen from the page; undefined for none. */
export function markdownReport(record: RunRecord, chartOf: (load: string) => string | undefined): string {
  return [
    '# Results of the bench',
    '',
    'Figures of one run compare with each other only. Median [least–most] of the repeats; a ratio is taken between turns of',
    'the same repeat. CPU is that of all proxies of a system, without load and origin; peak memory is of the largest proxy.',
    '',
    ...layOut({ head: ['run', ''], rows: runRows(record) }, 'left'),
    '',
    ...layOut(
      { head: ['system', 'settings'], rows: record.systems.map(({ name, settings }) => [name, settings]) },
      'left',
    ),
    ...notes(record),
    ...(record.verdicts.length === 0 ? [] : ['', '## Targets', '', ...layOut(targetTable(record), 'right')]),
    ...loadBlocks(record).flatMap(({ load, title, tables }) => {
      const chart = chartOf(load);
      return [
        '',
        `## ${title}`,
        ...tables.flatMap((table) => ['', ...layOut(table, 'right')]),
        ...(chart === undefined ? [] : ['', `![${title}](${encodeURI(chart)})`]),
      ];
    }),
    '',
  ].join('\n');
}

function runRows(record: RunRecord): string[][] {
  const { date, machine, accounting, repeats, seconds, quick } = record;
  const memory = `${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB`;
  return [
    ['date', date],
    ['commit', machine.commit],
    ['machine', `${machine.cores} cores, ${machine.cpu}, ${machine.architecture}, ${memory}`],
    ['kernel', `Linux ${machine.kernel}`],
    ['Node', machine.node],
    [
      'turns',
      `${repeats} of ${seconds} s for each load and system, in turns, after having been run in and a warm-up${quick ? ' (quick)' : ''}`,
    ],
    ['taken by other guests', stolenText(record)],
    ['CPU time', `by ${accounting.cpu}`],
    ['peak memory', accounting.peak],
  ];
}

function notes(record: RunRecord): string[] {
  const missing = record.missing.map(({ name, reason }) => `${name} is missing: ${reason}`);
  const lines = [...missing, ...troublesOf(record)];
  return lines.length === 0 ? [] : ['', ...lines.map((line) => `* ${line.replaceAll(/\s+/g, ' ')}`)];
}

function layOut({ head, rows }: Table, alignment: 'left' | 'right'): string[] {
  const rule = head.map((_, column) => (column === 0 || alignment === 'left' ? '---' : '---:'));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(rule), ...rows.map(line)];
}
