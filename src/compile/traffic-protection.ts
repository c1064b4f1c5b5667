/**
 * TrafficProtection (ambit.dev), our own kind: limits on what reaches a Service, everything behind a Gateway, or a route.
 *
 * I1: of an object that has something wrong in it, all limits are in force that can be read, and it is told which are not. These
 * limit nothing: a limit keeps a service up, and so must not, by a slip of the pen, take it down.
 */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import type { RouteMatch } from '../route/request-match.ts';
import type {
  ConcurrencyLimit,
  GlobalRateLimit,
  LocalRateLimit,
  RateLimitDescriptor,
  RequestSource,
  TrafficProtection,
} from '../route/traffic-protection.ts';
import { httpMatchSchema, readHttpMatch } from './http-match.ts';
import { type ConfigObject, diagnose, type Parsed, parseContent, perObject } from './object.ts';
import { type PolicyTarget, readTargets } from './policy-targets.ts';
import { bytesSchema, durationSchema, listOf, portSchema } from './values.ts';

/** The service of a global limit is looked up when all objects are known. */
export type GlobalLimitSpec = Omit<GlobalRateLimit, 'service'> & {
  readonly serviceName: string;
  readonly serviceNamespace: string;
};

export interface TrafficProtectionSpec {
  readonly object: ConfigObject;
  readonly namespace: string;
  readonly targets: readonly PolicyTarget[];
  readonly protection: Omit<TrafficProtection, 'global'>;
  readonly global: readonly GlobalLimitSpec[];
}

const mostLimits = 32;

const sources = {
  ClientIdentity: 'client-identity',
  ClientNamespace: 'client-namespace',
  ClientIP: 'client-ip',
  Service: 'service',
  Route: 'route',
  Method: 'method',
  Host: 'host',
  Path: 'path',
} as const;
const from = z.enum(Object.keys(sources) as [keyof typeof sources]);
const headerName = z
  .string()
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'not a name of a header')
  .transform((name) => name.toLowerCase());
const sourceSchema = z
  .union([z.strictObject({ from }), z.strictObject({ header: headerName })])
  .transform(
    (source): RequestSource =>
      'from' in source ? { kind: sources[source.from] } : { kind: 'header', name: source.header },
  );
const keySchema = listOf(sourceSchema).refine((list) => list.length <= 8, 'more than 8 parts');

const name = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'must be lower-case letters, digits and dashes');
const matches = listOf(httpMatchSchema).transform((list, context) =>
  list.slice(0, 64).flatMap((content, i): RouteMatch[] => {
    const read = readHttpMatch(content);
    if (read.kind === 'match') return [read.match];
    context.addIssue({ code: 'custom', message: read.problem, path: [i] });
    return [];
  }),
);
const count = (most: number) => z.number().int().min(1).max(most);
const positive = durationSchema.refine((ms) => ms >= 1 && ms <= 31 * 86_400_000, 'must be from 1ms to 31 days');

const localSchema = z
  .strictObject({
    name,
    matches,
    key: keySchema,
    requests: count(1_000_000),
    interval: positive.default(1000),
    burst: count(10_000_000).nullish(),
    maxKeys: count(1_000_000).default(10_000),
    whenFull: z.enum(['Share', 'Evict', 'Deny']).default('Share'),
  })
  .transform(
    (limit): LocalRateLimit => ({
      name: limit.name,
      matches: limit.matches,
      key: limit.key,
      tokens: limit.requests,
      intervalMs: limit.interval,
      burst: limit.burst ?? limit.requests,
      maxKeys: limit.key.length === 0 ? 1 : limit.maxKeys,
      whenFull: ({ Share: 'share', Evict: 'evict', Deny: 'deny' } as const)[limit.whenFull],
    }),
  );

const concurrencySchema = z
  .strictObject({
    name,
    matches,
    key: keySchema,
    maxRequests: count(1_000_000),
    maxQueued: z.number().int().min(0).max(100_000).default(0),
    queueTimeout: positive.default(1000),
  })
  .transform(({ queueTimeout, ...limit }): ConcurrencyLimit => ({ ...limit, queueTimeoutMs: queueTimeout }));

