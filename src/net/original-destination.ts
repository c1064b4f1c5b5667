/**
 * Where a REDIRECTed connection was going (SO_ORIGINAL_DST). The only file that touches Node's private socket handle:
 * Node offers no public way to the descriptor of an accepted socket, and the option must be asked on it.
 * `test/netns/net/sockets.test.ts` fails when Node moves it.
 */
import type { Socket } from 'node:net';
import { canonicalIp, type SocketAddress } from '../base/address.ts';
import { nativeSockets } from './native-sockets.ts';

/** Undefined when the kernel does not know it: no REDIRECT rule, TPROXY, or the connection has gone. */
export function originalDestination(socket: Socket): SocketAddress | undefined {
  const fd = descriptorOf(socket);
  return fd === undefined ? undefined : originalDestinationOf(fd);
}

/** The same, of a descriptor. */
export function originalDestinationOf(fd: number): SocketAddress | undefined {
  try {
    const endpoint = nativeSockets().originalDestination(fd);
    const ip = endpoint === undefined ? undefined : canonicalIp(endpoint.address);
    return endpoint === undefined || ip === undefined ? undefined : { ip, port: endpoint.port };
  } catch {
    // The kernel refuses for a connection that is gone; the caller learns that from the socket itself.
    return undefined;
  }
}

/** The open descriptor behind a socket; undefined once it is closed. Node keeps owning it. */
export function descriptorOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as unknown as { readonly _handle?: { readonly fd?: number } | null };
  return typeof handle?.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined;
}
