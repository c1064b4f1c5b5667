/** What is known of a session of the pool. */
import type { SocketAddress } from '../base/address.ts';
import type { Cancellation } from '../base/cancellation.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { PeerChain } from '../identity/revocation.ts';

export interface SessionFacts {
  readonly local: SocketAddress;
  readonly peer: SocketAddress;
  readonly sourceIdentity: SpiffeId;
  /** Whose it is; see `sourceOf`. */
  readonly source: string;
  /** Of our certificate. */
  readonly generation: number;
  readonly peerIdentity: SpiffeId;
  /** To look up in later revocation lists; undefined: nobody asked for them. */
  readonly peerChain: PeerChain | undefined;
  /** It runs inside a tunnel to `peer`, a gateway. */
  readonly nested: boolean;
  /** Cancelled once the session takes no new streams: those who hold idle ones may let them go. */
  readonly leaving: Cancellation;
}
