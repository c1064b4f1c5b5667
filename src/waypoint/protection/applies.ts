/** Whether a limit is for a request. */
import { matchesRequest } from '../../route/match-route.ts';
import type { RouteMatch } from '../../route/request-match.ts';
import type { RequestFacts } from '../../route/traffic-protection.ts';

export function applies({ matches }: { readonly matches: readonly RouteMatch[] }, facts: RequestFacts): boolean {
  if (matches.length === 0) return true;
  const request = { ...facts, authority: facts.host, scheme: 'http' };
  return matches.some((match) => matchesRequest(match, request));
}
