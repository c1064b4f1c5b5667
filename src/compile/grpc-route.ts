/**
 * GRPCRoute (GEP-1016): rules by service and method. A gRPC method is a path, so the rules become those of an HTTPRoute;
 * only the matches and their rank differ: longest service, longest method, most headers.
 */
import * as z from 'zod';
import { none } from '../base/trimmed.ts';
import type { PathMatch } from '../route/model.ts';
import { type HttpMatchSpec, headerMatchesSchema, readHeaderMatches, sharedRank } from './http-match.ts';
import { routeParser } from './http-route.ts';
import { regexMatch } from './values.ts';

/** As the standard restricts them: neither can end the path segment it stands in. */
const serviceName = /^(?:[A-Za-z0-9_]+\.)*[A-Za-z0-9_]+$/;
const methodName = /^[A-Za-z_][A-Za-z_0-9]*$/;

const matchSchema = z.strictObject({
  method: z
    .strictObject({
      type: z.enum(['Exact', 'RegularExpression']).default('Exact'),
      service: z.string().min(1).nullish(),
      method: z.string().min(1).nullish(),
    })
    .refine(({ service, method }) => service != null || method != null, 'name a service or a method')
    .nullish(),
  headers: headerMatchesSchema,
});

export const parseGrpcRoute = routeParser({
  fields: new Set(['name', 'matches', 'filters', 'backendRefs', 'sessionPersistence']),
  filters: new Set(['RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestMirror']),
  readMatch(text): HttpMatchSpec {
    const parsed = matchSchema.safeParse(text);
    if (!parsed.success) return { kind: 'problem', problem: parsed.error.issues[0]?.message ?? 'cannot be read' };
    const { method: called, headers: named } = parsed.data;
    const headers = readHeaderMatches(named);
    if (typeof headers === 'string') return { kind: 'problem', problem: headers };
    const service = called?.service ?? undefined;
    const method = called?.method ?? undefined;
    const path = called?.type === 'RegularExpression' ? patternPath(service, method) : exactPath(service, method);
    if (typeof path === 'string') return { kind: 'problem', problem: path };
    return {
      kind: 'match',
      match: { path, method: undefined, authority: undefined, scheme: undefined, headers, queryParams: none },
      rank: sharedRank(service?.length ?? 0, method?.length ?? 0, 0, headers.length, 0),
    };
  },
});

function exactPath(service: string | undefined, method: string | undefined): PathMatch | string | undefined {
  if (service !== undefined && !serviceName.test(service)) return `not a gRPC service: ${service}`;
  if (method !== undefined && !methodName.test(method)) return `not a gRPC method: ${method}`;
  if (service === undefined) return method === undefined ? undefined : patternPath(undefined, method);
  if (method === undefined) return { kind: 'text-prefix', value: `/${service}/`, ignoreCase: false };
  return { kind: 'exact', value: `/${service}/${method}`, ignoreCase: false };
}

/** What is not named may be anything within its segment. */
function patternPath(service: string | undefined, method: string | undefined): PathMatch | string {
  const segment = (pattern: string | undefined) => (pattern === undefined ? '[^/]+' : `(?:${pattern})`);
  const source = `/${segment(service)}/${segment(method)}`;
  for (const part of [service, method]) {
    if (part !== undefined && regexMatch(part) === undefined) return `not a regular expression (RE2): ${part}`;
  }
  return regexMatch(source) ?? `not a regular expression (RE2): ${source}`;
}
