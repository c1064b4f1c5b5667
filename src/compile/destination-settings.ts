/**
 * The sections of a DestinationRule's traffic policy, each read by itself: one that is wrong takes no other with it. A key
 * that nobody knows is reported and left out, so that a field of a newer Istio costs only itself.
 */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import type {
  ClientTlsPolicy,
  ConnectionPoolPolicy,
  OutlierPolicy,
  RetryBudgetPolicy,
  TunnelPolicy,
} from '../route/destination.ts';
import { type ConfigObject, diagnose, type Path } from './object.ts';
import { durationSchema, listOf, portSchema } from './values.ts';

/** Envoy's, as istiod sets them. */
const outlierDefaults = { consecutive: 5, intervalMs: 10_000, baseEjectionMs: 30_000, maxEjectionPercent: 10 };

const countSchema = z.number().int().min(0).max(4_294_967_295);
/** Protobuf's wrapped numbers are plain in JSON; as in Istio 0 says nothing where a limit is meant. */
const limitSchema = countSchema.nullish().transform((value) => value || undefined);
const timeSchema = durationSchema.nullish().transform((ms) => ms ?? undefined);
/** At least a millisecond. */
const positiveTimeSchema = durationSchema
  .refine((ms) => ms >= 1, 'is shorter than 1ms')
  .nullish()
  .transform((ms) => ms ?? undefined);
const percentSchema = z.number().min(0).max(100);

const tcpSchema = z.strictObject({
  maxConnections: limitSchema,
  connectTimeout: positiveTimeSchema,
  tcpKeepalive: z
    .strictObject({ probes: limitSchema, time: positiveTimeSchema, interval: positiveTimeSchema })
    .nullish(),
  maxConnectionDuration: positiveTimeSchema,
  idleTimeout: timeSchema,
});

const httpSchema = z.strictObject({
  http1MaxPendingRequests: limitSchema,
  http2MaxRequests: limitSchema,
  maxRequestsPerConnection: limitSchema,
  maxRetries: limitSchema,
  idleTimeout: timeSchema,
  h2UpgradePolicy: z.enum(['DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE']).default('DEFAULT'),
  useClientProtocol: z.boolean().default(false),
  maxConcurrentStreams: limitSchema,
});

const h2Upgrades = { DEFAULT: 'default', DO_NOT_UPGRADE: 'never', UPGRADE: 'always' } as const;

export const connectionPoolSchema = z
  .strictObject({ tcp: tcpSchema.nullish(), http: httpSchema.nullish() })
  .transform(({ tcp, http }): ConnectionPoolPolicy => {
    const keepalive = tcp?.tcpKeepalive;
    return {
      maxConnections: tcp?.maxConnections,
      connectTimeoutMs: tcp?.connectTimeout,
      keepalive:
        keepalive == null
          ? undefined
          : { probes: keepalive.probes, timeMs: keepalive.time, intervalMs: keepalive.interval },
      maxConnectionDurationMs: tcp?.maxConnectionDuration,
      tcpIdleTimeoutMs: tcp?.idleTimeout,
      maxPendingRequests: http?.http1MaxPendingRequests,
      maxRequests: http?.http2MaxRequests,
      maxRequestsPerConnection: http?.maxRequestsPerConnection,
      maxRetries: http?.maxRetries,
      httpIdleTimeoutMs: http?.idleTimeout,
      h2Upgrade: h2Upgrades[http?.h2UpgradePolicy ?? 'DEFAULT'],
      useClientProtocol: http?.useClientProtocol === true,
      maxConcurrentStreams: http?.maxConcurrentStreams,
    };
  });

export const outlierSchema = z
  .strictObject({
    /** Of old; istiod no longer looks at it. */
    consecutiveErrors: countSchema.nullish(),
    consecutive5xxErrors: countSchema.nullish(),
    consecutiveGatewayErrors: countSchema.nullish(),
    splitExternalLocalOriginErrors: z.boolean().nullish(),
    consecutiveLocalOriginFailures: countSchema.nullish(),
    interval: positiveTimeSchema,
    baseEjectionTime: positiveTimeSchema,
    maxEjectionPercent: percentSchema.nullish(),
    minHealthPercent: percentSchema.nullish(),
  })
  .transform(
    (outlier): OutlierPolicy => ({
      consecutive5xx: outlier.consecutive5xxErrors ?? outlierDefaults.consecutive,
      consecutiveGatewayErrors: outlier.consecutiveGatewayErrors ?? 0,
      splitLocalOrigin: outlier.splitExternalLocalOriginErrors === true,
      consecutiveLocalOrigin: outlier.consecutiveLocalOriginFailures ?? outlierDefaults.consecutive,
      intervalMs: outlier.interval ?? outlierDefaults.intervalMs,
      baseEjectionMs: outlier.baseEjectionTime ?? outlierDefaults.baseEjectionMs,
      maxEjectionPercent: outlier.maxEjectionPercent || outlierDefaults.maxEjectionPercent,
      minHealthPercent: outlier.minHealthPercent ?? 0,
    }),
  );

