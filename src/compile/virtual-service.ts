/**
 * VirtualService: `http` routes for the hosts it names, in written order, as Istio applies them on waypoints (gateway
 * `mesh`). Parsed to everything that does not depend on other objects.
 */
import { z } from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import type { HeaderChange, PathRewrite, Redirect, RetryPolicy, RouteMatch } from '../route/model.ts';
import { corsPolicySchema } from './cors.ts';
import { faultSchema, percentSchema, wholePercentSchema } from './fault.ts';
import { headerOperationsSchema } from './header-changes.ts';
import { defaultBackoffMs, plainRule } from './http-route.ts';
import { type ConfigObject, diagnose, type Parsed, type Path, parseContent, perObject } from './object.ts';
import { regexRewriteSchema } from './regex-rewrite.ts';
import type { StagesSpec } from './stages.ts';
import { durationSchema, listOf, portSchema } from './values.ts';
import { readVirtualMatch, virtualMatchSchema } from './virtual-match.ts';

export interface DestinationSpec {
  readonly host: string;
  readonly subset: string | undefined;
  readonly port: number | undefined;
  readonly weight: number;
  readonly requestHeaders: HeaderChange | undefined;
  readonly responseHeaders: HeaderChange | undefined;
  readonly path: Path;
}

export interface VirtualRuleSpec {
  /** `port`: the match holds on that port only. */
  readonly matches: readonly {
    readonly index: number;
    readonly match: RouteMatch;
    readonly port: number | undefined;
  }[];
  readonly action:
    | { readonly kind: 'forward'; readonly destinations: readonly DestinationSpec[] }
    | { readonly kind: 'redirect'; readonly redirect: Redirect }
    | { readonly kind: 'respond'; readonly status: number; readonly body: string }
    | { readonly kind: 'invalid' };
  readonly requestHeaders: HeaderChange | undefined;
  readonly responseHeaders: HeaderChange | undefined;
  readonly rewritePath: PathRewrite | undefined;
  readonly rewriteHost: string | undefined;
  readonly timeoutMs: number | undefined;
  readonly retry: RetryPolicy | undefined;
  readonly stages: StagesSpec<DestinationSpec> | undefined;
}

export interface VirtualTcpSpec {
  /** Any of them; `all` for a rule without matches. */
  readonly ports: readonly number[] | 'all';
  readonly destinations: readonly DestinationSpec[];
}

export interface VirtualServiceSpec {
  readonly object: ConfigObject;
  /** As written: a short name, a full one, or with a leading `*`. */
  readonly hosts: readonly string[];
  readonly rules: readonly VirtualRuleSpec[];
  /** The first that has the port is taken. */
  readonly tcp: readonly VirtualTcpSpec[];
}

const headersSchema = z.strictObject({ request: headerOperationsSchema, response: headerOperationsSchema }).nullish();

const destinationSchema = z.object({
  host: z.string().min(1),
  subset: z.string().optional(),
  port: z.object({ number: portSchema }).nullish(),
});

/** Istio's HTTPRetry. */
export const retriesSchema = z.object({
  attempts: z.number().int().min(0).max(100),
  perTryTimeout: durationSchema.optional(),
  retryOn: z.string().optional(),
  backoff: durationSchema.optional(),
});

const ruleSchema = z.object({
  name: z.string().optional(),
  match: listOf(z.unknown()),
  route: listOf(
    z.object({
      destination: destinationSchema,
      weight: z.number().int().min(0).optional(),
      headers: headersSchema,
    }),
  ),
  redirect: z
    .strictObject({
      uri: z.string().optional(),
      authority: z.string().optional(),
      scheme: z.string().optional(),
      port: portSchema.optional(),
      derivePort: z.enum(['FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT']).optional(),
      redirectCode: z.literal([301, 302, 303, 307, 308]).default(301),
    })
    .nullish(),
  directResponse: z
    .object({
      status: z.number().int().min(200).max(599),
      body: z.object({ string: z.string().optional(), bytes: z.string().optional() }).nullish(),
    })
    .nullish(),
  rewrite: z
    .strictObject({
      uri: z.string().optional(),
      authority: z.string().optional(),
      uriRegexRewrite: regexRewriteSchema.nullish(),
    })
    .refine(
      ({ uri, uriRegexRewrite }) => uri === undefined || uriRegexRewrite == null,
      'give one of uri and uriRegexRewrite',
    )
    .nullish(),
  timeout: durationSchema.nullish(),
  retries: retriesSchema.nullish(),
  headers: headersSchema,
  fault: faultSchema.nullish(),
  corsPolicy: corsPolicySchema.nullish(),
  mirror: destinationSchema.nullish(),
  mirrors: listOf(z.strictObject({ destination: destinationSchema, percentage: percentSchema.nullish() })),
  mirrorPercentage: percentSchema.nullish(),
  mirrorPercent: wholePercentSchema.nullish(),
  mirror_percent: wholePercentSchema.nullish(),
});

