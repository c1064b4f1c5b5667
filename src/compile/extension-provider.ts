/**
 * `extensionProviders` of the mesh configuration: services that decide about requests, or take logs and traces.
 *
 * I1: a provider that cannot be read still stands under its name, as one that cannot be used, so that a policy that relies
 * on it denies instead of finding nobody to ask.
 */
import * as z from 'zod';
import type { CheckBody, ExtensionProvider, LogFormat, NameMatch, ServiceTarget } from '../route/mesh-config.ts';
import { message, positiveDuration, unknownFields } from './proto-json.ts';
import { listOf, portSchema } from './values.ts';

/** Istio's. */
const defaultCheckTimeoutMs = 600_000;
const defaultExportTimeoutMs = 3_000;
/** Of a body that is held until a provider has decided; more is not asked for. */
export const mostCheckBytes = 8 * 1024 * 1024;

export interface ReadProvider {
  readonly provider: ExtensionProvider;
  /** What of it is not followed. */
  readonly ignored: readonly string[];
}

const service = z
  .string()
  .regex(/^(?:[a-z0-9-]{1,63}\/)?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/, 'must be [namespace/]hostname');
/** Helm and people write numbers as texts. */
const port = z.preprocess((value) => (/^\d{1,5}$/.test(String(value)) ? Number(value) : value), portSchema);
const target = { service, port };

const headerName = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'not a name of a header');
const headerText = z.string().regex(/^[\x20-\x7e\t]{0,8192}$/, 'not a value of a header');
const nameMatch = headerName.transform((text, context): NameMatch => {
  const name = text.toLowerCase();
  if (name === '*') context.addIssue({ code: 'custom', message: 'a lone * is not supported, as at Istio' });
  if (name.startsWith('*')) return { kind: 'suffix', value: name.slice(1) };
  return name.endsWith('*') ? { kind: 'prefix', value: name.slice(0, -1) } : { kind: 'exact', value: name };
});
const names = listOf(nameMatch);

/** Texts or numbers, as users write them. */
const statusOnError = z
  .union([z.string(), z.number()])
  .transform(Number)
  .pipe(z.number().int().min(200, 'not a status').max(599, 'not a status'));

const bodySchema = message({
  maxRequestBytes: z.number().int().min(1).max(mostCheckBytes),
  allowPartialMessage: z.boolean().default(false),
  packAsBytes: z.boolean().default(false),
}).transform(
  ({ maxRequestBytes, allowPartialMessage, packAsBytes }): CheckBody => ({
    maxBytes: maxRequestBytes,
    allowPartial: allowPartialMessage,
    asBytes: packAsBytes,
  }),
);

const checkFields = {
  ...target,
  timeout: positiveDuration.nullish(),
  failOpen: z.boolean().nullish(),
  statusOnError: statusOnError.nullish(),
  includeRequestBodyInCheck: bodySchema.nullish(),
  clearRouteCache: z.boolean().nullish(),
};

const headerList = listOf(z.object({ name: headerName, value: headerText }));
const formatSchema = message({ text: z.string().nullish(), labels: z.record(z.string(), z.unknown()).nullish() });
const maxTagLength = z.number().int().min(1).nullish();

