/** Tracing as it was asked for: a sampler, spans with times of one clock, and an exporter. */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { MetricsRegistry } from '../../base/metrics.ts';
import type { Random } from '../../base/random.ts';
import { SpanExporter } from './exporter.ts';
import { Poster } from './post.ts';
import { createSampler, type SamplerName } from './sampler.ts';
import type { Attributes, Tracing } from './span.ts';

export interface TracingOptions {
  /** With its path. */
  readonly endpoint: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly sampler: SamplerName;
  readonly ratio: number;
  readonly resource: Attributes;
  readonly version: string;
}

export interface TracingDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
}

export interface RunningTracing extends Tracing {
  /** Sends what is left, for two seconds at most. Never rejects. */
  close(): Promise<void>;
}

/** A program that ends does not wait longer for its collector. */
const closeMs = 2000;

export function createTracing(options: TracingOptions, dependencies: TracingDependencies): RunningTracing {
  const { endpoint: url, headers, timeoutMs, sampler, ratio, resource, version } = options;
  const { clock } = dependencies;
  const logger = dependencies.logger.topic('tracing');
  const poster = new Poster({ url, headers, timeoutMs });
  const exporter = new SpanExporter({
    ...dependencies,
    logger,
    post: (body) => poster.post(body),
    resource: { attributes: resource, version },
  });
  return {
    sampler: createSampler(sampler, ratio),
    start(start) {
      const startMicros = Math.round(clock.wallMs() * 1000);
      const startedMs = clock.nowMs();
      return {
        end(attributes, error) {
          // From the clock that never goes back: a span cannot end before it began.
          const endMicros = startMicros + Math.round((clock.nowMs() - startedMs) * 1000);
          exporter.add({ ...start, startMicros, endMicros, attributes, error });
        },
      };
    },
    async close() {
      await new Promise<void>((resolve) => {
        const late = clock.after(closeMs, resolve);
        void exporter.close().then(() => {
          late.cancel();
          resolve();
        });
      });
      poster.close();
    },
  };
}
