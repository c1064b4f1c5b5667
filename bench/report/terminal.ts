/** A run for people at a terminal: aligned columns, at most 120 wide. */
import { stolenText } from './format.ts';
import type { RunRecord } from './record.ts';
import { loadBlocks, type Table, targetTable } from './tables.ts';
import { troublesOf } from './troubles.ts';

const width = 120;

/** Ends with a line feed. */
export function terminalReport(record: RunRecord): string {
  const { machine, accounting } = record;
  const lines = [
    ...wrap(
      `${record.date.slice(0, 10)}, commit ${machine.commit}, ${machine.cores} cores (${machine.cpu}), ` +
        `Linux ${machine.kernel}, Node ${machine.node}`,
    ),
    `repeats: ${record.repeats}, of ${record.seconds} s: median [least–most]; CPU by ${accounting.cpu}; ` +
      `peaks ${accounting.peak}`,
    ...wrap(`taken by other guests of the host: ${stolenText(record)}`),
    ...record.systems.flatMap(({ name, settings }) => wrap(`${name}: ${settings}`)),
    ...record.missing.flatMap(({ name, reason }) => wrap(`${name} is missing: ${reason}`)),
  ];
  for (const { title, tables } of loadBlocks(record)) {
    lines.push('', title, ...tables.flatMap((table, index) => (index === 0 ? layOut(table) : ['', ...layOut(table)])));
  }
  if (record.verdicts.length > 0) lines.push('', 'Targets', ...layOut(targetTable(record)));
  const troubles = troublesOf(record);
  if (troubles.length > 0) lines.push('', 'What went wrong', ...troubles.flatMap((line) => wrap(`  ${line}`)));
  return `${lines.join('\n')}\n`;
}

/** At spaces; what follows is indented. */
function wrap(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(lines.length === 0 ? word : `    ${word}`);
  }
  return lines;
}

/** Each column as wide as its widest cell; names in the first one are cut when there is no room for them. */
function layOut({ head, rows }: Table): string[] {
  const widths = head.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const [names = 0, ...others] = widths;
  const room = Math.min(names, width - others.reduce((sum, each) => sum + 2 + each, 2));
  return [head, ...rows].map(([name = '', ...cells]) => {
    const shown = name.length > room ? `${name.slice(0, room - 1)}…` : name.padEnd(room);
    return ['', shown, ...cells.map((cell, column) => cell.padStart(others[column] ?? 0))].join('  ').trimEnd();
  });
}
