/** What is known of one hop of one connection when it begins. */
import type { SocketAddress } from '../base/address.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { Service, Workload } from '../mesh/model.ts';
import type { BelievedNames, PeerNames } from './peer-names.ts';

export interface HopParty {
  readonly address: SocketAddress;
  readonly workload: Workload | undefined;
  /** Proven, or required of the peer, by mTLS; undefined in clear. */
  readonly identity: SpiffeId | undefined;
  /** What it says of itself, when the mesh has no record of it. */
  readonly names?: PeerNames | undefined;
}

export interface HopFacts {
  readonly direction: 'inbound' | 'outbound';
  readonly source: HopParty;
  /** `address`: what is dialled (outbound) or was reached (inbound). */
  readonly destination: HopParty;
  /** CONNECT authority. */
  readonly authority: string | undefined;
  readonly service: Service | undefined;
  /** Of the CONNECT: our own (outbound), or the peer's (inbound); undefined in clear, or when it sent none. */
  readonly traceparent: string | undefined;
  /** The article's closing words; undefined: not written. */
  readonly hop: string | undefined;
  /** Until the answer says who is there, `destination` is the gateway of the server's network. */
  readonly behindGateway?: Pick<BelievedNames, 'of'> | undefined;
}
