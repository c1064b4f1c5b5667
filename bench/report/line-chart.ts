/** Curves over a number of things as SVG text: points joined by lines, a legend above, either axis logarithmic. */
import { axis, colour, element, figure, ink, svg } from './svg.ts';

export interface LineChart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }[];
  /** Of positive values only: points at 0 and below stand on the axis. */
  readonly logX?: boolean;
  readonly logY?: boolean;
}

const width = 760;
const left = 70;
const right = width - 24;
const plotHeight = 300;
const legendRow = 20;

/** A whole SVG document. Points are drawn in the order of x; those that are no finite numbers are left out. */
export function lineChart(chart: LineChart): string {
  const series = chart.series.map(({ name, points }) => ({
    name,
    points: points.filter((point) => point.every(Number.isFinite)).toSorted(([a], [b]) => a - b),
  }));
  const legend = placeLegend(series.map(({ name }) => name));
  const top = 52 + legend.rows * legendRow;
  const bottom = top + plotHeight;
  const all = series.flatMap(({ points }) => points);
  const xs = all.map(([x]) => x);
  const ys = all.map(([, y]) => y);
  const x = axis(xs, left, right, chart.logX === true);
  const y = axis(ys, bottom, top, chart.logY === true);
  const parts = [
    element('text', { x: left, y: 26, 'font-size': 15, 'font-weight': 'bold', fill: ink.text }, chart.title),
    ...legend.parts,
    ...y.ticks.flatMap((tick) => [
      element('line', { x1: left, x2: right, y1: y.at(tick), y2: y.at(tick), stroke: ink.grid }),
      element('text', { x: left - 8, y: y.at(tick) + 4, 'text-anchor': 'end', fill: ink.soft }, figure(tick)),
    ]),
    ...x.ticks.flatMap((tick) => [
      element('line', { x1: x.at(tick), x2: x.at(tick), y1: top, y2: bottom, stroke: ink.grid }),
      element('text', { x: x.at(tick), y: bottom + 18, 'text-anchor': 'middle', fill: ink.soft }, figure(tick)),
    ]),
    element(
      'text',
      { x: (left + right) / 2, y: bottom + 40, 'text-anchor': 'middle', fill: ink.text },
      `${chart.xLabel}${chart.logX === true ? ' (logarithmic)' : ''}`,
    ),
    element(
      'text',
      { transform: `translate(18 ${(top + bottom) / 2}) rotate(-90)`, 'text-anchor': 'middle', fill: ink.text },
      `${chart.yLabel}${chart.logY === true ? ' (logarithmic)' : ''}`,
    ),
    ...series.flatMap(({ points }, index) =>
      curve(
        points.map(([px, py]) => [x.at(px), y.at(py)]),
        colour(index),
      ),
    ),
  ];
  return svg(width, bottom + 54, chart.title, parts);
}

function curve(points: readonly (readonly [number, number])[], stroke: string): string[] {
  const path = points.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(' ');
  const dots = points.map(([cx, cy]) => element('circle', { cx, cy, r: 3.5, fill: stroke }));
  return [element('polyline', { points: path, fill: 'none', stroke, 'stroke-width': 2 }), ...dots];
}

/** Names in as few rows as they need, by an estimate of their width. */
function placeLegend(names: readonly string[]): { readonly rows: number; readonly parts: readonly string[] } {
  const parts: string[] = [];
  let [at, row] = [left, 0];
  for (const [index, name] of names.entries()) {
    const needed = 30 + name.length * 7.5;
    if (at > left && at + needed > right) [at, row] = [left, row + 1];
    const middle = 46 + row * legendRow;
    parts.push(
      element('line', { x1: at, x2: at + 18, y1: middle, y2: middle, stroke: colour(index), 'stroke-width': 3 }),
      element('text', { x: at + 24, y: middle + 4, fill: ink.text }, name),
    );
    at += needed + 12;
  }
  return { rows: row + 1, parts };
}
