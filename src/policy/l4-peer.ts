/** What L4 policies ask of a connection, taken apart once. */
import { ipToBytes } from '../base/address.ts';
import { type Identity, parseSpiffeId } from '../base/spiffe.ts';

export interface L4Connection {
  /** The peer's verified SPIFFE id; undefined for plaintext. */
  readonly peer: string | undefined;
  /** Other ids that policies may mean the peer by: its own in the mesh's other trust domains. */
  readonly alsoKnownAs?: readonly string[];
  /** Canonical. */
  readonly sourceIp: string;
  /** Of the application's socket, not of the tunnel. */
  readonly destinationIp: string;
  readonly destinationPort: number;
}

export interface L4Peer {
  readonly connection: L4Connection;
  readonly identity: Identity | undefined;
  /** Its namespace; none for plaintext. */
  readonly namespaces: readonly string[];
  /** All ids of the peer, without their scheme; none for plaintext. */
  readonly principals: readonly string[];
  readonly sourceIp: Uint8Array;
  readonly destinationIp: Uint8Array;
}

export function describePeer(connection: L4Connection): L4Peer {
  const { peer, alsoKnownAs = [], sourceIp, destinationIp } = connection;
  const identity = peer === undefined ? undefined : parseSpiffeId(peer);
  return {
    connection,
    identity,
    namespaces: identity === undefined ? [] : [identity.namespace],
    principals: peer === undefined ? [] : [peer, ...alsoKnownAs].map(withoutScheme),
    sourceIp: ipToBytes(sourceIp),
    destinationIp: ipToBytes(destinationIp),
  };
}

function withoutScheme(id: string): string {
  return id.startsWith('spiffe://') ? id.slice('spiffe://'.length) : id;
}