/** Numbers of `envoy.type.v3.RateLimitUnit`. */
const limitUnits = { Second: 1, Minute: 2, Hour: 3, Day: 4, Month: 5, Year: 6 } as const;
const text = z.string().min(1).max(1024);
const entrySchema = z
  .union([
    z.strictObject({ key: text, value: text }),
    z.strictObject({ key: text, from }),
    z.strictObject({ key: text, header: headerName, default: text.nullish() }),
  ])
  .transform((entry): RateLimitDescriptor['entries'][number] => {
    const { key } = entry;
    if ('value' in entry) return { key, value: entry.value, otherwise: undefined };
    if ('from' in entry) return { key, value: { kind: sources[entry.from] }, otherwise: undefined };
    return { key, value: { kind: 'header', name: entry.header }, otherwise: entry.default ?? undefined };
  });
const descriptorSchema = z
  .strictObject({
    entries: z.array(entrySchema).min(1).max(16),
    limit: z
      .strictObject({
        requestsPerUnit: z.number().int().min(0).max(0xffff_ffff),
        unit: z.enum(Object.keys(limitUnits) as [keyof typeof limitUnits]),
      })
      .nullish(),
  })
  .transform(
    ({ entries, limit }): RateLimitDescriptor => ({
      entries,
      limit: limit == null ? undefined : { requestsPerUnit: limit.requestsPerUnit, unit: limitUnits[limit.unit] },
    }),
  );

const globalSchema = z.strictObject({
  name,
  matches,
  domain: text,
  service: z.strictObject({ name: z.string().min(1), namespace: z.string().nullish(), port: portSchema }),
  timeout: positive.default(20),
  failOpen: z.boolean().default(false),
  statusOnError: z.number().int().min(400).max(599).default(503),
  hitsAddend: z.number().int().min(1).max(1_000_000).default(1),
  descriptors: z.array(descriptorSchema).min(1).max(32),
});

const sizeShape = {
  maxBodyBytes: bytesSchema.nullish(),
  maxHeaderBytes: bytesSchema.nullish(),
  maxHeaders: count(200).nullish(),
};
const headersSchema = z.enum(['Draft03', 'Off']).default('Off');
const grpcStatusSchema = z.enum(['ResourceExhausted', 'Unavailable']).default('ResourceExhausted');

const schema = z.looseObject({
  spec: z.strictObject({
    targetRef: z.unknown().optional(),
    targetRefs: z.unknown().optional(),
    requestSize: z.strictObject(sizeShape).nullish(),
    localRateLimits: listOf(localSchema),
    globalRateLimits: listOf(globalSchema),
    concurrencyLimits: listOf(concurrencySchema),
    rateLimitHeaders: headersSchema,
    grpcStatus: grpcStatusSchema,
  }),
});

type Spec = z.output<typeof schema>['spec'];

const looseSchema = z.looseObject({ spec: z.looseObject({}) });

/** What can be read of an object in which something cannot. `leftOut`: where what was left out stands. */
function readableParts({ content }: ConfigObject, leftOut: string[]): Spec | undefined {
  const loose = looseSchema.safeParse(content);
  if (!loose.success) return undefined;
  const { spec } = loose.data;
  leftOut.push(...Object.keys(spec).filter((field) => !(field in schema.shape.spec.shape)));
  const part = <T extends z.ZodType>(one: T, value: unknown, where: string): z.output<T> | undefined => {
    const read = one.safeParse(value);
    if (!read.success) leftOut.push(where);
    return read.data;
  };
  const list = <T extends z.ZodType>(one: T, field: string): z.output<T>[] => {
    const values = part(listOf(z.unknown()), spec[field], field) ?? [];
    return values.flatMap((value, i) => part(one, value, `${field}[${i}]`) ?? []);
  };
  const size = part(z.looseObject({}).nullish(), spec.requestSize, 'requestSize');
  const sizeOf = (field: keyof typeof sizeShape) => part(sizeShape[field], size?.[field], `requestSize.${field}`);
  return {
    targetRef: spec.targetRef,
    targetRefs: spec.targetRefs,
    requestSize: size && {
      maxBodyBytes: sizeOf('maxBodyBytes'),
      maxHeaderBytes: sizeOf('maxHeaderBytes'),
      maxHeaders: sizeOf('maxHeaders'),
    },
    localRateLimits: list(localSchema, 'localRateLimits'),
    globalRateLimits: list(globalSchema, 'globalRateLimits'),
    concurrencyLimits: list(concurrencySchema, 'concurrencyLimits'),
    rateLimitHeaders: part(headersSchema, spec.rateLimitHeaders, 'rateLimitHeaders') ?? 'Off',
    grpcStatus: part(grpcStatusSchema, spec.grpcStatus, 'grpcStatus') ?? 'ResourceExhausted',
  };
}

