/** A match block of a VirtualService's `http` route (Istio: HTTPMatchRequest). */
import * as z from 'zod';
import type { NamedMatch, PathMatch, RouteMatch, TextMatch } from '../route/model.ts';
import type { ClaimMatch } from '../route/request-match.ts';
import { labelsSchema, portSchema, regexMatch } from './values.ts';

export type VirtualMatchSpec =
  | { readonly kind: 'match'; readonly match: RouteMatch; readonly port: number | undefined }
  | { readonly kind: 'problem'; readonly problem: string };

/** Istio's StringMatch. */
export const stringMatchSchema = z
  .strictObject({ exact: z.string().optional(), prefix: z.string().optional(), regex: z.string().optional() })
  .refine(
    (match) => Object.values(match).filter((value) => value !== undefined).length < 2,
    'give one of exact, prefix, regex',
  );
const matchMap = z.record(z.string().min(1), stringMatchSchema.nullable()).nullish();

/** What is not known is refused: without it the route would match more than was asked. */
export const virtualMatchSchema = z.strictObject({
  name: z.string().optional(),
  uri: stringMatchSchema.nullish(),
  ignoreUriCase: z.boolean().default(false),
  scheme: stringMatchSchema.nullish(),
  method: stringMatchSchema.nullish(),
  authority: stringMatchSchema.nullish(),
  headers: matchMap,
  withoutHeaders: matchMap,
  queryParams: matchMap,
  sourceNamespace: z.string().min(1).nullish(),
  sourceLabels: labelsSchema.nullish(),
  /** Of Envoy's statistics, which are none of ours. */
  statPrefix: z.string().nullish(),
  port: portSchema.nullish(),
  gateways: z
    .array(z.string())
    .refine((gateways) => gateways.length === 0 || gateways.includes('mesh'), 'is not for the mesh')
    .nullish(),
});

export type StringMatchSpec = z.output<typeof stringMatchSchema>;

export function readVirtualMatch(content: z.output<typeof virtualMatchSchema>): VirtualMatchSpec {
  const problems: string[] = [];
  const text = (match: StringMatchSpec | null | undefined) =>
    match == null ? undefined : textMatch(match, false, problems);
  const named = (map: z.output<typeof matchMap>, lower: boolean, negate: boolean): NamedMatch[] =>
    Object.entries(map ?? {}).flatMap(([name, match]) =>
      lower && isClaim(name)
        ? []
        : {
            name: lower ? name.toLowerCase() : name,
            match: textMatch(match ?? {}, false, problems),
            negate,
          },
    );
  const claims = [
    ...claimMatches(content.headers, false, problems),
    ...claimMatches(content.withoutHeaders, true, problems),
  ];
  const match: RouteMatch = {
    path: content.uri == null ? undefined : pathMatch(content.uri, content.ignoreUriCase, problems),
    method: text(content.method),
    authority: text(content.authority),
    scheme: text(content.scheme),
    headers: [...named(content.headers, true, false), ...named(content.withoutHeaders, true, true)],
    queryParams: named(content.queryParams, false, false),
    ...(claims.length === 0 ? undefined : { claims }),
    ...(content.sourceNamespace == null ? undefined : { sourceNamespace: content.sourceNamespace }),
    ...(content.sourceLabels == null ? undefined : { sourceLabels: Object.entries(content.sourceLabels) }),
  };
  const [problem] = problems;
  return problem === undefined
    ? { kind: 'match', match, port: content.port ?? undefined }
    : { kind: 'problem', problem };
}

const claimPrefix = '@request.auth.claims';

function isClaim(name: string): boolean {
  return name.startsWith('@');
}

/** `@request.auth.claims.a.b`, or `@request.auth.claims[a][b]` where a name has dots of its own. */
function claimMatches(map: z.output<typeof matchMap>, negate: boolean, problems: string[]): readonly ClaimMatch[] {
  return Object.entries(map ?? {}).flatMap(([name, match]) => {
    if (!isClaim(name)) return [];
    const path = claimPath(name);
    if (path === undefined) problems.push(`${name} names no claim`);
    return path === undefined ? [] : [{ path, match: textMatch(match ?? {}, false, problems), negate }];
  });
}

function claimPath(name: string): readonly string[] | undefined {
  if (!name.startsWith(claimPrefix)) return undefined;
  const rest = name.slice(claimPrefix.length);
  if (/^(?:\[[^[\]]+\])+$/.test(rest)) return rest.slice(1, -1).split('][');
  return /^(?:\.[^.[\]]+)+$/.test(rest) ? rest.slice(1).split('.') : undefined;
}

/** An empty match asks for presence. */
export function textMatch(match: StringMatchSpec, ignoreCase: boolean, problems: string[]): TextMatch {
  if (match.exact !== undefined) return { kind: 'exact', value: match.exact, ignoreCase };
  if (match.prefix !== undefined) return { kind: 'prefix', value: match.prefix, ignoreCase };
  if (match.regex === undefined) return { kind: 'presence' };
  const regex = regexMatch(match.regex);
  if (regex === undefined) problems.push(`not a regular expression (RE2): ${match.regex}`);
  return regex ?? { kind: 'presence' };
}

function pathMatch(match: StringMatchSpec, ignoreCase: boolean, problems: string[]): PathMatch | undefined {
  const text = textMatch(match, ignoreCase, problems);
  switch (text.kind) {
    case 'exact':
      return { kind: 'exact', value: text.value, ignoreCase };
    case 'prefix':
      return { kind: 'text-prefix', value: text.value, ignoreCase };
    case 'regex':
      return text;
    case 'suffix':
    case 'presence':
      return undefined;
  }
}
