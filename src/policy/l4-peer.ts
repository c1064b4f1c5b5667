/** What L4 policies ask of a connection, taken apart once. */
import { ipToBytes } from '../base/address.ts';
import { type Identity, parseSpiffeId } from '../base/spiffe.ts';

export interface L4Connection {
  /** The peer's verified SPIFFE id; undefined for plaintext. */
  readonly peer: string | undefined;
  /** Canonical. */
  readonly sourceIp: string;
  /** Of the application's socket, not of the tunnel. */
  readonly destinationIp: string;
  readonly destinationPort: number;
}

export interface L4Peer {
  readonly connection: L4Connection;
  readonly identity: Identity | undefined;
  /** The id without its scheme. */
  readonly principal: string | undefined;
  readonly sourceIp: Uint8Array;
  readonly destinationIp: Uint8Array;
}

export function describePeer(connection: L4Connection): L4Peer {
  const { peer, sourceIp, destinationIp } = connection;
  return {
    connection,
    identity: peer === undefined ? undefined : parseSpiffeId(peer),
    principal: peer?.startsWith('spiffe://') === true ? peer.slice('spiffe://'.length) : peer,
    sourceIp: ipToBytes(sourceIp),
    destinationIp: ipToBytes(destinationIp),
  };
}
