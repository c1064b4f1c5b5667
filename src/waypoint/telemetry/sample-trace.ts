/** Whether a trace that begins here is kept (Istio's `randomSamplingPercentage`, `useRequestIdForTraceSampling`). */
import type { TracingRule } from '../../route/telemetry/rules.ts';
import type { Sampler } from '../../telemetry/tracing/sampler.ts';

/** Hundredths of a percent. */
const steps = 10_000;

/** `environment`: decides where no percentage is given; without it nothing is kept. Who decided before us is followed. */
export function samplesTrace(
  rule: Pick<TracingRule, 'samplingPercent' | 'byRequestId'>,
  traceId: string,
  requestId: string | undefined,
  before: boolean | undefined,
  environment: Sampler | undefined,
): boolean {
  if (rule.samplingPercent === undefined) return environment?.samples(traceId, before) ?? false;
  if (before !== undefined) return before;
  return stepOf(rule.byRequestId ? requestId : undefined, traceId) < Math.round(rule.samplingPercent * (steps / 100));
}

/** From the first 32 bits of a UUID, as Envoy draws it, so that all who see the id decide alike; else from the trace's id. */
function stepOf(requestId: string | undefined, traceId: string): number {
  const ofRequest = requestId !== undefined && /^[0-9a-f]{8}-/i.test(requestId) ? requestId.slice(0, 8) : undefined;
  return Number.parseInt(ofRequest ?? traceId.slice(-8), 16) % steps;
}
