/**
 * Active health checks, which Istio has no field for: an annotation of a DestinationRule, JSON with durations as everywhere.
 * `{"path": "/healthz", "interval": "5s"}` asks for a page, `{}` for a connection.
 */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import type { HealthCheckPolicy } from '../route/destination.ts';
import { type ConfigObject, diagnose } from './object.ts';
import { durationSchema } from './values.ts';

export const healthCheckAnnotation = 'ambit.io/health-check';

/** More often would be load of our own. */
const shortestIntervalMs = 100;

const schema = z
  .strictObject({
    path: z
      .string()
      .regex(/^\/[\x21-\x7e]*$/, 'is no path')
      .optional(),
    interval: durationSchema.refine((ms) => ms >= shortestIntervalMs, 'is shorter than 100ms').optional(),
    timeout: durationSchema.refine((ms) => ms >= 1, 'is no time').optional(),
    unhealthyThreshold: z.number().int().min(1).max(1000).default(3),
    healthyThreshold: z.number().int().min(1).max(1000).default(2),
  })
  .transform(
    ({ path, interval, timeout, unhealthyThreshold, healthyThreshold }): HealthCheckPolicy => ({
      path,
      intervalMs: interval ?? 5_000,
      timeoutMs: timeout ?? 1_000,
      unhealthyThreshold,
      healthyThreshold,
    }),
  );

export function readHealthCheck(object: ConfigObject, diagnostics: Diagnostic[]): HealthCheckPolicy | undefined {
  const text = object.metadata.annotations[healthCheckAnnotation];
  if (text === undefined) return undefined;
  const parsed = schema.safeParse(json(text));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const message = `${healthCheckAnnotation}: ${[...(issue?.path ?? []), issue?.message].join(' ')}`;
  diagnostics.push(
    diagnose(object, 'DESTINATION_SETTING_INVALID', message, ['metadata', 'annotations', healthCheckAnnotation]),
  );
  return undefined;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON, which the schema says with a place.
    return undefined;
  }
}
