/**
 * Makes listeners as a ListenSpec asks. The addon makes and accepts; where it is not built and nothing special is asked,
 * Node's own server does, without the acceptor's fairness, so that unprivileged use needs no addon.
 *
 * I1: an option that cannot be set fails the listener; nothing falls back to a plainer one (fail closed).
 * I2: accepted sockets inherit keepalive and TCP_NODELAY from their listener, and keep their directions apart.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { canonicalAddress, formatSocketAddress, ipFamily, type SocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { type AcceptGate, Acceptor } from './acceptor.ts';
import { countListener } from './descriptors.ts';
import { hasAddon, nativeSockets } from './native-sockets.ts';
import { PlainSocket, socketOptions } from './plain-socket.ts';
import {
  adopt,
  adoptOrTell,
  counted,
  ignore,
  nativeTcpOptions,
  setPlainOptions,
  socketError,
} from './socket-factory.ts';
import type { ListenSpec } from './socket-spec.ts';

const backlog = 1024;

export interface Listening {
  readonly address: SocketAddress;
  /** Takes what the kernel has accepted, then closes; live connections go on. Resolves when the port is free of us. */
  close(): Promise<void>;
  /** Closes at once. */
  destroy(): void;
}

export interface ListenHooks {
  readonly clock: Clock;
  /** Gets each connection's descriptor in place of a socket, and owns it; where there is no addon, `onSocket` is called. */
  readonly onDescriptor?: ((fd: number) => void) | undefined;
  /** Gets each socket with directions kept apart and an 'error' listener that ignores: add your own. */
  readonly onSocket: (socket: Socket) => void;
  /** A connection could not be accepted (out of descriptors); the listener goes on. */
  readonly onAcceptError?: (error: Error) => void;
  readonly gate?: AcceptGate | undefined;
}

/** Rejects with an AmbitError. */
export async function listen(spec: ListenSpec, hooks: ListenHooks): Promise<Listening> {
  try {
    if (!isPlain(spec) || hasAddon()) return acceptOn(listeningDescriptor(spec), hooks);
    return await nodeListening(spec, hooks);
  } catch (error) {
    throw socketError(`cannot listen on ${formatSocketAddress(spec)}`, error);
  }
}

function acceptOn(fd: number, { clock, gate, onSocket, onDescriptor, onAcceptError = ignore }: ListenHooks): Listening {
  return adopt(fd, () => {
    const address = nativeSockets().localAddress(fd);
    const acceptor = new Acceptor(fd, {
      clock,
      gate,
      onAcceptError,
      onDescriptor: onDescriptor ?? ((connection) => adoptConnection(connection, onSocket, onAcceptError)),
    });
    const uncount = countListener();
    return {
      address: canonicalAddress(address),
      async close() {
        await acceptor.close();
        uncount();
      },
      destroy() {
        acceptor.destroy();
        uncount();
      },
    };
  });
}

async function nodeListening(spec: ListenSpec, hooks: ListenHooks): Promise<Listening> {
  const server = createServer({ allowHalfOpen: true, highWaterMark: socketOptions.highWaterMark }, (socket) => {
    setPlainOptions(socket, spec.tcp);
    hooks.onSocket(withDefaults(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: spec.ip, port: spec.port, backlog, reusePort: spec.reusePort }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', hooks.onAcceptError ?? ignore);
  const close = () => {
    if (server.listening) server.close();
  };
  return {
    address: serverAddress(server),
    async close() {
      close();
    },
    destroy: close,
  };
}

/** Makes a socket of a connection's descriptor, which is owned from now on. */
export function adoptConnection(fd: number, onSocket: (socket: Socket) => void, onError: (error: Error) => void): void {
  const socket = adoptOrTell(fd, () => new PlainSocket({ fd, readable: true, writable: true }), onError);
  if (socket !== undefined) onSocket(withDefaults(socket));
}

function withDefaults(socket: Socket): Socket {
  socket.on('error', ignore);
  return counted(socket);
}

function listeningDescriptor(spec: ListenSpec): number {
  const fd = boundDescriptor(spec);
  return adopt(fd, () => startListening(fd));
}

/** It has its address, but nobody can connect to it yet. Throws SystemError; the descriptor is the caller's. */
export function boundDescriptor(spec: ListenSpec): number {
  const native = nativeSockets();
  const fd = native.createSocket({
    family: ipFamily(spec.ip),
    netnsFd: spec.namespace?.fd,
    reuseAddress: true,
    reusePort: spec.reusePort,
    v6Only: ipFamily(spec.ip) === 6 ? false : undefined,
    transparent: spec.transparent,
    mark: spec.mark,
    ...nativeTcpOptions(spec.tcp),
  });
  return adopt(fd, () => {
    native.bind(fd, spec.ip, spec.port);
    return fd;
  });
}

/** Connections are accepted by the kernel from now on. Throws SystemError. */
export function startListening(fd: number): number {
  nativeSockets().listen(fd, backlog);
  return fd;
}

function isPlain(spec: ListenSpec): boolean {
  return !spec.transparent && spec.mark === undefined && spec.namespace === undefined;
}

function serverAddress(server: Server): SocketAddress {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('not a listening TCP server');
  return canonicalAddress(address);
}
