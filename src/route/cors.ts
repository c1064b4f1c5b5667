/**
 * CORS (GEP-1767, Fetch §3.3): what a proxy says on the application's behalf. It never refuses a request: browsers do,
 * by what these headers say. With credentials a wildcard would mean nothing to a browser, so it is spelled out.
 *
 * I1: an origin that is not allowed gets no `access-control-` header from here. I2: an answer that depends on the origin
 * says so in `vary`, or a cache would give it to another origin.
 */
import { type HeaderList, headerValue, withAddedHeader, withHeader } from '../http/header-list.ts';
import { matchesText } from './match-text.ts';
import type { CorsPolicy } from './model.ts';

export type CorsDecision =
  /** Nothing to say. */
  | { readonly kind: 'pass' }
  /** Answer the preflight with these headers. */
  | { readonly kind: 'preflight'; readonly headers: HeaderList }
  /** Go on; the response gets what `allowed` adds. */
  | { readonly kind: 'allow'; readonly allowed: (response: HeaderList) => HeaderList };

const pass: CorsDecision = { kind: 'pass' };

export function decideCors(policy: CorsPolicy, method: string, request: HeaderList): CorsDecision {
  const origin = headerValue(request, 'origin');
  if (origin === undefined || origin === '') return pass;
  const asked = method === 'OPTIONS' ? headerValue(request, 'access-control-request-method') : undefined;
  const preflight = asked !== undefined && asked !== '';
  if (!policy.allowOrigins.some((match) => matchesText(match, origin))) {
    return preflight && policy.answerUnmatched ? { kind: 'preflight', headers: varies([]) } : pass;
  }
  if (!preflight) return { kind: 'allow', allowed: (response) => allowed(policy, origin, response) };
  return { kind: 'preflight', headers: preflightHeaders(policy, origin, asked, request) };
}

function preflightHeaders(policy: CorsPolicy, origin: string, method: string, request: HeaderList): HeaderList {
  const out = [...permission(policy, origin, [])];
  const methods = spelledOut(policy, policy.allowMethods, method);
  if (methods !== '') out.push('access-control-allow-methods', methods);
  const headers = spelledOut(policy, policy.allowHeaders, headerValue(request, 'access-control-request-headers') ?? '');
  if (headers !== '') out.push('access-control-allow-headers', headers);
  if (policy.maxAgeSeconds !== undefined) out.push('access-control-max-age', String(policy.maxAgeSeconds));
  return varies(out);
}

function allowed(policy: CorsPolicy, origin: string, response: HeaderList): HeaderList {
  let out = permission(policy, origin, response);
  const exposed = spelledOut(policy, policy.exposeHeaders, namesOf(response));
  if (exposed !== '') out = withHeader(out, 'access-control-expose-headers', exposed);
  return varies(out);
}

function permission(policy: CorsPolicy, origin: string, list: HeaderList): HeaderList {
  const out = withHeader(list, 'access-control-allow-origin', origin);
  return policy.allowCredentials ? withHeader(out, 'access-control-allow-credentials', 'true') : out;
}

/** With credentials a star is a name like any other (Fetch §3.3.4): what was asked for stands in its place. */
function spelledOut(policy: CorsPolicy, names: readonly string[], concrete: string): string {
  if (!names.includes('*')) return names.join(', ');
  return policy.allowCredentials ? concrete : '*';
}

function namesOf(response: HeaderList): string {
  const names = response.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
  return [...new Set(names)].filter((name) => !name.startsWith('access-control-')).join(', ');
}

function varies(list: HeaderList): HeaderList {
  return withAddedHeader(list, 'vary', 'Origin');
}
