/**
 * PROXY protocol version 2 towards an application tunnel: who the client is, where it was going, and in TLV 0xD0 its
 * proven SPIFFE id (ztunnel.md §4.4; haproxy's proxy-protocol.txt §2.2).
 */
import { ipFamily, ipToBytes } from '../base/address.ts';
import type { ProxyPreface } from './inbound-decision.ts';

const signature = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
const versionAndProxy = 0x21;
const tcp4 = 0x11;
const tcp6 = 0x21;
const identityType = 0xd0;

export function encodeProxyPreface(preface: ProxyPreface): Uint8Array {
  const { source, destination, identity } = preface;
  const both4 = ipFamily(source.ip) === 4 && ipFamily(destination.ip) === 4;
  const address = (ip: string) => (both4 ? ipToBytes(ip) : wide(ip));
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(source.port, 0);
  ports.writeUInt16BE(destination.port, 2);
  const id = Buffer.from(identity, 'ascii');
  const tlv = Buffer.alloc(3);
  tlv.writeUInt8(identityType, 0);
  tlv.writeUInt16BE(id.length, 1);
  const body = Buffer.concat([address(source.ip), address(destination.ip), ports, tlv, id]);
  const head = Buffer.alloc(4);
  head.writeUInt8(versionAndProxy, 0);
  head.writeUInt8(both4 ? tcp4 : tcp6, 1);
  head.writeUInt16BE(body.length, 2);
  return Buffer.concat([signature, head, body]);
}

/** One header has one family: an IPv4 address beside an IPv6 one is written as IPv4-mapped. */
function wide(ip: string): Uint8Array {
  return ipFamily(ip) === 6 ? ipToBytes(ip) : Uint8Array.of(...new Uint8Array(10), 0xff, 0xff, ...ipToBytes(ip));
}
