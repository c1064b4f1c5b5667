/**
 * PROXY protocol version 2 towards an application tunnel: who the client is, where it was going, and in TLV 0xD0 its
 * proven SPIFFE id (ztunnel.md §4.4; haproxy's proxy-protocol.txt §2.2).
 */
import { binaryHeader } from '../net/proxy-protocol.ts';
import type { ProxyPreface } from './inbound-decision.ts';

const identityType = 0xd0;

export function encodeProxyPreface({ source, destination, identity }: ProxyPreface): Uint8Array {
  return binaryHeader(source, destination, [{ type: identityType, value: Buffer.from(identity, 'ascii') }]);
}
