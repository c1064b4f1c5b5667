/** Systems, loads and turns made up for the tests of the bench. */
import type { Load, Measurement, System, Usage } from '../../../bench/model.ts';
import type { RunRecord } from '../../../bench/report/record.ts';

export function systemOf(key: string, layer: System['layer'], more: Partial<System> = {}): System {
  return {
    key,
    name: key,
    layer,
    ours: false,
    settings: 'made up',
    serves: new Set(['http', 'echo']),
    pod: `${key}-client`,
    host: '10.0.0.1',
    proxies: () => [],
    ...more,
  };
}

export function loadOf(key: string, more: Partial<Load> = {}): Load {
  return {
    key,
    name: key,
    unit: 'request',
    port: 'http',
    layers: ['l4', 'l7'],
    run: async () => ({ units: 1, perSecond: 1, errors: 0 }),
    ...more,
  };
}

export function usageOf(figures: Partial<Usage> = {}): Usage {
  return { name: 'proxy', cpuSeconds: 0, rssBytes: 0, peakRssBytes: 0, ...figures };
}

/** A turn of 1000 units in which one proxy took `cpuSeconds`. */
export function turnOf(
  load: string,
  system: string,
  repeat: number,
  { cpuSeconds = 1, rssBytes = 50e6, ...result }: Partial<Usage & Measurement['result']> = {},
): Measurement {
  return {
    load,
    system,
    repeat,
    result: { units: 1000, perSecond: 1000, errors: 0, ...result },
    before: [usageOf({ cpuSeconds: 5, rssBytes: 40e6 })],
    after: [usageOf({ cpuSeconds: 5 + cpuSeconds, rssBytes, peakRssBytes: rssBytes })],
    stolenShare: 0,
  };
}

export function recordOf(more: Partial<RunRecord> = {}): RunRecord {
  return {
    date: '2026-01-02T03:04:05.000Z',
    machine: {
      commit: 'abcdef0123',
      cores: 2,
      cpu: 'made up',
      architecture: 'x64',
      memoryBytes: 2 ** 33,
      kernel: '6.1',
      node: '26.0.0',
    },
    accounting: { cpu: 'scheduler, 1 ns', peak: 'since the turn began' },
    seconds: 3,
    repeats: 2,
    quick: false,
    systems: [],
    missing: [],
    loads: [],
    idle: [],
    measurements: [],
    failures: [],
    retaken: 0,
    rates: {},
    verdicts: [],
    ...more,
  };
}
