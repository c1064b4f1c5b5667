/** Medians over the repeats of a run, with ratios to no proxy, as a table for people. */

export interface Measurement {
  readonly load: string;
  readonly system: string;
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
  /** Of all proxies of the system together. */
  readonly cpuSeconds: number;
  /** Of the largest proxy, after the load. */
  readonly rssBytes: number;
}

const columns = [
  '',
  'requests/s',
  'of no proxy',
  'p50 ms',
  'p99 ms',
  'proxies’ CPU µs/request',
  'largest RSS MB',
  'errors',
];

export function printTable(measurements: readonly Measurement[], output: { write(text: string): unknown }): void {
  for (const load of distinct(measurements.map((each) => each.load))) {
    const rows = measurements.filter((each) => each.load === load);
    const base = median(rows.filter((each) => each.system === 'no proxy').map((each) => each.perSecond));
    output.write(`\n${load}\n`);
    const lines = distinct(rows.map((each) => each.system)).map((system) => {
      const of = (figure: (each: Measurement) => number) =>
        median(rows.filter((each) => each.system === system).map(figure));
      return [
        system,
        of((each) => each.perSecond).toFixed(0),
        (of((each) => each.perSecond) / base).toFixed(2),
        of((each) => each.p50Ms).toFixed(2),
        of((each) => each.p99Ms).toFixed(2),
        of((each) => (each.cpuSeconds * 1e6) / each.requests).toFixed(0),
        (of((each) => each.rssBytes) / 1e6).toFixed(0),
        String(Math.max(...rows.filter((each) => each.system === system).map((each) => each.errors))),
      ];
    });
    const widths = columns.map((name, i) => Math.max(name.length, ...lines.map((line) => line[i]?.length ?? 0)));
    for (const line of [columns, ...lines]) {
      const cells = line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)));
      output.write(`  ${cells.join('  ')}\n`);
    }
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  if (sorted.length % 2 === 1) return sorted[middle] as number;
  return ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

function distinct(values: readonly string[]): string[] {
  return [...new Set(values)];
}
