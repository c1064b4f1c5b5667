/**
 * PROXY protocol towards a backend: who the client is and where it was going, before the first byte of the connection itself
 * (haproxy's proxy-protocol.txt, §2.1 and §2.2).
 */
import { ipFamily, ipToBytes, type SocketAddress } from '../base/address.ts';

const signature = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
const versionAndProxy = 0x21;
const tcp4 = 0x11;
const tcp6 = 0x21;

/** A type-length-value of version 2 (§2.2.7). */
export interface ProxyTlv {
  readonly type: number;
  readonly value: Uint8Array;
}

export function proxyHeader(version: 'v1' | 'v2', source: SocketAddress, destination: SocketAddress): Uint8Array {
  return version === 'v1' ? textHeader(source, destination) : binaryHeader(source, destination);
}

function textHeader(source: SocketAddress, destination: SocketAddress): Uint8Array {
  const both4 = ipFamily(source.ip) === 4 && ipFamily(destination.ip) === 4;
  const address = (ip: string) => (both4 || ipFamily(ip) === 6 ? ip : `::ffff:${ip}`);
  const addresses = `${address(source.ip)} ${address(destination.ip)} ${source.port} ${destination.port}`;
  return Buffer.from(`PROXY ${both4 ? 'TCP4' : 'TCP6'} ${addresses}\r\n`, 'latin1');
}

/** Version 2. */
export function binaryHeader(
  source: SocketAddress,
  destination: SocketAddress,
  tlvs: readonly ProxyTlv[] = [],
): Uint8Array {
  const both4 = ipFamily(source.ip) === 4 && ipFamily(destination.ip) === 4;
  const address = (ip: string) => (both4 ? ipToBytes(ip) : wide(ip));
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(source.port, 0);
  ports.writeUInt16BE(destination.port, 2);
  const body = Buffer.concat([address(source.ip), address(destination.ip), ports, ...tlvs.flatMap(encodedTlv)]);
  const head = Buffer.alloc(4);
  head.writeUInt8(versionAndProxy, 0);
  head.writeUInt8(both4 ? tcp4 : tcp6, 1);
  head.writeUInt16BE(body.length, 2);
  return Buffer.concat([signature, head, body]);
}

function encodedTlv({ type, value }: ProxyTlv): readonly Uint8Array[] {
  const head = Buffer.alloc(3);
  head.writeUInt8(type, 0);
  head.writeUInt16BE(value.length, 1);
  return [head, value];
}

/** One header has one family: an IPv4 address beside an IPv6 one is written as IPv4-mapped. */
function wide(ip: string): Uint8Array {
  return ipFamily(ip) === 6 ? ipToBytes(ip) : Uint8Array.of(...new Uint8Array(10), 0xff, 0xff, ...ipToBytes(ip));
}
