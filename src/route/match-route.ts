/**
 * The route of a request: the first in the given order whose match holds. The compiler puts routes in order of
 * precedence (GEP-1294, or as written for VirtualService), so nothing is ranked here. Of many routes only those are
 * looked at whose path can be the request's.
 */
import { type HeaderList, headerValues } from '../http/header-list.ts';
import { matchesText } from './match-text.ts';
import type { NamedMatch, PathMatch, PortRoutes, Route, RouteGroup, RouteMatch } from './model.ts';
import { claimTexts, type TokenClaims } from './request-authentication.ts';
import type { ClaimMatch } from './request-match.ts';
import { TextIndex, type TextKeys } from './text-index.ts';

export interface RouteRequest {
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  /** Normalised, without query. */
  readonly path: string;
  /** With its question mark, or empty. */
  readonly query: string;
  readonly headers: HeaderList;
  /** Of its verified token; undefined: nobody has vouched for anything. */
  readonly claims?: TokenClaims | undefined;
  /** Undefined: the client's is not known, and no route that asks for one matches. */
  readonly clientNamespace?: string | undefined;
  /** Of the client's workload record; undefined: not known, likewise. */
  readonly clientLabels?: Readonly<Record<string, string>> | undefined;
}

const indexes = new WeakMap<readonly Route[], TextIndex<Route>>();

/** A list of routes is taken for immutable. */
export function matchRoute(routes: readonly Route[], request: RouteRequest): Route | undefined {
  let params: ReadonlyMap<string, string> | undefined;
  const queryParams = () => {
    params ??= firstQueryParams(request.query);
    return params;
  };
  const index = indexes.getOrInsertComputed(routes, indexOf);
  return index
    .candidates(request.path)
    .find(({ match }) => match === undefined || routeMatches(match, request, queryParams));
}

/** Whether one match holds, whatever its rank among others. */
export function matchesRequest(match: RouteMatch, request: RouteRequest): boolean {
  return routeMatches(match, request, () => firstQueryParams(request.query));
}

/** The routes that are for clients of the namespace: its own where it has some, else those for everybody. */
export function routesFor(ports: PortRoutes, clientNamespace: string | undefined): RouteGroup {
  if (ports.consumers === undefined || clientNamespace === undefined) return ports;
  return ports.consumers.get(clientNamespace) ?? ports;
}

/** All of them, and a client whose labels are not known has none. */
export function hasLabels(
  asked: readonly (readonly [name: string, value: string])[],
  labels: Readonly<Record<string, string>> | undefined,
): boolean {
  return asked.every(([name, value]) => labels !== undefined && Object.hasOwn(labels, name) && labels[name] === value);
}

function indexOf(routes: readonly Route[]): TextIndex<Route> {
  return new TextIndex(routes, ({ match }) => pathKeys(match?.path));
}

function pathKeys(match: PathMatch | undefined): TextKeys {
  switch (match?.kind) {
    case 'exact':
      return match.ignoreCase ? undefined : [{ kind: 'exact', value: match.value }];
    case 'text-prefix':
      return match.ignoreCase ? undefined : [{ kind: 'prefix', value: match.value }];
    case 'path-prefix':
      return [{ kind: 'prefix', value: withoutEndSlash(match.value) }];
    default:
      return undefined;
  }
}

function routeMatches(
  match: RouteMatch,
  request: RouteRequest,
  queryParams: () => ReadonlyMap<string, string>,
): boolean {
  if (match.sourceNamespace !== undefined && match.sourceNamespace !== request.clientNamespace) return false;
  if (match.sourceLabels !== undefined && !hasLabels(match.sourceLabels, request.clientLabels)) return false;
  if (match.method !== undefined && !matchesText(match.method, request.method)) return false;
  if (match.path !== undefined && !pathMatches(match.path, request.path)) return false;
  if (match.authority !== undefined && !matchesText(match.authority, request.authority)) return false;
  if (match.scheme !== undefined && !matchesText(match.scheme, request.scheme)) return false;
  if (!match.headers.every((named) => headerMatches(named, request.headers))) return false;
  if (match.claims !== undefined && !match.claims.every((claim) => claimMatches(claim, request.claims))) return false;
  return match.queryParams.every((named) => namedMatches(named, queryParams().get(named.name)));
}

export function pathMatches(match: PathMatch, path: string): boolean {
  switch (match.kind) {
    case 'exact':
      return match.ignoreCase ? path.toLowerCase() === match.value.toLowerCase() : path === match.value;
    case 'path-prefix': {
      const prefix = withoutEndSlash(match.value);
      return path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === '/');
    }
    case 'text-prefix':
      return match.ignoreCase ? path.toLowerCase().startsWith(match.value.toLowerCase()) : path.startsWith(match.value);
    case 'regex':
      return match.test(path);
  }
}

function withoutEndSlash(prefix: string): string {
  return prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
}

/** A repeated header holds by any of its values, and by all of them as one list: who adds a value hides none. */
function headerMatches(named: NamedMatch, headers: HeaderList): boolean {
  const values = headerValues(headers, named.name);
  if (values.length < 2) return namedMatches(named, values[0]);
  const holds = [values.join(','), ...values].some((value) => namedMatches({ ...named, negate: false }, value));
  return holds !== named.negate;
}

/** A header that is there with an empty value is present; a query parameter likewise. */
function namedMatches(named: NamedMatch, value: string | undefined): boolean {
  const holds = value !== undefined && (named.match.kind === 'presence' || matchesText(named.match, value));
  return holds !== named.negate;
}

function claimMatches({ path, match, negate }: ClaimMatch, claims: TokenClaims | undefined): boolean {
  const texts = claims === undefined ? [] : claimTexts(claims, path);
  return texts.some((text) => match.kind === 'presence' || matchesText(match, text)) !== negate;
}

/** The first value of each parameter, decoded; a broken escape is taken as it stands. */
function firstQueryParams(query: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const pair of query.slice(1).split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = decode(equals < 0 ? pair : pair.slice(0, equals));
    if (!found.has(name)) found.set(name, equals < 0 ? '' : decode(pair.slice(equals + 1)));
  }
  return found;
}

function decode(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text;
  const spaced = text.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}
