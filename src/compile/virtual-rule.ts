/**
 * One `http` rule of a VirtualService (Istio: HTTPRoute), parsed to everything that does not depend on other objects. A rule
 * that cannot be followed is answered with 500, and a match that cannot be decided never matches.
 */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import type { HeaderChange, PathRewrite, Redirect, RetryPolicy, RouteMatch } from '../route/model.ts';
import { corsPolicySchema } from './cors.ts';
import { faultSchema, percentSchema, wholePercentSchema } from './fault.ts';
import { headerOperationsSchema } from './header-changes.ts';
import { defaultBackoffMs, plainRule } from './http-route.ts';
import { type ConfigObject, diagnose, type Path } from './object.ts';
import { regexRewriteSchema } from './regex-rewrite.ts';
import { mayRepeatAll, readRetryOn } from './retry-on.ts';
import type { StagesSpec } from './stages.ts';
import { type KnownFields, unknownFields } from './unknown-fields.ts';
import { durationSchema, listOf, portSchema, urlTextSchema } from './values.ts';
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

export interface VirtualMatchEntry {
  readonly index: number;
  readonly match: RouteMatch;
  /** The match holds on that port only. */
  readonly port: number | undefined;
}

export interface VirtualRuleSpec {
  readonly name: string | undefined;
  readonly matches: readonly VirtualMatchEntry[];
  readonly action:
    | { readonly kind: 'forward'; readonly destinations: readonly DestinationSpec[] }
    | { readonly kind: 'redirect'; readonly redirect: Redirect }
    | { readonly kind: 'respond'; readonly status: number; readonly body: string }
    /** To the rules of another VirtualService. */
    | { readonly kind: 'delegate'; readonly namespace: string; readonly name: string; readonly path: Path }
    | { readonly kind: 'invalid' };
  readonly requestHeaders: HeaderChange | undefined;
  readonly responseHeaders: HeaderChange | undefined;
  readonly rewritePath: PathRewrite | undefined;
  readonly rewriteHost: string | undefined;
  /** 0: none, whatever a root says. */
  readonly timeoutMs: number | undefined;
  readonly retry: RetryPolicy | undefined;
  readonly stages: StagesSpec<DestinationSpec> | undefined;
}

const headersSchema = z.strictObject({ request: headerOperationsSchema, response: headerOperationsSchema }).nullish();

export const destinationSchema = z.object({
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
  retryIgnorePreviousHosts: z.boolean().nullish(),
  /** Locality only orders the endpoints of one mesh: always so. */
  retryRemoteLocalities: z.boolean().nullish(),
});

