/**
 * Decodes captured packets down to TCP and UDP headers (RFC 791, 8200, 9293, 768). What is too short, fragmented or of another
 * protocol decodes to undefined: a capture shows only what it is sure of.
 */
import { ipFromBytes } from '../base/address.ts';

export interface TcpFlags {
  readonly syn: boolean;
  readonly ack: boolean;
  readonly fin: boolean;
  readonly rst: boolean;
}

export interface DecodedPacket {
  readonly protocol: 'tcp' | 'udp';
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** All false for UDP. */
  readonly flags: TcpFlags;
  /** Bytes on the wire, of which `payload` may hold only the beginning. */
  readonly payloadLength: number;
  readonly payload: Buffer;
}

const etherType = { ipv4: 0x0800, ipv6: 0x86dd };
const ipProtocol = { tcp: 6, udp: 17 };
const noFlags: TcpFlags = { syn: false, ack: false, fin: false, rst: false };

/** `data` starts at the network-layer header; `protocol` is the EtherType. */
export function decodePacket(protocol: number, data: Buffer): DecodedPacket | undefined {
  if (protocol === etherType.ipv4) return decodeIpv4(data);
  if (protocol === etherType.ipv6) return decodeIpv6(data);
  return undefined;
}

function decodeIpv4(data: Buffer): DecodedPacket | undefined {
  if (data.length < 20) return undefined;
  const headerLength = (data.readUInt8(0) & 0x0f) * 4;
  const laterFragment = (data.readUInt16BE(6) & 0x1fff) !== 0;
  if (headerLength < 20 || laterFragment) return undefined;
  const addresses = [data.subarray(12, 16), data.subarray(16, 20)] as const;
  return decodeTransport(
    data.readUInt8(9),
    addresses,
    data.subarray(headerLength),
    data.readUInt16BE(2) - headerLength,
  );
}

/** Extension headers are not followed: nothing in a lab sends them with TCP or UDP. */
function decodeIpv6(data: Buffer): DecodedPacket | undefined {
  if (data.length < 40) return undefined;
  const addresses = [data.subarray(8, 24), data.subarray(24, 40)] as const;
  return decodeTransport(data.readUInt8(6), addresses, data.subarray(40), data.readUInt16BE(4));
}

function decodeTransport(
  protocol: number,
  [from, to]: readonly [Buffer, Buffer],
  segment: Buffer,
  length: number,
): DecodedPacket | undefined {
  const source = ipFromBytes(from);
  const destination = ipFromBytes(to);
  if (source === undefined || destination === undefined) return undefined;
  if (protocol === ipProtocol.udp && segment.length >= 8) {
    return { protocol: 'udp', source, destination, ...ports(segment), flags: noFlags, ...payload(segment, 8, length) };
  }
  if (protocol !== ipProtocol.tcp || segment.length < 20) return undefined;
  const headerLength = (segment.readUInt8(12) >> 4) * 4;
  if (headerLength < 20) return undefined;
  const bits = segment.readUInt8(13);
  const flags = { fin: (bits & 1) !== 0, syn: (bits & 2) !== 0, rst: (bits & 4) !== 0, ack: (bits & 16) !== 0 };
  return { protocol: 'tcp', source, destination, ...ports(segment), flags, ...payload(segment, headerLength, length) };
}

function ports(segment: Buffer): { sourcePort: number; destinationPort: number } {
  return { sourcePort: segment.readUInt16BE(0), destinationPort: segment.readUInt16BE(2) };
}

function payload(segment: Buffer, headerLength: number, length: number): { payloadLength: number; payload: Buffer } {
  const payloadLength = Math.max(0, length - headerLength);
  return { payloadLength, payload: segment.subarray(headerLength, headerLength + payloadLength) };
}
