/** Path rewrites and redirects (GEP-726): pure text work on normalised paths; queries stay as they came. */

import type { RouteRequest } from './match-route.ts';
import type { PathMatch, PathRewrite, Redirect } from './model.ts';

/** The new path, never empty and always starting with a slash. A prefix is only replaced when the route matched one. */
export function rewritePath(path: string, rewrite: PathRewrite, match: PathMatch | undefined): string {
  if (rewrite.kind === 'full') return rooted(rewrite.value);
  if (rewrite.kind === 'regex') return rooted(rewrite.replace(path));
  switch (match?.kind) {
    case 'exact':
    case 'path-prefix': {
      const prefix = match.value.endsWith('/') ? match.value.slice(0, -1) : match.value;
      const rest = path.slice(prefix.length);
      const head = rest.startsWith('/') && rewrite.value.endsWith('/') ? rewrite.value.slice(0, -1) : rewrite.value;
      return rooted(`${head}${rest}`);
    }
    case 'text-prefix':
      return rooted(`${rewrite.value}${path.slice(match.value.length)}`);
    case 'regex':
      return path;
    case undefined:
      return rooted(`${rewrite.value.replace(/\/$/, '')}${path}`);
  }
}

/** Value of `Location`. The port of the request is kept unless the redirect names a port or another scheme. */
export function redirectLocation(
  redirect: Redirect,
  request: RouteRequest,
  listenerPort: number,
  match: PathMatch | undefined,
): string {
  const scheme = redirect.scheme ?? request.scheme;
  const [, bare = request.authority, givenPort] = /^(.*?)(?::([0-9]+))?$/.exec(request.authority) ?? [];
  const host = redirect.host ?? bare;
  const port = redirect.port ?? derivedPort(redirect, request.scheme, givenPort, listenerPort);
  const path = redirect.path === undefined ? request.path : rewritePath(request.path, redirect.path, match);
  const suffix = port === undefined || port === wellKnown(scheme) ? '' : `:${port}`;
  return `${scheme}://${host}${suffix}${path}${request.query}`;
}

function derivedPort(
  redirect: Redirect,
  requestScheme: string,
  given: string | undefined,
  listenerPort: number,
): number | undefined {
  switch (redirect.derivePort) {
    case undefined:
      return redirect.scheme === undefined ? portOf(given, listenerPort) : wellKnown(redirect.scheme);
    case 'request':
      return portOf(given, listenerPort);
    // As Envoy: another host has its scheme's port, the same host keeps the port it was called by, unless that was its scheme's.
    case 'protocol-default': {
      const kept = redirect.host === undefined && given !== undefined ? Number(given) : undefined;
      return redirect.scheme !== undefined && kept === wellKnown(requestScheme) ? undefined : kept;
    }
  }
}

function portOf(given: string | undefined, listenerPort: number): number {
  return given === undefined ? listenerPort : Number(given);
}

function wellKnown(scheme: string): number | undefined {
  return scheme === 'http' ? 80 : scheme === 'https' ? 443 : undefined;
}

function rooted(path: string): string {
  return path.startsWith('/') ? path : `/${path}`;
}