/** Not much more than a page: it is kept in memory for every route, and sent at once. */
const longestBody = 65_536;

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
      uri: urlTextSchema.optional(),
      authority: urlTextSchema.optional(),
      scheme: urlTextSchema.optional(),
      port: portSchema.optional(),
      derivePort: z.enum(['FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT']).optional(),
      redirectCode: z.literal([301, 302, 303, 307, 308]).default(301),
    })
    .refine(({ port, derivePort }) => port === undefined || derivePort === undefined, 'give one of port and derivePort')
    .nullish(),
  directResponse: z
    .object({
      status: z.number().int().min(200).max(599),
      body: z
        .strictObject({ string: z.string().optional(), bytes: z.base64().optional() })
        .refine((body) => body.string === undefined || body.bytes === undefined, 'give one of string and bytes')
        .refine(({ string = '', bytes = '' }) => string.length + bytes.length <= longestBody, 'the body is too long')
        .nullish(),
    })
    .nullish(),
  delegate: z.strictObject({ name: z.string().min(1), namespace: z.string().optional() }).nullish(),
  rewrite: z
    .strictObject({
      uri: urlTextSchema.optional(),
      authority: urlTextSchema.optional(),
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

const destinationFields: KnownFields = { host: true, subset: true, port: { number: true } };

/** What a rule may have; parts judged by a strict schema end here. */
const ruleFields: KnownFields = {
  ...Object.fromEntries(Object.keys(ruleSchema.shape).map((name) => [name, true as const])),
  route: { destination: destinationFields, weight: true, headers: true },
  directResponse: { status: true, body: true },
  retries: {
    attempts: true,
    perTryTimeout: true,
    retryOn: true,
    backoff: true,
    retryIgnorePreviousHosts: true,
    retryRemoteLocalities: true,
  },
  mirror: destinationFields,
};

export function readRule(
  object: ConfigObject,
  content: { readonly match: readonly unknown[] },
  path: Path,
  diagnostics: Diagnostic[],
): VirtualRuleSpec {
  const matches = readMatches(object, content.match, [...path, 'match'], diagnostics);
  const parsed = ruleSchema.safeParse(content);
  const invalid = (message: string, at: Path): VirtualRuleSpec => {
    diagnostics.push(diagnose(object, 'ROUTE_RULE_INVALID', message, at));
    return { ...plainRule, name: undefined, matches, action: { kind: 'invalid' } };
  };
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const at = [...path, ...(issue?.path ?? []).filter((step) => typeof step !== 'symbol')];
    return invalid(`${at.join('.')}: ${issue?.message ?? 'cannot be read'}`, at);
  }
  for (const at of unknownFields(content, ruleFields, path)) {
    diagnostics.push(
      diagnose(object, 'ROUTE_FIELD_UNSUPPORTED', `${at.slice(path.length).join('.')} has no effect`, at),
    );
  }
  const rule = parsed.data;
  for (const word of readRetryOn(rule.retries?.retryOn).unknown) {
    const at = [...path, 'retries', 'retryOn'];
    diagnostics.push(diagnose(object, 'ROUTE_FIELD_UNSUPPORTED', `retryOn: ${word} has no effect`, at));
  }
  const rewriteUri = rule.rewrite?.uri;
  const action = actionOf(object, rule, path);
  if (typeof action === 'string') return invalid(action, path);
  if (rule.mirror != null && rule.mirrors.length > 0) return invalid('mirror and mirrors exclude each other', path);
  return {
    name: rule.name,
    matches,
    action,
    requestHeaders: rule.headers?.request,
    responseHeaders: rule.headers?.response,
    rewritePath:
      rewriteUri === undefined ? (rule.rewrite?.uriRegexRewrite ?? undefined) : { kind: 'prefix', value: rewriteUri },
    rewriteHost: rule.rewrite?.authority,
    timeoutMs: rule.timeout ?? undefined,
    retry: rule.retries == null ? undefined : { ...retryOf(rule.retries), nonIdempotent: mayRepeatAll(object) },
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
): readonly VirtualMatchEntry[] {
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

/** A text is what is wrong. */
function actionOf(
  object: ConfigObject,
  rule: z.output<typeof ruleSchema>,
  path: Path,
): VirtualRuleSpec['action'] | string {
  if (rule.delegate != null) {
    const { name, namespace = object.metadata.namespace } = rule.delegate;
    if (rule.route.length > 0 || rule.redirect != null || rule.directResponse != null) {
      return 'delegate excludes route, redirect and directResponse';
    }
    return { kind: 'delegate', namespace, name, path: [...path, 'delegate'] };
  }
  if (rule.redirect != null) {
    const { uri, authority, scheme, port, derivePort, redirectCode } = rule.redirect;
    const full: PathRewrite | undefined = uri === undefined ? undefined : { kind: 'full', value: uri };
    const derived = derivePort === 'FROM_REQUEST_PORT' ? 'request' : 'protocol-default';
    const redirect = { scheme, host: authority, port, derivePort: derived, path: full, status: redirectCode } as const;
    return { kind: 'redirect', redirect };
  }
  if (rule.directResponse != null) {
    const { status, body } = rule.directResponse;
    const text = body?.string ?? (body?.bytes === undefined ? '' : Buffer.from(body.bytes, 'base64').toString());
    return { kind: 'respond', status, body: text };
  }
  if (rule.route.length === 0) return 'names no route, redirect, directResponse or delegate';
  return { kind: 'forward', destinations: destinationsOf(rule.route, path) };
}

type RouteDestination = Pick<z.output<typeof ruleSchema>['route'][number], 'destination' | 'weight'> & {
  readonly headers?: z.output<typeof headersSchema>;
};

export function destinationsOf(route: readonly RouteDestination[], path: Path): readonly DestinationSpec[] {
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
  return {
    attempts: retries.attempts,
    perTryTimeoutMs: retries.perTryTimeout || undefined,
    ...readRetryOn(retries.retryOn).conditions,
    backoffMs: retries.backoff || defaultBackoffMs,
    ...(retries.retryIgnorePreviousHosts === false ? { mayRepeatHosts: true } : undefined),
  };
}
