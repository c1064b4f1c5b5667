/** Finished spans on their way to an OpenTelemetry collector, as OTLP in JSON over HTTP. */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { Counter, MetricsRegistry } from '../../base/metrics.ts';
import type { Random } from '../../base/random.ts';
import { slicedText } from '../../base/sliced-text.ts';
import { BatchExporter } from './batch-exporter.ts';
import { otlpJson, type Resource } from './otlp-json.ts';
import type { PostOutcome } from './post.ts';
import type { FinishedSpan } from './span.ts';

export interface ExporterOptions {
  readonly post: (body: string) => Promise<PostOutcome>;
  readonly resource: Resource;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
}

export class SpanExporter extends BatchExporter<FinishedSpan> {
  constructor(options: ExporterOptions) {
    const { post, resource, clock, metrics } = options;
    super({
      ...options,
      what: 'spans',
      counter: (result) => spanCounter(metrics, result),
      encode: async (batch) => {
        const body = await wholeText(otlpJson(resource, batch), clock);
        return () => post(body);
      },
    });
  }
}

export function spanCounter(metrics: MetricsRegistry, result: string): Counter {
  return metrics.counter('ambit_spans_total', 'Spans, by what became of them.', { result });
}

/** Made in slices, so that a large batch holds nobody. */
export async function wholeText(pieces: Iterable<string>, clock: Clock): Promise<string> {
  let text = '';
  for await (const chunk of slicedText(pieces, { clock })) text += chunk;
  return text;
}