export const parseTrafficProtection = perObject((object: ConfigObject): Parsed<TrafficProtectionSpec> => {
  const parsed = parseContent(object, schema);
  const diagnostics: Diagnostic[] = [...parsed.diagnostics];
  const leftOut: string[] = [];
  const spec = parsed.value?.spec ?? readableParts(object, leftOut);
  const targets = spec && readTargets(spec);
  const incomplete = (message: string) =>
    diagnostics.push(diagnose(object, 'PROTECTION_INCOMPLETE', message, ['spec']));
  if (spec === undefined || targets === undefined) {
    incomplete('nothing is limited by it: it cannot be read what it is about');
    return { value: undefined, diagnostics };
  }
  // The first of a name, and as many as may be.
  const names = new Set<string>();
  const fitting = <Limit extends { readonly name: string }>(limits: readonly Limit[]) =>
    limits.filter((limit) => {
      const again = names.has(limit.name);
      const fits = !again && names.size < mostLimits;
      if (fits) names.add(limit.name);
      else
        leftOut.push(
          again ? `another limit ${limit.name}` : `${limit.name}, as there are more than ${mostLimits} limits`,
        );
      return fits;
    });
  const local = fitting(spec.localRateLimits);
  const globalRateLimits = fitting(spec.globalRateLimits);
  const concurrency = fitting(spec.concurrencyLimits);
  if (leftOut.length > 0) {
    const some = names.size > 0 || Object.values(spec.requestSize ?? {}).some((limit) => limit != null);
    const rest = some ? 'the rest is in force' : 'nothing else is in it';
    incomplete(`left out, and limiting nothing: ${leftOut.slice(0, mostLimits).join('; ')}; ${rest}`);
    if (!some) return { value: undefined, diagnostics };
  }
  const { name: objectName, namespace, annotations } = object.metadata;
  const named = <Limit extends { readonly name: string }>(limit: Limit) => ({
    ...limit,
    name: `${namespace}/${objectName}/${limit.name}`,
  });
  const { requestSize: size } = spec;
  return {
    value: {
      object,
      namespace,
      targets,
      protection: {
        source: { kind: 'TrafficProtection', namespace, name: objectName },
        dryRun: annotations['istio.io/dry-run'] === 'true',
        size:
          size == null
            ? undefined
            : {
                maxBodyBytes: size.maxBodyBytes ?? undefined,
                maxHeaderBytes: size.maxHeaderBytes ?? undefined,
                maxHeaders: size.maxHeaders ?? undefined,
              },
        local: local.map(named),
        concurrency: concurrency.map(named),
        rateLimitHeaders: spec.rateLimitHeaders === 'Draft03',
        grpcStatus: spec.grpcStatus === 'ResourceExhausted' ? 8 : 14,
      },
      global: globalRateLimits.map(({ service, timeout, ...limit }) => ({
        ...named(limit),
        timeoutMs: timeout,
        serviceName: service.name,
        serviceNamespace: service.namespace ?? namespace,
        port: service.port,
      })),
    },
    diagnostics,
  };
});
