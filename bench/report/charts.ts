/** The charts of a run: one for each load, with what tells most about it. */
import { spreadOf } from '../statistics.ts';
import { barChart } from './bar-chart.ts';
import type { RunRecord } from './record.ts';
import { loadBlocks } from './tables.ts';

export interface Chart {
  readonly load: string;
  readonly fileName: string;
  readonly svg: string;
}

const shown: ReadonlySet<string> = new Set(['perSecond', 'cpuPerUnit', 'p99Ms', 'peakRssBytes', 'bytesPerUnit']);

export function chartsOf(record: RunRecord): Chart[] {
  return loadBlocks(record).map(({ load, title, systems, columns }) => {
    const panels = columns
      .filter(({ figure }) => shown.has(figure))
      .map(({ figure, head, text }) => ({
        label: head,
        bars: systems.map(({ key }) => {
          const spread = spreadOf(record, load, key, figure);
          if (spread === undefined) return undefined;
          return { value: spread.median, low: spread.min, high: spread.max, text: text(spread.median) };
        }),
      }));
    const rows = systems.map(({ name, ours }) => ({ name, emphasised: ours }));
    return { load, fileName: chartFileName(load), svg: barChart({ title, rows, panels }) };
  });
}

export function chartFileName(load: string): string {
  return `${load}.svg`;
}
