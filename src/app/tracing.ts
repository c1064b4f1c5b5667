/** Loads what tracing needs, when it was asked for and not before. */
import type { RunningTracing, TracingDependencies, TracingOptions } from '../telemetry/tracing/tracer.ts';

export async function startTracing(
  options: TracingOptions,
  dependencies: TracingDependencies,
): Promise<RunningTracing> {
  const { createTracing } = await import('../telemetry/tracing/tracer.ts');
  dependencies.logger.topic('tracing').info('exporting spans', {
    endpoint: `${options.endpoint.origin}${options.endpoint.pathname}`,
    sampler: options.sampler,
  });
  return createTracing(options, dependencies);
}
