/** What is counted of extensions, by their names; the names go when the extensions do. */
import type { Counter, Histogram, Labels, MetricsRegistry } from '../base/metrics.ts';
import { type HookName, hookNames } from './extension.ts';
import type { FailureReason, ThreadEnd } from './thread.ts';

export type CallResult = 'unchanged' | 'changed' | 'replied' | FailureReason;

const results: readonly CallResult[] = [
  'unchanged',
  'changed',
  'replied',
  'threw',
  'invalid',
  'deadline',
  'busy',
  'too-long',
  'ended',
  'unavailable',
];
const ends: readonly ThreadEnd[] = ['crashed', 'memory', 'stuck'];
const secondsBuckets = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

const help = {
  calls: 'Calls of hooks of extensions, by result.',
  seconds: 'Time from a call of a hook to its answer.',
  loads: 'Versions of extensions that were loaded, or could not be.',
  ends: 'Threads of extensions that broke.',
  threads: 'Threads of extensions, those that finish what they began included.',
};

/** The cells of one extension's hook: a call adds to them and looks nothing up. */
export interface HookMetrics {
  readonly results: Readonly<Record<CallResult, Counter>>;
  readonly seconds: Histogram;
}

export class ExtensionMetrics {
  readonly #registry: MetricsRegistry;
  readonly #hooks = new Map<string, HookMetrics>();

  constructor(registry: MetricsRegistry) {
    this.#registry = registry;
  }

  hook(extension: string, hook: HookName): HookMetrics {
    return this.#hooks.getOrInsertComputed(`${extension} ${hook}`, () => {
      const counter = (result: CallResult) =>
        [
          result,
          this.#registry.counter('ambit_extension_calls_total', help.calls, { extension, hook, result }),
        ] as const;
      return {
        results: Object.fromEntries(results.map(counter)) as Record<CallResult, Counter>,
        seconds: this.#registry.histogram('ambit_extension_call_seconds', help.seconds, secondsBuckets, {
          extension,
          hook,
        }),
      };
    });
  }

  loaded(extension: string, good: boolean): void {
    const labels = { extension, result: good ? 'loaded' : 'refused' };
    this.#registry.counter('ambit_extension_loads_total', help.loads, labels).value++;
  }

  ended(extension: string, end: ThreadEnd): void {
    this.#registry.counter('ambit_extension_ends_total', help.ends, { extension, reason: end }).value++;
  }

  threads(extension: string, count: number): void {
    this.#registry.gauge('ambit_extension_threads', help.threads, { extension }).value = count;
  }

  forget(extension: string): void {
    const remove = (name: string, labels: Labels) => this.#registry.remove(name, { extension, ...labels });
    for (const hook of hookNames) {
      if (!this.#hooks.delete(`${extension} ${hook}`)) continue;
      for (const result of results) remove('ambit_extension_calls_total', { hook, result });
      remove('ambit_extension_call_seconds', { hook });
    }
    for (const result of ['loaded', 'refused']) remove('ambit_extension_loads_total', { result });
    for (const reason of ends) remove('ambit_extension_ends_total', { reason });
    remove('ambit_extension_threads', {});
  }
}