/** One entry a kind: what its message may say, and the record of it. */
const kinds = {
  envoyExtAuthzHttp: kind(
    {
      ...checkFields,
      pathPrefix: z
        .string()
        .regex(/^(?:\/[\x21-\x22\x24-\x3e\x40-\x7e]*)?$/, 'must begin with / and be part of a path')
        .nullish(),
      includeHeadersInCheck: names,
      includeRequestHeadersInCheck: names,
      includeAdditionalHeadersInCheck: z.record(headerName, headerText).nullish(),
      headersToUpstreamOnAllow: names,
      headersToDownstreamOnDeny: names,
      headersToDownstreamOnAllow: names,
    },
    (name, fields) => ({
      kind: 'ext-authz-http',
      ...check(name, fields),
      pathPrefix: fields.pathPrefix ?? '',
      includeRequestHeaders:
        fields.includeRequestHeadersInCheck.length > 0
          ? fields.includeRequestHeadersInCheck
          : fields.includeHeadersInCheck,
      additionalHeaders: Object.entries(fields.includeAdditionalHeadersInCheck ?? {}),
      headersToUpstreamOnAllow: fields.headersToUpstreamOnAllow,
      headersToDownstreamOnDeny: fields.headersToDownstreamOnDeny,
      headersToDownstreamOnAllow: fields.headersToDownstreamOnAllow,
    }),
  ),
  envoyExtAuthzGrpc: kind(checkFields, (name, fields) => ({ kind: 'ext-authz-grpc', ...check(name, fields) })),
  envoyFileAccessLog: kind({ path: z.string().nullish(), logFormat: formatSchema.nullish() }, (name, fields) => ({
    kind: 'file-access-log',
    name,
    path: fields.path || '/dev/stdout',
    format: logFormat(fields.logFormat),
  })),
  envoyOtelAls: kind(
    { ...target, logName: z.string().nullish(), logFormat: formatSchema.nullish() },
    (name, fields) => ({
      kind: 'otel-access-log',
      name,
      target: targetOf(fields),
      logName: fields.logName || 'otel_envoy_accesslog',
      format: logFormat(fields.logFormat),
    }),
  ),
  envoyHttpAls: kind(
    {
      ...target,
      logName: z.string().nullish(),
      additionalRequestHeadersToLog: listOf(headerName),
      additionalResponseHeadersToLog: listOf(headerName),
      additionalResponseTrailersToLog: listOf(headerName),
    },
    (name, fields) => ({
      kind: 'http-als',
      name,
      target: targetOf(fields),
      logName: fields.logName || 'http_envoy_accesslog',
      requestHeaders: fields.additionalRequestHeadersToLog,
      responseHeaders: fields.additionalResponseHeadersToLog,
      responseTrailers: fields.additionalResponseTrailersToLog,
    }),
  ),
  envoyTcpAls: kind({ ...target, logName: z.string().nullish() }, (name, fields) => ({
    kind: 'tcp-als',
    name,
    target: targetOf(fields),
    logName: fields.logName || 'tcp_envoy_accesslog',
    requestHeaders: [],
    responseHeaders: [],
    responseTrailers: [],
  })),
  opentelemetry: kind(
    {
      ...target,
      maxTagLength,
      http: message({
        path: z.string().min(1),
        timeout: positiveDuration.nullish(),
        headers: headerList,
      }).nullish(),
      grpc: message({ initialMetadata: headerList }).nullish(),
    },
    (name, fields) => ({
      kind: 'opentelemetry',
      name,
      target: targetOf(fields),
      maxTagLength: fields.maxTagLength ?? undefined,
      http:
        fields.http == null
          ? undefined
          : {
              path: fields.http.path,
              timeoutMs: fields.http.timeout ?? defaultExportTimeoutMs,
              headers: fields.http.headers.map((header) => [header.name, header.value] as const),
            },
      metadata: (fields.grpc?.initialMetadata ?? []).map((header) => [header.name, header.value] as const),
    }),
  ),
  zipkin: kind(
    { ...target, maxTagLength, enable64bitTraceId: z.boolean().nullish(), path: z.string().nullish() },
    (name, fields) => ({
      kind: 'zipkin',
      name,
      target: targetOf(fields),
      maxTagLength: fields.maxTagLength ?? undefined,
      shortTraceIds: fields.enable64bitTraceId ?? false,
      path: fields.path || '/api/v2/spans',
    }),
  ),
  prometheus: kind({}, (name) => ({ kind: 'prometheus', name })),
};

const foreign = ['lightstep', 'datadog', 'stackdriver', 'opencensus', 'skywalking', 'sds'];

const outer = message({ name: z.string().min(1).max(253) });

/** A text says what is wrong where the entry has not even a name. */
export function readProvider(value: unknown): ReadProvider | string {
  const read = outer.safeParse(value);
  if (!read.success) return 'a provider needs a name';
  const { name, ...rest } = read.data;
  const unusable = (reason: string): ReadProvider => ({ provider: { kind: 'unusable', name, reason }, ignored: [] });
  const given = Object.keys(rest).filter((key) => rest[key] != null);
  const [key, second] = given.filter((each) => each in kinds || foreign.includes(each));
  if (second !== undefined) return unusable(`it is both ${key} and ${second}`);
  if (key === undefined) return unusable(`of no kind that is known: ${given.join(', ') || 'none is given'}`);
  if (foreign.includes(key)) return unusable(`${key} is not supported`);
  const outcome = kinds[key as keyof typeof kinds](name, rest[key]);
  return typeof outcome === 'string' ? unusable(`${key}.${outcome}`) : outcome;
}

function kind<Shape extends z.ZodRawShape>(
  shape: Shape,
  record: (name: string, fields: z.output<z.ZodObject<Shape>>) => ExtensionProvider,
): (name: string, value: unknown) => ReadProvider | string {
  const schema = message(shape);
  const known = Object.keys(shape);
  return (name, value) => {
    const read = schema.safeParse(value);
    if (!read.success) {
      const [issue] = read.error.issues;
      return `${issue?.path.map(String).join('.')}: ${issue?.message}`;
    }
    const ignored = unknownFields(read.data as object, known);
    return { provider: record(name, read.data as z.output<z.ZodObject<Shape>>), ignored };
  };
}

function check(name: string, fields: z.output<z.ZodObject<typeof checkFields>>) {
  return {
    name,
    target: targetOf(fields),
    timeoutMs: fields.timeout ?? defaultCheckTimeoutMs,
    failOpen: fields.failOpen ?? false,
    statusOnError: fields.statusOnError ?? 403,
    body: fields.includeRequestBodyInCheck ?? undefined,
    clearRouteCache: fields.clearRouteCache ?? false,
  };
}

function targetOf(fields: { readonly service: string; readonly port: number }): ServiceTarget {
  const slash = fields.service.indexOf('/');
  return {
    hostname: fields.service.slice(slash + 1).toLowerCase(),
    namespace: slash < 0 ? undefined : fields.service.slice(0, slash),
    port: fields.port,
  };
}

function logFormat(format: z.output<typeof formatSchema> | null | undefined): LogFormat | undefined {
  if (format == null) return undefined;
  return { text: format.text ?? undefined, labels: format.labels ?? undefined };
}
