/**
 * Metric families as text, in Prometheus' form 0.0.4 and in OpenMetrics 1.0: the same samples, but OpenMetrics names a
 * counter's family without `_total`.
 */
import type { Labels } from '../base/metrics.ts';

export type FamilyType = 'counter' | 'gauge' | 'histogram';

export const textContentType = 'text/plain; version=0.0.4; charset=utf-8';
export const openMetricsContentType = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/** `a="b",c="d"`: what stands between the braces. */
export function labelsText(labels: Labels): string {
  let text = '';
  for (const [name, value] of Object.entries(labels)) {
    text += `${text === '' ? '' : ','}${name}="${escapeValue(value)}"`;
  }
  return text;
}

export function familyHead(name: string, help: string, type: FamilyType, openMetrics: boolean): string {
  const shown = openMetrics && type === 'counter' ? name.replace(/_total$/, '') : name;
  return `# HELP ${shown} ${escapeHelp(help)}\n# TYPE ${shown} ${type}\n`;
}

/** `labels` as `labelsText` made them. */
export function sampleLine(name: string, labels: string, value: number): string {
  return labels === '' ? `${name} ${numberText(value)}\n` : `${name}{${labels}} ${numberText(value)}\n`;
}

export function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}

/** Values come from the mesh and from certificates: none may end its quotes or the line. */
function escapeValue(value: string): string {
  return /^[^\\"\n]*$/.test(value) ? value : value.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`));
}

function escapeHelp(help: string): string {
  return help.replace(/[\\\n]/g, (c) => (c === '\n' ? '\\n' : '\\\\'));
}
