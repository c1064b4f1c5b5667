/** A match of an HTTPRoute rule and its rank: which of two matching routes wins (GEP-1294, as Istio ranks). */

import * as z from 'zod';
import { Shared } from '../base/shared.ts';
import { trimmed } from '../base/trimmed.ts';
import type { NamedMatch, PathMatch, RouteMatch, TextMatch } from '../route/model.ts';
import { listOf, regexMatch } from './values.ts';

/** Compared from the left, larger wins: kind of path, its length, method given, headers, query parameters (of a GRPCRoute: length of service and of method first). */
export type MatchRank = readonly [path: number, length: number, method: number, headers: number, queryParams: number];

export type HttpMatchSpec =
  | { readonly kind: 'match'; readonly match: RouteMatch; readonly rank: MatchRank }
  | { readonly kind: 'problem'; readonly problem: string };

const named = z.object({
  type: z.enum(['Exact', 'RegularExpression']).default('Exact'),
  name: z.string().min(1),
  value: z.string(),
});

export const headerMatchesSchema = listOf(named);

export const httpMatchSchema = z.strictObject({
  path: z
    .object({
      type: z.enum(['Exact', 'PathPrefix', 'RegularExpression']).default('PathPrefix'),
      value: z.string().default('/'),
    })
    .nullish(),
  method: z.string().nullish(),
  headers: headerMatchesSchema,
  queryParams: listOf(named).refine((list) => list.length <= 16, 'more than 16 query parameters'),
});

export function readHttpMatch(content: z.output<typeof httpMatchSchema>): HttpMatchSpec {
  const path = pathMatch(content.path?.type ?? 'PathPrefix', content.path?.value ?? '/');
  const headers = readHeaderMatches(content.headers);
  const queryParams = namedMatches(content.queryParams, (name) => name);
  if (typeof path === 'string') return { kind: 'problem', problem: path };
  if (typeof headers === 'string') return { kind: 'problem', problem: headers };
  if (typeof queryParams === 'string') return { kind: 'problem', problem: queryParams };
  const method = content.method ?? undefined;
  return {
    kind: 'match',
    match: {
      path,
      method: method === undefined ? undefined : { kind: 'exact', value: method, ignoreCase: false },
      authority: undefined,
      scheme: undefined,
      headers,
      queryParams,
    },
    rank: sharedRank(
      pathRank[path.kind],
      pathLength(path),
      method === undefined ? 0 : 1,
      headers.length,
      queryParams.length,
    ),
  };
}

const ranks = new Shared<MatchRank>({ most: 1024, longest: 64 });

export function sharedRank(...rank: MatchRank): MatchRank {
  return ranks.of(rank.join('/'), rank);
}

/** A text is the problem. */
export function readHeaderMatches(content: z.output<typeof headerMatchesSchema>): readonly NamedMatch[] | string {
  return namedMatches(content, (name) => name.toLowerCase());
}

/** Negative when `a` goes before `b`. */
export function compareRank(a: MatchRank, b: MatchRank): number {
  for (const [i, value] of a.entries()) {
    const difference = (b[i] ?? 0) - value;
    if (difference !== 0) return difference;
  }
  return 0;
}

const pathRank: Readonly<Record<PathMatch['kind'], number>> = {
  exact: 2,
  'path-prefix': 1,
  'text-prefix': 1,
  regex: 0,
};

function pathLength(path: PathMatch): number {
  return path.kind === 'regex' ? path.source.length : path.value.length;
}

function pathMatch(type: 'Exact' | 'PathPrefix' | 'RegularExpression', value: string): PathMatch | string {
  if (type === 'RegularExpression') return regexMatch(value) ?? `not a regular expression (RE2): ${value}`;
  if (!value.startsWith('/')) return `a path starts with a slash: ${value}`;
  if (type === 'Exact') return { kind: 'exact', value, ignoreCase: false };
  return { kind: 'path-prefix', value: value.length > 1 ? value.replace(/\/$/, '') : value };
}

/** Of several entries with one name the first counts. */
function namedMatches(
  entries: readonly z.output<typeof named>[],
  canonical: (name: string) => string,
): readonly NamedMatch[] | string {
  const found = new Map<string, NamedMatch>();
  for (const { type, name, value } of entries) {
    const key = canonical(name);
    if (found.has(key)) continue;
    const match: TextMatch | undefined =
      type === 'Exact' ? { kind: 'exact', value, ignoreCase: false } : regexMatch(value);
    if (match === undefined) return `not a regular expression (RE2): ${value}`;
    found.set(key, { name: key, match, negate: false });
  }
  return trimmed([...found.values()]);
}
