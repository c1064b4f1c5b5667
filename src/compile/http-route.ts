/**
 * HTTPRoute: rules for requests to a Service (GAMMA). Parsed to everything that does not depend on other objects;
 * backends are resolved when routes are put together. A rule with a filter that is not supported is answered with 500, as
 * Gateway API asks: it must not be skipped.
 */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import { Shared } from '../base/shared.ts';
import { trimmed } from '../base/trimmed.ts';
import type { HeaderChange, PathRewrite, Redirect, RetryPolicy, RouteMatch } from '../route/model.ts';
import { corsFilterSchema } from './cors.ts';
import { headerFilterSchema } from './header-changes.ts';
import { type HttpMatchSpec, httpMatchSchema, type MatchRank, readHttpMatch } from './http-match.ts';
import { type ConfigObject, diagnose, type Parsed, type Path, parseContent, perObject, sharedPath } from './object.ts';
import { defaultGrpcStatuses, mayRepeatAll } from './retry-on.ts';
import { type SessionSpec, sessionSchema } from './session-persistence.ts';
import type { StagesSpec } from './stages.ts';
import { durationSchema, listOf, portSchema, urlTextSchema } from './values.ts';

export interface ParentSpec {
  /** A Service unless told: all hosts of a ServiceEntry. */
  readonly kind?: 'ServiceEntry';
  readonly namespace: string;
  readonly name: string;
  /** Undefined: every port. */
  readonly port: number | undefined;
  readonly path: Path;
}

export interface BackendSpec {
  readonly namespace: string;
  readonly name: string;
  /** In place of a name: of kind Hostname, in lower case. */
  readonly hostname?: string;
  readonly port: number | undefined;
  readonly weight: number;
  readonly requestHeaders: HeaderChange | undefined;
  readonly responseHeaders: HeaderChange | undefined;
  readonly path: Path;
}

export interface HttpRuleSpec {
  readonly name: string | undefined;
  /** Each with its rank among all routes; several of them are alternatives. */
  readonly matches: readonly { readonly index: number; readonly match: RouteMatch; readonly rank: MatchRank }[];
  readonly action:
    | { readonly kind: 'forward'; readonly backends: readonly BackendSpec[] }
    | { readonly kind: 'redirect'; readonly redirect: Redirect }
    | { readonly kind: 'invalid' };
  readonly requestHeaders: HeaderChange | undefined;
  readonly responseHeaders: HeaderChange | undefined;
  readonly rewritePath: PathRewrite | undefined;
  readonly rewriteHost: string | undefined;
  readonly timeoutMs: number | undefined;
  readonly retry: RetryPolicy | undefined;
  readonly stages: StagesSpec<BackendSpec> | undefined;
  readonly session: SessionSpec | undefined;
}

export interface HttpRouteSpec {
  readonly object: ConfigObject;
  readonly parents: readonly ParentSpec[];
  readonly rules: readonly HttpRuleSpec[];
}

const rewriteSchema = z
  .object({
    type: z.string(),
    replaceFullPath: urlTextSchema.optional(),
    replacePrefixMatch: urlTextSchema.optional(),
  })
  .transform((path, context): PathRewrite => {
    if (path.type === 'ReplaceFullPath') return { kind: 'full', value: path.replaceFullPath ?? '/' };
    if (path.type === 'ReplacePrefixMatch') return { kind: 'prefix', value: path.replacePrefixMatch ?? '/' };
    context.addIssue({ code: 'custom', message: `unknown path rewrite ${path.type}` });
    return z.NEVER;
  });

const mirrorSchema = z
  .strictObject({
    backendRef: z.object({
      group: z.string().default(''),
      kind: z.string().default('Service'),
      namespace: z.string().optional(),
      name: z.string(),
      port: portSchema.optional(),
    }),
    percent: z.number().int().min(0).max(100).nullish(),
    fraction: z
      .strictObject({ numerator: z.number().int().min(0), denominator: z.number().int().min(1).default(100) })
      .refine(({ numerator, denominator }) => numerator <= denominator, 'a fraction is at most one')
      .nullish(),
  })
  .refine(({ percent, fraction }) => percent == null || fraction == null, 'give one of percent and fraction');

const filterSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('RequestHeaderModifier'), requestHeaderModifier: headerFilterSchema }),
  z.object({ type: z.literal('ResponseHeaderModifier'), responseHeaderModifier: headerFilterSchema }),
  z.object({
    type: z.literal('RequestRedirect'),
    requestRedirect: z.strictObject({
      scheme: z.enum(['http', 'https']).optional(),
      hostname: urlTextSchema.optional(),
      port: portSchema.optional(),
      statusCode: z.literal([301, 302, 303, 307, 308]).default(302),
      path: rewriteSchema.optional(),
    }),
  }),
  z.object({
    type: z.literal('URLRewrite'),
    urlRewrite: z.strictObject({ hostname: urlTextSchema.optional(), path: rewriteSchema.optional() }),
  }),
  z.object({ type: z.literal('RequestMirror'), requestMirror: mirrorSchema }),
  z.object({ type: z.literal('CORS'), cors: corsFilterSchema }),
]);

export const backendRefSchema = z.object({
  group: z.string().default(''),
  kind: z.string().default('Service'),
  namespace: z.string().optional(),
  name: z.string(),
  port: portSchema.optional(),
  weight: z.number().int().min(0).max(1_000_000).default(1),
});

const backendSchema = backendRefSchema.extend({ filters: listOf(filterSchema) });

export const parentRefsSchema = listOf(
  z.object({
    group: z.string().default('gateway.networking.k8s.io'),
    kind: z.string().default('Gateway'),
    namespace: z.string().optional(),
    name: z.string(),
    port: portSchema.optional(),
  }),
);

const ruleSchema = z.object({
  name: z.string().optional(),
  filters: listOf(filterSchema),
  backendRefs: listOf(backendSchema),
  timeouts: z.object({ request: durationSchema.optional(), backendRequest: durationSchema.optional() }).nullish(),
  retry: z
    .object({
      codes: listOf(z.number().int().min(400).max(599)),
      attempts: z.number().int().min(0).max(100).default(2),
      backoff: durationSchema.optional(),
    })
    .nullish(),
  sessionPersistence: sessionSchema.nullish(),
});

const outerSchema = z.object({
  spec: z.object({
    parentRefs: parentRefsSchema,
    rules: listOf(z.looseObject({ matches: listOf(z.unknown()) })),
  }),
});

type RuleContent = z.output<typeof ruleSchema>;
type Filter = z.output<typeof filterSchema>;

/** How kinds of routes with the same frame differ. */
export interface RouteDialect {
  readonly readMatch: (text: unknown) => HttpMatchSpec;
  /** Fields of a rule that count; undefined: all that are known. */
  readonly fields?: ReadonlySet<string>;
  readonly filters?: ReadonlySet<Filter['type']>;
}

export function routeParser(dialect: RouteDialect): (object: ConfigObject) => Parsed<HttpRouteSpec> {
  return perObject((object: ConfigObject): Parsed<HttpRouteSpec> => {
    const parsed = parseContent(object, outerSchema);
    if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
    const { parentRefs, rules } = parsed.value.spec;
    const diagnostics: Diagnostic[] = [];
    const parents = readParents(object, parentRefs, diagnostics);
    const specs = rules.map((rule, i) => readRule(object, rule, sharedPath('spec', 'rules', i), diagnostics, dialect));
    return { value: { object, parents, rules: specs }, diagnostics };
  });
}

export const parseHttpRoute = routeParser({
  readMatch(text) {
    const parsed = httpMatchSchema.safeParse(text);
    if (parsed.success) return readHttpMatch(parsed.data);
    return { kind: 'problem', problem: parsed.error.issues[0]?.message ?? 'cannot be read' };
  },
});

/** Parents that are Services; others are named. */
export function readParents(
  object: ConfigObject,
  parentRefs: z.output<typeof parentRefsSchema>,
  diagnostics: Diagnostic[],
): readonly ParentSpec[] {
  const parents = parentRefs.flatMap((ref, i): ParentSpec[] => {
    const path = sharedPath('spec', 'parentRefs', i);
    if ((ref.group === '' || ref.group === 'core') && ref.kind === 'Service') {
      return [{ namespace: ref.namespace ?? object.metadata.namespace, name: ref.name, port: ref.port, path }];
    }
    if (ref.group === 'networking.istio.io' && ref.kind === 'ServiceEntry') {
      const namespace = ref.namespace ?? object.metadata.namespace;
      return [{ kind: 'ServiceEntry', namespace, name: ref.name, port: ref.port, path }];
    }
    diagnostics.push(diagnose(object, 'ROUTE_PARENT_IGNORED', `parent ${ref.kind} ${ref.name} is no Service`, path));
    return [];
  });
  return trimmed(parents);
}

