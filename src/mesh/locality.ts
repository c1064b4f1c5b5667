/** How near an endpoint is to who asks, by the service's locality preferences (ztunnel reference §3.5). */

import type { EndpointQuery } from './endpoint-query.ts';
import type { Scope, Workload } from './model.ts';
import { networkOf } from './usable-endpoint.ts';

/** Undefined: not to be used. Higher is nearer. */
export function localityRank(workload: Workload, query: EndpointQuery): number | undefined {
  const { preferences, mode } = query.service.loadBalancing;
  if (mode === 'any' || mode === 'passthrough') return 0;
  if (mode === 'strict') return preferences.every((scope) => sameScope(scope, workload, query)) ? 0 : undefined;
  if (preferences[0] === 'network') {
    // Of two endpoints in other networks the nearer one still wins, but any in the own network wins over both.
    const rest = leadingMatches(preferences.slice(1), workload, query);
    return sameScope('network', workload, query) ? rest + preferences.length : rest;
  }
  return leadingMatches(preferences, workload, query);
}

/** Whether `localityRank` is the same for both sources, whatever the workload. Their network is not looked at. */
export function equallyPlaced(
  a: Workload | undefined,
  b: Workload | undefined,
  { preferences, mode }: EndpointQuery['service']['loadBalancing'],
): boolean {
  if (a === b || mode === 'any' || mode === 'passthrough') return true;
  if (a === undefined || b === undefined) return false;
  return preferences.every((scope) => scope === 'network' || scopeValue(scope, a) === scopeValue(scope, b));
}

function leadingMatches(preferences: readonly Scope[], workload: Workload, query: EndpointQuery): number {
  const miss = preferences.findIndex((scope) => !sameScope(scope, workload, query));
  return miss < 0 ? preferences.length : miss;
}

function sameScope(scope: Scope, workload: Workload, query: EndpointQuery): boolean {
  if (scope === 'network') return workload.network === networkOf(query);
  return query.source !== undefined && scopeValue(scope, workload) === scopeValue(scope, query.source);
}

function scopeValue(scope: Exclude<Scope, 'network'>, workload: Workload): string {
  switch (scope) {
    case 'region':
    case 'zone':
    case 'subzone':
      return workload.locality?.[scope] ?? '';
    case 'node':
      return workload.node;
    case 'cluster':
      return workload.clusterId;
  }
}