const tcpDestinationSchema = z.strictObject({
  destination: destinationSchema,
  weight: z.number().int().min(0).optional(),
});

/** What cannot be told of a connection is refused: without it the route would match more than was asked. */
const tcpMatchSchema = z.strictObject({
  port: portSchema.nullish(),
  gateways: z
    .array(z.string())
    .refine((gateways) => gateways.length === 0 || gateways.includes('mesh'), 'is not for the mesh')
    .nullish(),
});

const outerSchema = z.object({
  spec: z.object({
    hosts: listOf(z.string()),
    gateways: listOf(z.string()),
    http: listOf(z.looseObject({ match: listOf(z.unknown()) })),
    tcp: listOf(z.strictObject({ match: listOf(z.unknown()), route: listOf(tcpDestinationSchema) })),
    tls: z.unknown().optional(),
  }),
});

export const parseVirtualService = perObject((object: ConfigObject): Parsed<VirtualServiceSpec> => {
  const parsed = parseContent(object, outerSchema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { hosts, gateways, http, tcp, tls } = parsed.value.spec;
  // One that is only for gateways is not for the mesh.
  if (gateways.length > 0 && !gateways.includes('mesh')) return { value: undefined, diagnostics: [] };
  const diagnostics: Diagnostic[] = [];
  if (tls !== undefined && tls !== null) {
    diagnostics.push(diagnose(object, 'ROUTE_FIELD_UNSUPPORTED', 'tls routes have no effect', ['spec', 'tls']));
  }
  const rules = http.map((rule, i) => readRule(object, rule, ['spec', 'http', i], diagnostics));
  const streams = tcp.map(({ match, route }, i) => ({
    ports: readTcpPorts(object, match, ['spec', 'tcp', i, 'match'], diagnostics),
    destinations: destinationsOf(route, ['spec', 'tcp', i]),
  }));
  return { value: { object, hosts, rules, tcp: streams }, diagnostics };
});

function readTcpPorts(
  object: ConfigObject,
  matches: readonly unknown[],
  path: Path,
  diagnostics: Diagnostic[],
): VirtualTcpSpec['ports'] {
  const ports: number[] = [];
  for (const [i, text] of matches.entries()) {
    const parsed = tcpMatchSchema.safeParse(text);
    if (!parsed.success) {
      const message = parsed.error.issues[0]?.message ?? 'cannot be read';
      diagnostics.push(diagnose(object, 'ROUTE_MATCH_INVALID', message, [...path, i]));
    } else if (parsed.data.port == null) return 'all';
    else ports.push(parsed.data.port);
  }
  return matches.length === 0 ? 'all' : ports;
}

function readRule(
  object: ConfigObject,
  content: { readonly match: readonly unknown[] },
  path: Path,
  diagnostics: Diagnostic[],
): VirtualRuleSpec {
  const matches = readMatches(object, content.match, [...path, 'match'], diagnostics);
  const parsed = ruleSchema.safeParse(content);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const at = [...path, ...(issue?.path ?? []).filter((step) => typeof step !== 'symbol')];
    diagnostics.push(
      diagnose(object, 'ROUTE_RULE_INVALID', `${at.join('.')}: ${issue?.message ?? 'cannot be read'}`, at),
    );
    return { ...plainRule, matches, action: { kind: 'invalid' } };
  }
  for (const key of Object.keys(content).filter((name) => !Object.hasOwn(ruleSchema.shape, name))) {
    diagnostics.push(diagnose(object, 'ROUTE_FIELD_UNSUPPORTED', `${key} has no effect`, [...path, key]));
  }
  const rule = parsed.data;
  const rewriteUri = rule.rewrite?.uri;
  const action = actionOf(rule, path);
  if (action.kind === 'invalid') {
    diagnostics.push(diagnose(object, 'ROUTE_RULE_INVALID', 'names no route, redirect or directResponse', path));
  }
  if (rule.mirror != null && rule.mirrors.length > 0) {
    diagnostics.push(diagnose(object, 'ROUTE_RULE_INVALID', 'mirror and mirrors exclude each other', path));
    return { ...plainRule, matches, action: { kind: 'invalid' } };
  }
  return {
    matches: rewriteUri === undefined ? matches : matches.map(rewritable),
    action,
    requestHeaders: rule.headers?.request,
    responseHeaders: rule.headers?.response,
    rewritePath:
      rewriteUri === undefined ? (rule.rewrite?.uriRegexRewrite ?? undefined) : { kind: 'prefix', value: rewriteUri },
    rewriteHost: rule.rewrite?.authority,
    timeoutMs: rule.timeout || undefined,
    retry: rule.retries == null ? undefined : retryOf(rule.retries),
    stages: stagesOf(rule, path),
  };
}