function readRule(
  object: ConfigObject,
  content: { readonly matches: readonly unknown[] },
  path: Path,
  diagnostics: Diagnostic[],
  dialect: RouteDialect,
): HttpRuleSpec {
  const matches = readMatches(object, content.matches, [...path, 'matches'], diagnostics, dialect);
  const invalid = (message: string, at: Path): HttpRuleSpec => {
    diagnostics.push(diagnose(object, 'ROUTE_RULE_INVALID', message, at));
    return { ...plainRule, name: undefined, matches, action: { kind: 'invalid' } };
  };
  const parsed = ruleSchema.safeParse(content);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const at = [...path, ...(issue?.path ?? []).filter((step) => typeof step !== 'symbol')];
    return invalid(`${at.join('.')}: ${issue?.message ?? 'cannot be read'}`, at);
  }
  const counts = (key: string) => dialect.fields?.has(key) ?? Object.hasOwn(ruleSchema.shape, key);
  const ignored = Object.keys(content).filter((key) => key !== 'matches' && !counts(key));
  for (const key of ignored)
    diagnostics.push(diagnose(object, 'ROUTE_FIELD_UNSUPPORTED', `${key} has no effect`, [...path, key]));
  const { filters, backendRefs } = parsed.data;
  const strange = filters.find(({ type }) => dialect.filters?.has(type) === false);
  if (strange !== undefined) return invalid(`a ${object.kind} has no filter ${strange.type}`, [...path, 'filters']);
  const redirect = filterOf(filters, 'RequestRedirect')?.requestRedirect;
  const rewrite = filterOf(filters, 'URLRewrite')?.urlRewrite;
  if (redirect !== undefined && rewrite !== undefined)
    return invalid('RequestRedirect and URLRewrite exclude each other', path);
  const prefixRewrite = redirect?.path?.kind === 'prefix' || rewrite?.path?.kind === 'prefix';
  if (prefixRewrite && matches.some(({ match }) => match.path?.kind !== 'path-prefix')) {
    return invalid('ReplacePrefixMatch needs matches of type PathPrefix', path);
  }
  const foreign = backendRefs.findIndex(({ filters }) => filters.some(({ type }) => !type.endsWith('HeaderModifier')));
  if (foreign >= 0) return invalid('a backend may only change headers', [...path, 'backendRefs', foreign]);
  const { timeoutMs, retry } = dialect.fields?.has('timeouts') === false ? noTimes : timesOf(parsed.data, object);
  return {
    name: parsed.data.name,
    matches,
    action:
      redirect === undefined
        ? sharedRecord({
            kind: 'forward',
            backends: backendRefs.map((ref, i) => readBackend(object, ref, sharedPath(...path, 'backendRefs', i))),
          })
        : { kind: 'redirect', redirect: redirectOf(redirect) },
    requestHeaders: sharedRecord(filterOf(filters, 'RequestHeaderModifier')?.requestHeaderModifier),
    responseHeaders: sharedRecord(filterOf(filters, 'ResponseHeaderModifier')?.responseHeaderModifier),
    rewritePath: rewrite?.path,
    rewriteHost: rewrite?.hostname,
    timeoutMs,
    retry,
    stages: stagesOf(object, filters, path),
    session: parsed.data.sessionPersistence ?? undefined,
  };
}

/** A rule that changes nothing on the way. */
export const plainRule = {
  requestHeaders: undefined,
  responseHeaders: undefined,
  rewritePath: undefined,
  rewriteHost: undefined,
  timeoutMs: undefined,
  retry: undefined,
  stages: undefined,
  session: undefined,
} as const;