const textSchema = z
  .string()
  .nullish()
  .transform((text) => text || undefined);

export const tlsSchema = z
  .strictObject({
    mode: z.enum(['DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL']).default('DISABLE'),
    clientCertificate: textSchema,
    privateKey: textSchema,
    caCertificates: textSchema,
    caCrl: textSchema,
    credentialName: textSchema,
    subjectAltNames: listOf(z.string().min(1)),
    sni: textSchema,
    insecureSkipVerify: z.boolean().nullish(),
  })
  .superRefine((tls, context) => {
    const problem = tlsProblem(tls);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  })
  .transform((tls): ClientTlsPolicy => {
    if (tls.mode === 'DISABLE') return { mode: 'disable' };
    if (tls.mode === 'ISTIO_MUTUAL') return { mode: 'istio-mutual' };
    return {
      mode: tls.mode === 'SIMPLE' ? 'simple' : 'mutual',
      clientCertificate: tls.clientCertificate,
      privateKey: tls.privateKey,
      caCertificates: tls.caCertificates,
      caCrl: tls.caCrl,
      credentialName: tls.credentialName,
      subjectAltNames: tls.subjectAltNames,
      sni: tls.sni,
      insecureSkipVerify: tls.insecureSkipVerify === true,
    };
  });

function tlsProblem(tls: {
  readonly mode: string;
  readonly clientCertificate: string | undefined;
  readonly privateKey: string | undefined;
  readonly caCertificates: string | undefined;
  readonly credentialName: string | undefined;
}): string | undefined {
  const files = [tls.clientCertificate, tls.privateKey, tls.caCertificates].some((file) => file !== undefined);
  if (tls.credentialName !== undefined && files) return 'give one of credentialName and files';
  if (tls.mode !== 'MUTUAL' || tls.credentialName !== undefined) return undefined;
  return tls.clientCertificate === undefined || tls.privateKey === undefined
    ? 'MUTUAL needs a clientCertificate and a privateKey, or a credentialName'
    : undefined;
}

/** Istio's default version is 1. */
export const proxyProtocolSchema = z
  .strictObject({ version: z.enum(['V1', 'V2']).default('V1') })
  .transform(({ version }) => (version === 'V1' ? 'v1' : 'v2') as 'v1' | 'v2');

export const retryBudgetSchema = z
  .strictObject({ percent: percentSchema.nullish(), minRetryConcurrency: countSchema.nullish() })
  .transform(
    ({ percent, minRetryConcurrency }): RetryBudgetPolicy => ({
      percent: percent ?? 20,
      minRetryConcurrency: minRetryConcurrency ?? 3,
    }),
  );

export const tunnelSchema = z
  .strictObject({
    protocol: z.enum(['CONNECT', 'POST']).default('CONNECT'),
    targetHost: z.string().min(1),
    targetPort: portSchema,
  })
  .transform((tunnel): TunnelPolicy => tunnel);

export type SettingOutcome<T> =
  | { readonly kind: 'absent' }
  | { readonly kind: 'read'; readonly value: T }
  | { readonly kind: 'invalid'; readonly reason: string };

/** Reads one section. What is wrong with it is told; keys that nobody knows are told and ignored. */
export function readSetting<T extends z.ZodType>(
  object: ConfigObject,
  schema: T,
  content: unknown,
  path: Path,
  diagnostics: Diagnostic[],
): SettingOutcome<z.output<T>> {
  if (content === undefined || content === null) return { kind: 'absent' };
  let result = schema.safeParse(content);
  if (!result.success) {
    const pruned = withoutUnknownKeys(content, result.error.issues);
    for (const key of pruned.removed) {
      const at = [...path, ...key];
      diagnostics.push(diagnose(object, 'DESTINATION_FIELD_UNSUPPORTED', `${key.join('.')} has no effect`, at));
    }
    if (pruned.removed.length > 0) result = schema.safeParse(pruned.content);
  }
  if (result.success) return { kind: 'read', value: result.data };
  const [issue] = result.error.issues;
  const steps = (issue?.path ?? []).filter((step) => typeof step !== 'symbol');
  const at = [...path, ...steps];
  const reason = `${at.slice(1).join('.')}: ${issue?.message ?? 'cannot be read'}`;
  diagnostics.push(diagnose(object, 'DESTINATION_SETTING_INVALID', reason, at));
  return { kind: 'invalid', reason };
}

function withoutUnknownKeys(
  content: unknown,
  issues: readonly z.core.$ZodIssue[],
): { readonly content: unknown; readonly removed: readonly Path[] } {
  const copy = structuredClone(content);
  const removed: Path[] = [];
  for (const issue of issues) {
    if (issue.code !== 'unrecognized_keys') continue;
    const steps = issue.path.filter((step) => typeof step !== 'symbol');
    let holder: unknown = copy;
    for (const step of steps) holder = (holder as Record<string, unknown> | undefined)?.[step];
    if (typeof holder !== 'object' || holder === null) continue;
    for (const key of issue.keys) {
      delete (holder as Record<string, unknown>)[key];
      removed.push([...steps, key]);
    }
  }
  return { content: copy, removed };
}
