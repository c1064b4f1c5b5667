/**
 * Trust domains that count as one (Istio's `trustDomainAliases`): whoever is `ns/a/sa/b` in one of them is let in and meant
 * by policies as if in any other. Certificates are checked as ever; an alias trusts no further authority.
 *
 * I1: without aliases a workload's own trust domain is the only one, for being let in and for policies alike.
 */
import { formatSpiffeId, parseSpiffeId, type SpiffeId } from './spiffe.ts';

/** Whether peers of `trustDomain` may call a workload of `own`. */
export function isTrusted(trustDomain: string, own: string, aliases: readonly string[]): boolean {
  return trustDomain === own || aliases.includes(trustDomain);
}

/** The other ids that a policy of a workload of `own` may mean the peer by. */
export function otherIds(peer: SpiffeId | undefined, own: string, aliases: readonly string[]): readonly SpiffeId[] {
  if (peer === undefined || aliases.length === 0) return [];
  const identity = parseSpiffeId(peer);
  if (identity === undefined || !isTrusted(identity.trustDomain, own, aliases)) return [];
  return [own, ...aliases]
    .filter((trustDomain) => trustDomain !== identity.trustDomain)
    .map((trustDomain) => formatSpiffeId({ ...identity, trustDomain }));
}
