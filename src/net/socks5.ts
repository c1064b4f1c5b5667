/**
 * SOCKS5 (RFC 1928) as a server that offers no authentication and CONNECT alone: what a client says first, and what it is
 * answered. Pure and total; bytes that are not enough yet are no error.
 */
import { ipFromBytes } from '../base/address.ts';

const version = 5;
const noAuthentication = 0;
const connect = 1;

export const socksReplies = {
  succeeded: 0,
  failed: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  connectionRefused: 5,
  commandNotSupported: 7,
  addressTypeNotSupported: 8,
} as const;

export type SocksReply = (typeof socksReplies)[keyof typeof socksReplies];

export const methodAccepted = Uint8Array.of(version, noAuthentication);
export const noMethodAccepted = Uint8Array.of(version, 0xff);

export type SocksGreeting =
  | { readonly kind: 'more' }
  | { readonly kind: 'accepted'; readonly bytes: number }
  /** It cannot do without authentication: `noMethodAccepted`, and the end. */
  | { readonly kind: 'unacceptable' }
  | { readonly kind: 'invalid'; readonly reason: string };

export type SocksRequest =
  | { readonly kind: 'more' }
  /** `host`: a canonical address, or a name as the client wrote it. */
  | {
      readonly kind: 'connect';
      readonly host: { readonly ip: string } | { readonly hostname: string };
      readonly port: number;
      readonly bytes: number;
    }
  | { readonly kind: 'refused'; readonly reply: SocksReply; readonly reason: string }
  | { readonly kind: 'invalid'; readonly reason: string };

export function readSocksGreeting(bytes: Uint8Array): SocksGreeting {
  const [first, count] = bytes;
  if (first !== undefined && first !== version) return { kind: 'invalid', reason: `version ${first}` };
  if (count === undefined || bytes.length < 2 + count) return { kind: 'more' };
  const methods = bytes.subarray(2, 2 + count);
  return methods.includes(noAuthentication) ? { kind: 'accepted', bytes: 2 + count } : { kind: 'unacceptable' };
}

export function readSocksRequest(bytes: Uint8Array): SocksRequest {
  const [first, command, reserved, type, length] = bytes;
  if (first !== undefined && first !== version) return { kind: 'invalid', reason: `version ${first}` };
  if (type === undefined) return { kind: 'more' };
  if (reserved !== 0) return { kind: 'invalid', reason: 'the reserved byte is not zero' };
  if (command !== connect) return refused(socksReplies.commandNotSupported, `command ${command}`);
  const start = type === 3 ? 5 : 4;
  const size = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? length : -1;
  if (size === undefined) return { kind: 'more' };
  if (size < 0) return refused(socksReplies.addressTypeNotSupported, `address type ${type}`);
  const end = start + size + 2;
  if (bytes.length < end) return { kind: 'more' };
  const port = ((bytes[end - 2] as number) << 8) | (bytes[end - 1] as number);
  if (port === 0) return refused(socksReplies.failed, 'port 0');
  const address = bytes.subarray(start, start + size);
  const host = type === 3 ? hostnameOf(address) : addressOf(address);
  if (host === undefined) return refused(socksReplies.failed, 'no host name');
  return { kind: 'connect', host, port, bytes: end };
}

/** The address in it says nothing: what the connection's far end is called is nobody's business here. */
export function writeSocksReply(reply: SocksReply): Uint8Array {
  return Uint8Array.of(version, reply, 0, 1, 0, 0, 0, 0, 0, 0);
}

function refused(reply: SocksReply, reason: string): SocksRequest {
  return { kind: 'refused', reply, reason };
}

function addressOf(bytes: Uint8Array): { readonly ip: string } | undefined {
  const ip = ipFromBytes(bytes);
  return ip === undefined ? undefined : { ip };
}

/** Printable, so that it can be logged and compared; whether there is such a name is for DNS to say. */
function hostnameOf(bytes: Uint8Array): { readonly hostname: string } | undefined {
  const hostname = Buffer.from(bytes).toString('latin1');
  return /^[A-Za-z0-9._:-]+$/.test(hostname) ? { hostname } : undefined;
}