function stagesOf(rule: z.output<typeof ruleSchema>, path: Path): StagesSpec<DestinationSpec> | undefined {
  const fault = rule.fault ?? undefined;
  const cors = rule.corsPolicy ?? undefined;
  const single = rule.mirrorPercentage ?? rule.mirrorPercent ?? rule.mirror_percent ?? 1;
  const mirrors = [
    ...(rule.mirror == null ? [] : [{ backend: mirrorDestination(rule.mirror, [...path, 'mirror']), share: single }]),
    ...rule.mirrors.map(({ destination, percentage }, i) => ({
      backend: mirrorDestination(destination, [...path, 'mirrors', i, 'destination']),
      share: percentage ?? 1,
    })),
  ];
  return fault === undefined && cors === undefined && mirrors.length === 0 ? undefined : { fault, cors, mirrors };
}

function mirrorDestination(destination: z.output<typeof destinationSchema>, path: Path): DestinationSpec {
  const { host, subset, port } = destination;
  const plain = { weight: 1, requestHeaders: undefined, responseHeaders: undefined };
  return { host, subset, port: port?.number, ...plain, path };
}

/** No match block matches everything; one that cannot be read matches nothing. */
function readMatches(
  object: ConfigObject,
  texts: readonly unknown[],
  path: Path,
  diagnostics: Diagnostic[],
): VirtualRuleSpec['matches'] {
  return (texts.length === 0 ? [{}] : texts).flatMap((text, index) => {
    const parsed = virtualMatchSchema.safeParse(text);
    const read = parsed.success
      ? readVirtualMatch(parsed.data)
      : ({ kind: 'problem', problem: parsed.error.issues[0]?.message ?? 'cannot be read' } as const);
    if (read.kind === 'match') return [{ index, match: read.match, port: read.port }];
    diagnostics.push(diagnose(object, 'ROUTE_MATCH_INVALID', read.problem, [...path, index]));
    return [];
  });
}

/** Istio's `rewrite.uri` replaces the matched prefix; without a match on the path that prefix is the first slash. */
function rewritable(entry: VirtualRuleSpec['matches'][number]): VirtualRuleSpec['matches'][number] {
  if (entry.match.path !== undefined) return entry;
  return { ...entry, match: { ...entry.match, path: { kind: 'text-prefix', value: '/', ignoreCase: false } } };
}

function actionOf(rule: z.output<typeof ruleSchema>, path: Path): VirtualRuleSpec['action'] {
  if (rule.redirect != null) {
    const { uri, authority, scheme, port, redirectCode } = rule.redirect;
    const full: PathRewrite | undefined = uri === undefined ? undefined : { kind: 'full', value: uri };
    return { kind: 'redirect', redirect: { scheme, host: authority, port, path: full, status: redirectCode } };
  }
  if (rule.directResponse != null) {
    const { status, body } = rule.directResponse;
    const text = body?.string ?? (body?.bytes === undefined ? '' : Buffer.from(body.bytes, 'base64').toString());
    return { kind: 'respond', status, body: text };
  }
  if (rule.route.length === 0) return { kind: 'invalid' };
  return { kind: 'forward', destinations: destinationsOf(rule.route, path) };
}

type RouteDestination = Pick<z.output<typeof ruleSchema>['route'][number], 'destination' | 'weight'> & {
  readonly headers?: z.output<typeof headersSchema>;
};

function destinationsOf(route: readonly RouteDestination[], path: Path): readonly DestinationSpec[] {
  const alone = route.length === 1;
  return route.map(({ destination, weight, headers }, i) => ({
    host: destination.host,
    subset: destination.subset,
    port: destination.port?.number,
    // A single destination takes all, whatever its weight says; among several no weight means none.
    weight: alone ? 1 : (weight ?? 0),
    requestHeaders: headers?.request,
    responseHeaders: headers?.response,
    path: [...path, 'route', i, 'destination'],
  }));
}

export function retryOf(retries: z.output<typeof retriesSchema>): RetryPolicy {
  const words = (retries.retryOn ?? 'connect-failure,refused-stream').split(',').map((word) => word.trim());
  const has = (word: string) => words.includes(word);
  return {
    attempts: retries.attempts,
    perTryTimeoutMs: retries.perTryTimeout || undefined,
    onConnectFailure: has('connect-failure'),
    onRefusedStream: has('refused-stream'),
    onReset: has('reset'),
    on5xx: has('5xx'),
    onGatewayError: has('gateway-error'),
    onRetriable4xx: has('retriable-4xx'),
    statusCodes: new Set(words.filter((word) => /^[1-5][0-9][0-9]$/.test(word)).map(Number)),
    backoffMs: retries.backoff || defaultBackoffMs,
  };
}
