/**
 * IP addresses, socket addresses and CIDR blocks in one canonical text form.
 *
 * I1: every address inside Ambit is canonical (IPv4 dotted; IPv6 lower case, compressed by RFC 5952; an IPv4-mapped
 * IPv6 address is its IPv4 address), so that text equality is address equality and a Map key needs no conversion.
 */
import { isIPv4, isIPv6 } from 'node:net';

export type IpFamily = 4 | 6;

export interface SocketAddress {
  /** Canonical IP, never a name. */
  readonly ip: string;
  readonly port: number;
}

export interface Cidr {
  readonly family: IpFamily;
  /** Network bytes, host bits cleared. 4 or 16 long. */
  readonly bytes: Uint8Array;
  readonly prefix: number;
  /** Canonical `ip/prefix`. */
  readonly text: string;
}

const mappedPrefix = '::ffff:';

/** What the kernel says of a socket, in its canonical form. */
export function canonicalAddress({
  address,
  port,
}: {
  readonly address: string;
  readonly port: number;
}): SocketAddress {
  return { ip: canonicalIp(address) ?? address, port };
}

/** Canonical form of an IP literal, or undefined when it is none. Zone ids are not accepted. */
export function canonicalIp(text: string): string | undefined {
  if (isIPv4(text)) return text;
  // What a dual-stack listener says of an IPv4 peer, at each accept.
  if (text.startsWith(mappedPrefix)) {
    const mapped = text.slice(mappedPrefix.length);
    if (isIPv4(mapped)) return mapped;
  }
  if (text.includes('%') || !isIPv6(text)) return undefined;
  const bytes = ipv6Bytes(text);
  return bytesToIp(bytes);
}

export function ipFamily(ip: string): IpFamily {
  return ip.includes(':') ? 6 : 4;
}

/** The 4 or 16 bytes of a canonical IP. Throws on text that is no IP: pass only canonical addresses. */
export function ipToBytes(ip: string): Uint8Array {
  if (isIPv4(ip)) return ipv4Bytes(ip);
  if (!isIPv6(ip)) throw new TypeError(`not an IP address: ${ip}`);
  return ipv6Bytes(ip);
}

/** Canonical IP of 4 or 16 network-order bytes; undefined for another length. */
export function ipFromBytes(bytes: Uint8Array): string | undefined {
  return bytes.length === 4 || bytes.length === 16 ? bytesToIp(bytes) : undefined;
}

/** Loopback, and the unspecified address, which Linux takes for it: whoever dials one reaches the host it dials from. */
export function isOwnHost(ip: string): boolean {
  return ip.startsWith('127.') || ip === '::1' || ip === '0.0.0.0' || ip === '::';
}

export function formatSocketAddress(address: SocketAddress): string {
  return ipFamily(address.ip) === 6 ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`;
}

/** Parses `1.2.3.4:80` or `[::1]:80`; undefined for anything else (names, missing or out-of-range port). */
export function parseSocketAddress(text: string): SocketAddress | undefined {
  const parts = splitHostPort(text);
  if (parts === undefined) return undefined;
  const ip = canonicalIp(parts.host);
  return ip === undefined ? undefined : { ip, port: parts.port };
}

/** Splits `host:port` or `[v6]:port`. The host may be a name. Port 1..65535, decimal without sign or leading zero. */
export function splitHostPort(text: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([1-9][0-9]{0,4})$/.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3]);
  const host = match[1] ?? match[2];
  return host === undefined || port > 65535 ? undefined : { host, port };
}

/** Parses `10.0.0.0/8`, `fd00::/8`, or a single address (a full-length prefix). Host bits are cleared. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  const ip = canonicalIp(slash < 0 ? text : text.slice(0, slash));
  if (ip === undefined) return undefined;
  const family = ipFamily(ip);
  const bits = family === 4 ? 32 : 128;
  const prefixText = slash < 0 ? String(bits) : text.slice(slash + 1);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(prefixText) || Number(prefixText) > bits) return undefined;
  return makeCidr(ipToBytes(ip), Number(prefixText));
}

/** A block from network-order bytes and a prefix length; undefined when they do not fit together. */
export function cidrFromBytes(bytes: Uint8Array, prefix: number): Cidr | undefined {
  if ((bytes.length !== 4 && bytes.length !== 16) || prefix < 0 || prefix > bytes.length * 8) return undefined;
  return makeCidr(Uint8Array.from(bytes), prefix);
}

/** Whether the block holds the address. Families never match across. `bytes` as from `ipToBytes`. */
export function cidrContains(cidr: Cidr, bytes: Uint8Array): boolean {
  if (bytes.length !== cidr.bytes.length) return false;
  const whole = cidr.prefix >> 3;
  for (let i = 0; i < whole; i++) if (bytes[i] !== cidr.bytes[i]) return false;
  const rest = cidr.prefix & 7;
  if (rest === 0) return true;
  const mask = 0xff << (8 - rest);
  return ((bytes[whole] as number) & mask & 0xff) === cidr.bytes[whole];
}

function makeCidr(bytes: Uint8Array, prefix: number): Cidr {
  for (let i = 0; i < bytes.length; i++) {
    const kept = Math.min(8, Math.max(0, prefix - i * 8));
    bytes[i] = (bytes[i] as number) & ((0xff << (8 - kept)) & 0xff);
  }
  return { family: bytes.length === 4 ? 4 : 6, bytes, prefix, text: `${plainIp(bytes)}/${prefix}` };
}

/** A block inside ::ffff:0:0/96 stays IPv6 text, so that family and text agree. */
function plainIp(bytes: Uint8Array): string {
  return bytes.length === 4 ? bytes.join('.') : ipv6Text(bytes);
}

function bytesToIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const mapped = bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((b) => b === 0);
  return mapped ? bytes.subarray(12).join('.') : ipv6Text(bytes);
}

/** Decisions take addresses apart all the time: without a string or closure per byte. */
function ipv4Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(4);
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x2e) at++;
    else bytes[at] = (bytes[at] as number) * 10 + code - 0x30;
  }
  return bytes;
}

function ipv6Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  let source = text;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(source);
  if (dotted !== null) {
    const [, head, a, b, c, d] = dotted;
    source = `${head}${((Number(a) << 8) | Number(b)).toString(16)}:${((Number(c) << 8) | Number(d)).toString(16)}`;
  }
  const [left = '', right] = source.split('::', 2);
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const groups =
    right === undefined ? head : [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail];
  groups.forEach((group, i) => {
    const value = Number.parseInt(group, 16);
    bytes[i * 2] = value >> 8;
    bytes[i * 2 + 1] = value & 0xff;
  });
  return bytes;
}

function ipv6Text(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2] as number) << 8) | (bytes[i * 2 + 1] as number));
  let best = { start: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === 0) j++;
    if (j - i > best.length) best = { start: i, length: j - i };
    if (j > i) i = j;
  }
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((g) => g.toString(16))
      .join(':');
  return best.start < 0 ? hex(0, 8) : `${hex(0, best.start)}::${hex(best.start + best.length, 8)}`;
}
