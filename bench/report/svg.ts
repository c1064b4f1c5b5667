/**
 * What the charts share: SVG as text, an axis with round ticks, colours that stay apart for colour-blind eyes.
 *
 * I1: the picture needs nothing but itself: no script, no style sheet, no font to load; white ground in dark pages too.
 */

export interface Axis {
  /** From a value to pixels; a value below a logarithmic axis stands at its start. */
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

/** Okabe and Ito's, without yellow, which does not show on white. */
export const palette = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#555555'] as const;

const scales = [
  [1e9, ' G'],
  [1e6, ' M'],
  [1e3, ' k'],
] as const;

export const ink = { text: '#222222', soft: '#666666', grid: '#dddddd' } as const;

export function colour(index: number): string {
  return palette[index % palette.length] ?? ink.text;
}

/** The whole document. Sizes in pixels. */
export function svg(width: number, height: number, title: string, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="12">`,
    `<title>${escapeXml(title)}</title>`,
    element('rect', { width, height, fill: '#ffffff' }),
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

/** One element; `content` is taken as text. Numbers are rounded to a tenth of a pixel. */
export function element(name: string, attributes: Record<string, string | number>, content?: string): string {
  const written = Object.entries(attributes).map(
    ([key, value]) => ` ${key}="${typeof value === 'number' ? round(value) : escapeXml(value)}"`,
  );
  const open = `<${name}${written.join('')}`;
  return content === undefined ? `${open}/>` : `${open}>${escapeXml(content)}</${name}>`;
}

/** The axis from the lowest to the highest value; a linear one begins at 0. `from` and `to` are pixels. */
export function axis(values: readonly number[], from: number, to: number, logarithmic: boolean): Axis {
  const known = values.filter((value) => Number.isFinite(value) && (!logarithmic || value > 0));
  const highest = Math.max(...known, logarithmic ? 1e-9 : 0);
  const lowest = logarithmic ? Math.min(...known, highest) : 0;
  const ticks = logarithmic ? logarithmicTicks(lowest, highest) : linearTicks(highest);
  const [first, last] = [ticks[0] ?? 0, ticks.at(-1) ?? 1];
  const place = logarithmic ? (value: number) => Math.log10(Math.max(value, first)) : (value: number) => value;
  const span = place(last) - place(first);
  return { at: (value) => from + ((place(value) - place(first)) / span) * (to - from), ticks };
}

/** About five round steps from 0 to `highest` or just above. */
function linearTicks(highest: number): number[] {
  if (highest <= 0) return [0, 1];
  const rough = highest / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5].find((each) => each * power >= rough) ?? 10);
  const count = Math.ceil(highest / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, index) => index * step);
}

/** Whole decades; within few of them also 2 and 5. */
function logarithmicTicks(lowest: number, highest: number): number[] {
  const first = Math.floor(Math.log10(lowest) + 1e-9);
  const last = Math.ceil(Math.log10(highest) - 1e-9);
  const decades = Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index));
  if (decades.length > 3) return decades;
  const fine = [...decades, 10 ** (last + 1)].flatMap((decade) => [decade, 2 * decade, 5 * decade]);
  const from = fine.findLastIndex((tick) => tick <= lowest * 1.001);
  const to = fine.findIndex((tick) => tick >= highest * 0.999);
  return fine.slice(Math.max(from, 0), Math.max(to, from + 1) + 1);
}

/** As short as it can be read: `12 k`, `1.5 M`, `0.25`. */
export function figure(value: number): string {
  const [size, sign] = scales.find(([each]) => Math.abs(value) >= each) ?? [1, ''];
  return `${Number((value / size).toPrecision(3))}${sign}`;
}

export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
