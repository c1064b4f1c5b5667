/**
 * Addresses of the public Internet, by what IANA's special-purpose registries leave over (RFC 6890). IPv6 forms that
 * carry an IPv4 address inside are not public: they would be a way around.
 */
import { BlockList, isIPv4 } from 'node:net';

const special = new BlockList();
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
  // Azure's metadata and key service, which IANA knows nothing of.
  ['168.63.129.16', 32],
] as const) {
  special.addSubnet(network, bits, 'ipv4');
}
for (const [network, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  special.addSubnet(network, bits, 'ipv6');
}
const globalUnicast = new BlockList();
globalUnicast.addSubnet('2000::', 3, 'ipv6');

/** `ip` must be an address. */
export function isPublicAddress(ip: string): boolean {
  if (isIPv4(ip)) return !special.check(ip, 'ipv4');
  return globalUnicast.check(ip, 'ipv6') && !special.check(ip, 'ipv6');
}

const local4 = new BlockList();
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['224.0.0.0', 3],
  // Where clouds keep their metadata, off the link: Alibaba, Oracle, Azure (which counts as public).
  ['100.100.100.200', 32],
  ['192.0.0.192', 32],
  ['168.63.129.16', 32],
] as const) {
  local4.addSubnet(network, bits, 'ipv4');
}
/** Apart from the other: a list takes an IPv4 address for the IPv6 address that carries it. */
const local6 = new BlockList();
for (const [network, bits] of [
  // Unspecified, loopback and the forms that carry an IPv4 address.
  ['::', 96],
  ['::ffff:0:0', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2002::', 16],
  ['fe80::', 10],
  ['ff00::', 8],
  // Where clouds keep their metadata.
  ['fd00:ec2::254', 128],
  ['fd20:ce::254', 128],
] as const) {
  local6.addSubnet(network, bits, 'ipv6');
}

/**
 * This machine, its link, where clouds keep their metadata, or no single machine: what a name of somebody else's never
 * rightly means. `ip` must be an address.
 */
export function isLocalAddress(ip: string): boolean {
  return isIPv4(ip) ? local4.check(ip, 'ipv4') : local6.check(ip, 'ipv6');
}
