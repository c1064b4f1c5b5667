/** Curves as tables for people and as SVG. */
import { lineChart } from '../report/line-chart.ts';
import type { Series, WalkedCurve } from './walk.ts';

export function curveTable(curve: WalkedCurve): string {
  const xs = [...new Set(curve.series.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
  const head = [curve.xLabel, ...xs.map((x) => x.toLocaleString('en')), 'last : first', 'exponent', ''];
  const rows = curve.series.map((series) => [
    series.name,
    ...xs.map((x) => text(series.points.find(([at]) => at === x)?.[1])),
    text(series.law?.ratio),
    series.law?.exponent.toFixed(2) ?? '',
    flagOf(series),
  ]);
  const widths = head.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const lines = [head, ...rows].map((row) =>
    row.map((cell, i) =>
      i === 0 || i === row.length - 1 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
    ),
  );
  const failures = curve.failures.map(({ x, reason }) => `  ${x}: ${reason}`);
  return [curve.title, ...lines.map((cells) => `  ${cells.join('  ').trimEnd()}`), ...failures, ''].join('\n');
}

/** Costs and memory are of different sizes: a chart of each. */
export function curveCharts(curve: WalkedCurve): readonly { readonly fileName: string; readonly svg: string }[] {
  const groups = Map.groupBy(curve.series, ({ name }) => name.includes('RSS'));
  return [...groups].map(([isMemory, series]) => ({
    fileName: `growth-${curve.key}${isMemory ? '-memory' : ''}.svg`,
    svg: lineChart({
      title: curve.title,
      xLabel: curve.xLabel,
      yLabel: isMemory ? 'MB' : series.length === 1 ? (series[0]?.name ?? '') : 'as the legend says',
      series: series.map(({ name, points }) => ({ name, points })),
      logX: true,
      logY: !isMemory,
    }),
  }));
}

export function isFlagged({ onPath, law }: Series): boolean {
  return onPath && law?.worseThanLogarithmic === true;
}

function flagOf(series: Series): string {
  return isFlagged(series) ? 'WORSE THAN LOGARITHMIC' : '';
}

function text(value: number | undefined): string {
  if (value === undefined) return '';
  return value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 2 : value < 1000 ? 1 : 0 });
}