function stagesOf(object: ConfigObject, filters: readonly Filter[], path: Path): StagesSpec<BackendSpec> | undefined {
  const cors = filterOf(filters, 'CORS')?.cors;
  const mirrors = filters.flatMap((filter, i) => {
    if (filter.type !== 'RequestMirror') return [];
    const { backendRef, percent, fraction } = filter.requestMirror;
    const at = [...path, 'filters', i, 'requestMirror', 'backendRef'];
    const backend = readBackend(object, { ...backendRef, weight: 1, filters: [] }, at);
    const share = fraction == null ? (percent ?? 100) / 100 : fraction.numerator / fraction.denominator;
    return [{ backend, share }];
  });
  return cors === undefined && mirrors.length === 0 ? undefined : { fault: undefined, cors, mirrors };
}

function readMatches(
  object: ConfigObject,
  texts: readonly unknown[],
  path: Path,
  diagnostics: Diagnostic[],
  { readMatch }: RouteDialect,
): HttpRuleSpec['matches'] {
  const matches = (texts.length === 0 ? [{}] : texts).flatMap((text, index) => {
    const read = readMatch(text);
    if (read.kind === 'match') return [{ index, match: read.match, rank: read.rank }];
    diagnostics.push(diagnose(object, 'ROUTE_MATCH_INVALID', read.problem, [...path, index]));
    return [];
  });
  return sharedRecord(trimmed(matches));
}

/**
 * Thousands of routes have the same matches, headers and backends. What can be in them is told apart by their JSON, a regular expression
 * by its source.
 */
function sharedRecord<T extends object | undefined>(record: T): T {
  return record === undefined ? record : records.of(JSON.stringify(record), record);
}

const records = new Shared<object>({ most: 1024, longest: 1024 });

function filterOf<T extends Filter['type']>(
  filters: readonly Filter[],
  type: T,
): Extract<Filter, { type: T }> | undefined {
  return filters.find((filter): filter is Extract<Filter, { type: T }> => filter.type === type);
}

function readBackend(object: ConfigObject, ref: z.output<typeof backendSchema>, path: Path): BackendSpec {
  const requestHeaders = filterOf(ref.filters, 'RequestHeaderModifier')?.requestHeaderModifier;
  const responseHeaders = filterOf(ref.filters, 'ResponseHeaderModifier')?.responseHeaderModifier;
  return readBackendRef(object, ref, path, requestHeaders, responseHeaders);
}

export function readBackendRef(
  object: ConfigObject,
  ref: z.output<typeof backendRefSchema>,
  path: Path,
  requestHeaders?: HeaderChange,
  responseHeaders?: HeaderChange,
): BackendSpec {
  const isService = (ref.group === '' || ref.group === 'core') && ref.kind === 'Service';
  const isHostname = ref.group === 'networking.istio.io' && ref.kind === 'Hostname';
  const { port, weight } = ref;
  const backend = {
    namespace: ref.namespace ?? object.metadata.namespace,
    // No Service has an empty name: another kind of backend resolves to nothing.
    name: isService ? ref.name : '',
    port,
    weight,
    requestHeaders,
    responseHeaders,
    path,
  };
  return isHostname ? { ...backend, hostname: ref.name.toLowerCase() } : backend;
}

function redirectOf(redirect: Extract<Filter, { type: 'RequestRedirect' }>['requestRedirect']): Redirect {
  const { scheme, hostname, port, path, statusCode } = redirect;
  return { scheme, host: hostname, port, path, status: statusCode };
}

const noTimes = { timeoutMs: undefined, retry: undefined };

/** `backendRequest` bounds one try; without retries one try is all there is. Zero switches a timeout off. */
function timesOf({ timeouts, retry }: RuleContent, object: ConfigObject): Pick<HttpRuleSpec, 'timeoutMs' | 'retry'> {
  const request = timeouts?.request || undefined;
  const perTry = timeouts?.backendRequest || undefined;
  if (retry == null) return { timeoutMs: request ?? perTry, retry: undefined };
  return {
    timeoutMs: request,
    retry: {
      attempts: retry.attempts,
      perTryTimeoutMs: perTry,
      onConnectFailure: true,
      onRefusedStream: true,
      // HTTPRouteRetry: implementations should retry disconnects and resets, whatever the codes.
      onReset: true,
      on5xx: false,
      onGatewayError: false,
      onRetriable4xx: false,
      statusCodes: new Set(retry.codes),
      grpcStatuses: defaultGrpcStatuses,
      nonIdempotent: mayRepeatAll(object),
      backoffMs: retry.backoff || defaultBackoffMs,
    },
  };
}

export const defaultBackoffMs = 25;
