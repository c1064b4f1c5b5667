/** Which sessions are alike, so that a new stream may use any of them, and whose they are. Pure. */
import { formatSocketAddress } from '../base/address.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { TunnelTarget } from './seam.ts';

/** Every field that makes targets differ. The parts cannot hold the separator, but for headers, which come last. */
export function poolKey(target: TunnelTarget): string {
  const { peer, socket, outer } = target;
  const key = [
    target.sourceIdentity,
    socket.source ?? '',
    socket.transparent ? 't' : '',
    socket.mark ?? '',
    socket.namespace?.key ?? '',
    formatSocketAddress(peer),
    identitiesKey(target.expectedIdentities),
  ].join('|');
  if (outer === undefined) return key;
  return [key, identitiesKey(outer.expectedIdentities), outer.authority, JSON.stringify(outer.headers)].join('|');
}

function identitiesKey(identities: readonly SpiffeId[]): string {
  return identities.length === 1 ? (identities[0] as string) : identities.toSorted().join(',');
}

/** The pod a session is for: by its namespace, else its address, else (on the node's own address) its identity. */
export function sourceOf({ socket, sourceIdentity }: TunnelTarget): string {
  return socket.namespace?.key ?? socket.source ?? sourceIdentity;
}
