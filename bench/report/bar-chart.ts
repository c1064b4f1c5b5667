/** Figures of several systems side by side as SVG text: a row per system, a panel per figure, each bar with its spread. */
import { type Axis, axis, colour, element, ink, svg } from './svg.ts';

export interface Bar {
  /** The end of the bar. */
  readonly value: number;
  /** Ends of the line across it. */
  readonly low: number;
  readonly high: number;
  readonly text: string;
}

export interface BarChart {
  readonly title: string;
  readonly rows: readonly { readonly name: string; readonly emphasised: boolean }[];
  /** Each with as many bars as there are rows; undefined leaves a row empty. */
  readonly panels: readonly { readonly label: string; readonly bars: readonly (Bar | undefined)[] }[];
}

const panelWidth = 200;
const gap = 24;
/** What a bar's text needs to the right of it. */
const textWidth = 56;
const rowHeight = 26;
const top = 66;

/** A whole SVG document. */
export function barChart({ title, rows, panels }: BarChart): string {
  const namesWidth = 24 + Math.max(...rows.map(({ name }) => name.length * 7.4), 60);
  const bottom = top + rows.length * rowHeight;
  const middle = (row: number) => top + (row + 0.5) * rowHeight;
  const parts = [
    element('text', { x: 12, y: 26, 'font-size': 15, 'font-weight': 'bold', fill: ink.text }, title),
    ...rows.map(({ name, emphasised }, row) => {
      const place = { x: namesWidth - 10, y: middle(row) + 4, 'text-anchor': 'end', fill: ink.text };
      return element('text', { ...place, 'font-weight': emphasised ? 'bold' : 'normal' }, name);
    }),
  ];
  for (const [index, { label, bars }] of panels.entries()) {
    const from = namesWidth + index * (panelWidth + gap);
    const scale = axis(
      bars.flatMap((bar) => (bar === undefined ? [] : [bar.value, bar.high])),
      from,
      from + panelWidth - textWidth,
      false,
    );
    parts.push(
      element('text', { x: from, y: top - 12, fill: ink.soft }, label),
      element('line', { x1: from, x2: from, y1: top, y2: bottom, stroke: ink.soft }),
      ...bars.flatMap((bar, row) => {
        if (bar === undefined) return [];
        return drawBar(bar, scale, middle(row), colour(rows[row]?.emphasised === true ? 0 : 4));
      }),
    );
  }
  return svg(namesWidth + panels.length * (panelWidth + gap), bottom + 16, title, parts);
}

function drawBar({ value, low, high, text }: Bar, { at }: Axis, y: number, fill: string): string[] {
  const [from, to] = [at(0), at(value)];
  const spread = { y1: y, y2: y, x1: at(low), x2: at(high), stroke: ink.text };
  const cap = (x: number) => element('line', { x1: x, x2: x, y1: y - 4, y2: y + 4, stroke: ink.text });
  return [
    element('rect', { x: from, y: y - 8, width: Math.max(to - from, 1), height: 16, fill }),
    ...(high > low ? [element('line', spread), cap(at(low)), cap(at(high))] : []),
    element('text', { x: Math.max(to, at(high)) + 6, y: y + 4, fill: ink.text }, text),
  ];
}
