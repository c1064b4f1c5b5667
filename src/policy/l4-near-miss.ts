/**
 * Which ALLOW rule came closest to letting a refused connection in, and what was missing: for whoever wonders why nothing
 * allowed it. Asked only once a connection is refused, and bounded: of very many rules only the first are looked at.
 */
import type { PoliciesInForce, PolicyKey, PolicyMatch } from '../mesh/model.ts';
import { unmetFields } from './l4-match.ts';
import { describePeer, type L4Connection, type L4Peer } from './l4-peer.ts';
import { isEmptyMatch } from './rule-index.ts';

export interface NearMiss {
  readonly policy: PolicyKey;
  /** Undefined: the policy has no rules, so it allows nobody. */
  readonly rule: number | undefined;
  /** Fields, over all clauses, of those matches that lacked least. Empty: a clause is made of empty matches only. */
  readonly unmet: readonly (keyof PolicyMatch)[];
}

/** A peer may be refused as often as it likes: looking for the reason must stay cheaper than the refusal. */
const mostMatches = 128;

export function nearestAllow(connection: L4Connection, inForce: PoliciesInForce): NearMiss | undefined {
  const peer = describePeer(connection);
  let left = mostMatches;
  let nearest: NearMiss | undefined;
  let nearestDistance = Number.POSITIVE_INFINITY;
  for (const { key, action, dryRun, rules } of inForce.policies) {
    if (action !== 'allow' || dryRun) continue;
    if (rules.length === 0) nearest ??= { policy: key, rule: undefined, unmet: [] };
    for (const [rule, clauses] of rules.entries()) {
      let distance = 0;
      const unmet = new Set<keyof PolicyMatch>();
      for (const clause of clauses) {
        left -= clause.length;
        if (left < 0) return nearest;
        const missing = leastMissing(clause, peer);
        distance += missing.distance;
        for (const field of missing.unmet) unmet.add(field);
      }
      if (distance >= nearestDistance) continue;
      nearestDistance = distance;
      nearest = { policy: key, rule, unmet: [...unmet] };
    }
  }
  return nearest;
}

/** In words, to follow a reason. */
export function nearMissText({ policy, rule, unmet }: NearMiss, connection: L4Connection): string {
  if (rule === undefined) return `closest: ${policy}, which has no rules`;
  if (unmet.length === 0) return `closest: ${policy} rule ${rule}, whose conditions are empty`;
  const values = [...new Set(unmet.map((field) => givenFor(field, connection)))];
  return `closest: ${policy} rule ${rule}, not met: ${unmet.join(', ')} (${values.join(', ')})`;
}

/** An empty match is met by nobody; nothing is known that would have to change. */
const hopeless = { distance: 100, unmet: [] };

function leastMissing(clause: readonly PolicyMatch[], peer: L4Peer) {
  if (clause.length === 0) return { distance: 0, unmet: [] };
  let least: { readonly distance: number; readonly unmet: readonly (keyof PolicyMatch)[] } = hopeless;
  for (const match of clause) {
    if (isEmptyMatch(match)) continue;
    const unmet = unmetFields(match, peer);
    if (unmet.length < least.distance) least = { distance: unmet.length, unmet };
  }
  return least;
}

function givenFor(field: keyof PolicyMatch, connection: L4Connection): string {
  switch (field) {
    case 'sourceIps':
    case 'notSourceIps':
      return `source is ${connection.sourceIp}`;
    case 'destinationIps':
    case 'notDestinationIps':
      return `destination is ${connection.destinationIp}`;
    case 'destinationPorts':
    case 'notDestinationPorts':
      return `port is ${connection.destinationPort}`;
    default:
      return connection.peer === undefined ? 'the peer has no identity' : `peer is ${connection.peer}`;
  }
}
