/**
 * UDP sockets as a spec asks: in a network namespace, marked, sharing a port. The datagram side of `socket-factory.ts`.
 *
 * I1: an option that cannot be set fails the socket (fail closed).
 * I2: what is connected to a peer is counted until it is closed (`descriptors.ts`).
 * I3: every socket handed out has an 'error' listener that ignores: add your own. It is the caller's to close.
 */
import { createSocket, type Socket } from 'node:dgram';
import { formatSocketAddress, ipFamily, type SocketAddress } from '../base/address.ts';
import { AmbitError } from '../base/errors.ts';
import { countSocket } from './descriptors.ts';
import { nativeSockets } from './native-sockets.ts';
import type { NetworkNamespace } from './socket-spec.ts';

/** How a datagram socket is made. */
export interface DatagramProfile {
  readonly mark: number | undefined;
  /** Undefined: the process's own. */
  readonly namespace: NetworkNamespace | undefined;
}

export interface DatagramSpec extends DatagramProfile {
  readonly ip: string;
  /** 0: the kernel chooses. */
  readonly port: number;
  readonly reusePort: boolean;
}

/** A socket that receives at an address. Rejects with an AmbitError. */
export async function bindDatagrams(spec: DatagramSpec): Promise<Socket> {
  const { ip, port, reusePort, mark, namespace } = spec;
  const family = ipFamily(ip);
  const socket = createSocket({ type: family === 4 ? 'udp4' : 'udp6', reusePort });
  socket.on('error', ignore);
  try {
    if (mark === undefined && namespace === undefined) {
      await ready(socket, (done) => socket.bind({ address: ip, port, exclusive: true }, done));
    } else {
      const native = nativeSockets();
      const fd = native.createSocket({ family, type: 'dgram', netnsFd: namespace?.fd, mark, reusePort });
      try {
        native.bind(fd, ip, port);
      } catch (error) {
        native.closeFd(fd);
        throw error;
      }
      await ready(socket, (done) => socket.bind({ fd, exclusive: true }, done));
    }
  } catch (error) {
    closeDatagrams(socket);
    throw socketError(`cannot receive datagrams on ${formatSocketAddress(spec)}`, error);
  }
  return socket;
}

/**
 * A socket that hears one peer alone, from a port of the kernel's choice: the kernel drops what others send to it.
 * Rejects with an AmbitError.
 */
export async function connectDatagrams(peer: SocketAddress, { mark, namespace }: DatagramProfile): Promise<Socket> {
  const family = ipFamily(peer.ip);
  const socket = createSocket({ type: family === 4 ? 'udp4' : 'udp6' });
  socket.on('error', ignore);
  // Many pods' questions may be under way: connections are to leave room for them.
  countSocket(socket);
  try {
    if (mark !== undefined || namespace !== undefined) {
      const fd = nativeSockets().createSocket({ family, type: 'dgram', netnsFd: namespace?.fd, mark });
      await ready(socket, (done) => socket.bind({ fd, exclusive: true }, done));
    }
    await ready(socket, (done) => socket.connect(peer.port, peer.ip, done));
  } catch (error) {
    closeDatagrams(socket);
    throw socketError(`cannot send datagrams to ${formatSocketAddress(peer)}`, error);
  }
  return socket;
}

/** Harmless on a socket that is closed. */
export function closeDatagrams(socket: Socket): void {
  try {
    socket.close();
  } catch {
    // Node throws when it is closed already, which is what was wanted.
  }
}

/** `begin` calls back with an error or none; some failures come as an 'error' event instead. */
function ready(socket: Socket, begin: (done: (error?: Error) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error) => {
      socket.off('error', settle);
      if (error === undefined || error === null) resolve();
      else reject(error);
    };
    socket.on('error', settle);
    begin(settle);
  });
}

function socketError(what: string, error: unknown): AmbitError {
  return new AmbitError(what, { code: 'NET_SOCKET', origin: 'local', retry: 'unsent', cause: error });
}

function ignore(): void {}
