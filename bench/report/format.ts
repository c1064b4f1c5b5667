/** Figures as people read them, each with the unit that its column's head tells. */
import { type Measured, mostStolenShare } from '../measure.ts';
import type { Load } from '../model.ts';
import { type FigureName, median, type Spread } from '../statistics.ts';
import { figure } from './svg.ts';

export interface Column {
  readonly figure: FigureName;
  readonly head: string;
  /** Where only ratios stand below. */
  readonly ratioHead: string;
  readonly text: (value: number) => string;
}

/** How much of the machine others had while turns counted, and what was done about it. */
export function stolenText({ measurements, retaken }: Pick<Measured, 'measurements' | 'retaken'>): string {
  if (measurements.length === 0) return 'nothing was measured';
  const shares = measurements.map(({ stolenShare }) => stolenShare);
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const again = `${retaken} turns taken again for more than ${mostStolenShare * 100} %`;
  return `${percent(median(shares))}, at most ${percent(Math.max(0, ...shares))} of a turn; ${again}`;
}

const units: Readonly<Record<Load['unit'], readonly [one: string, several: string]>> = {
  request: ['request', 'requests'],
  connection: ['connection', 'connections'],
  'round trip': ['round trip', 'round trips'],
  GB: ['GB', 'GB'],
  'idle connection': ['connection', 'connections'],
};

/** What is told of a load of this unit. Whoever shows them leaves out those that nobody has a value of. */
export function columnsOf(unit: Load['unit']): readonly Column[] {
  const [one, several] = units[unit];
  const peak: Column = { figure: 'peakRssBytes', head: 'peak MB', ratioHead: 'peak memory', text: megabytes };
  if (unit === 'idle connection')
    return [{ figure: 'bytesPerUnit', head: `KiB/${one}`, ratioHead: `memory/${one}`, text: kibibytes }, peak];
  const latency = (figure: FigureName, name: string): Column => ({
    figure,
    head: `${name} ms`,
    ratioHead: name,
    text: digits(3),
  });
  const cpuText = digits(3);
  return [
    { figure: 'perSecond', head: `${several}/s`, ratioHead: `${several}/s`, text: figure },
    {
      figure: 'cpuPerUnit',
      head: unit === 'GB' ? 'CPU s/GB' : `CPU µs/${one}`,
      ratioHead: `CPU/${one}`,
      text: (seconds) => cpuText(unit === 'GB' ? seconds : seconds * 1e6),
    },
    latency('p50Ms', 'p50'),
    latency('p90Ms', 'p90'),
    latency('p99Ms', 'p99'),
    latency('p999Ms', 'p99.9'),
    peak,
  ];
}

/** `1.32 [1.25–1.41]`, `33.3 [22.2–44.4] k`; a spread that does not show is left out. */
export function spreadText({ median, min, max }: Spread, text: (value: number) => string): string {
  const parts = [median, min, max].map((value) => text(value).split(' '));
  const [[middle, sign] = [], [low, lowSign] = [], [high, highSign] = []] = parts;
  if (low === high && lowSign === highSign) return text(median);
  if (sign === lowSign && sign === highSign) return `${middle} [${low}–${high}]${sign === undefined ? '' : ` ${sign}`}`;
  return `${text(median)} [${text(min)}–${text(max)}]`;
}

export function ratioText(ratio: Spread): string {
  return spreadText(ratio, (value) => value.toFixed(value < 10 ? 2 : 1));
}

export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

export function kibibytes(bytes: number): string {
  return (bytes / 1024).toFixed(1);
}

/** Significant ones; never in powers of ten. */
function digits(count: number): (value: number) => string {
  return (value) => {
    const decimals = value === 0 ? 0 : count - 1 - Math.floor(Math.log10(Math.abs(value)));
    return value.toFixed(Math.min(Math.max(decimals, 0), 6));
  };
}
