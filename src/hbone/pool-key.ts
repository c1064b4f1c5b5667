/** Which sessions are alike, so that a new stream may use any of them, and whose they are. */
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

/** Sessions behind a gateway stand side by side under keys of their own, used in turn. */
export class SessionTurns {
  readonly #count: number;
  #turn = 0;

  constructor(count: number) {
    this.#count = count;
  }

  /** Whose turn it is. */
  key(target: TunnelTarget): string {
    const key = poolKey(target);
    return target.outer === undefined ? key : `${key}|${this.#turn % this.#count}`;
  }

  /** The next one's turn comes. */
  used(target: TunnelTarget): void {
    if (target.outer !== undefined) this.#turn++;
  }
}

function identitiesKey(identities: readonly SpiffeId[]): string {
  return identities.length === 1 ? (identities[0] as string) : identities.toSorted().join(',');
}

/** The pod a session is for: by its namespace, else its address, else (on the node's own address) its identity. */
export function sourceOf({ socket, sourceIdentity }: TunnelTarget): string {
  return socket.namespace?.key ?? socket.source ?? sourceIdentity;
}
