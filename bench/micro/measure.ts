/**
 * What one call costs: CPU time of this process from the kernel (getrusage), so that other programs' load counts as
 * little as can be and collecting the garbage counts too; and bytes that V8 allocated.
 *
 * I1: a call's answer goes into a sum that is kept, so that no optimiser may leave the call out.
 */
import process from 'node:process';
import { getHeapStatistics } from 'node:v8';

/** One call of what is measured. `i` counts up over all calls; the answer is anything that depends on the work. */
export type Operation = (i: number) => number;

export interface MeasureOptions {
  /** CPU milliseconds of one batch, at least. */
  readonly batchMs: number;
  readonly batches: number;
}

export interface Cost {
  /** Median over the batches. */
  readonly nsPerCall: number;
  /** Half of the distance between the quartiles, as a part of the median. */
  readonly spread: number;
  readonly bytesPerCall: number;
}

export const thorough: MeasureOptions = { batchMs: 5, batches: 15 };
/** Enough to tell one law of growth from another. */
export const brief: MeasureOptions = { batchMs: 1, batches: 7 };

/** Whichever is reached first. */
const warmUp = { calls: 1000, ms: 100 };

/** What all operations answered together. Exported so that it is used. */
export const kept = { sum: 0 };

export function measure(operation: Operation, { batchMs, batches }: MeasureOptions): Cost {
  let next = 0;
  const batch = (calls: number) => {
    let sum = 0;
    const end = next + calls;
    const bytesBefore = allocatedBytes();
    const nsBefore = cpuNs();
    for (let i = next; i < end; i++) sum += operation(i);
    const ns = cpuNs() - nsBefore;
    const bytes = allocatedBytes() - bytesBefore;
    next = end;
    kept.sum += sum;
    return { ns, bytes };
  };
  // First calls build what later ones find.
  for (let ns = 0; next < warmUp.calls && ns < warmUp.ms * 1e6; ) ns += batch(1).ns;
  let calls = 1;
  while (batch(calls).ns < batchMs * 1e6) calls *= 2;
  const taken = Array.from({ length: batches }, () => batch(calls));
  const times = taken.map(({ ns }) => ns / calls);
  const nsPerCall = quantile(times, 0.5);
  return {
    nsPerCall,
    spread: (quantile(times, 0.75) - quantile(times, 0.25)) / 2 / nsPerCall,
    // A collection that ends inside of a batch corrects V8's own count; the median has none.
    bytesPerCall: quantile(
      taken.map(({ bytes }) => bytes / calls),
      0.5,
    ),
  };
}

/**
 * A fixed mixture of what decisions consist of: look-ups by string, comparisons, a small object. Budgets are given for a
 * machine on which one call of it takes `referenceNs`, and are scaled by what it takes here and now.
 */
export function calibration(): Operation {
  const keys = Array.from({ length: 1024 }, (_, i) => `10.${i >> 8}.${i & 255}.${i % 7}`);
  const map = new Map(keys.map((key, i) => [key, { key, value: i }]));
  return (i) => {
    let sum = 0;
    for (let k = 0; k < 32; k++) {
      const found = map.get(keys[(i * 31 + k * 7) & 1023] as string);
      if (found?.key.startsWith('10.1') === true) sum += found.value;
      else sum++;
    }
    return sum;
  };
}

/** Nanoseconds of one call of `calibration` where the budgets were set. */
export const referenceNs = 1000;

/** The value below which the part `q` of the values lies, by linear interpolation. NaN for none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const position = (sorted.length - 1) * q;
  const below = sorted[Math.floor(position)];
  const above = sorted[Math.ceil(position)];
  if (below === undefined || above === undefined) return Number.NaN;
  return below + (above - below) * (position - Math.floor(position));
}

/** Of the whole process: the kernel tells a single thread's only as of its last tick. */
function cpuNs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

function allocatedBytes(): number {
  return getHeapStatistics().total_allocated_bytes;
}
