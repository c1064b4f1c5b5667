/**
 * Makes connected sockets as a SocketProfile asks: the addon's door in this room. Where nothing special is asked node:net
 * does it alone, so that unprivileged use needs no addon. Listeners are made in `listener.ts`.
 *
 * I1: an option that cannot be set fails the socket; nothing falls back to a plainer one (fail closed).
 * I2: every socket has no Nagle, the keepalive it was asked for (180 s / 180 s / 9 unless told), and keeps its directions
 *     apart.
 * I3: every socket is counted until it is closed (`descriptors.ts`).
 */
import { randomInt } from 'node:crypto';
import type { Socket } from 'node:net';
import { canonicalIp, formatSocketAddress, ipFamily, type SocketAddress } from '../base/address.ts';
import type { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { AmbitError, errorCode, errorText } from '../base/errors.ts';
import type { TcpByteEnd } from './byte-end.ts';
import { countSocket } from './descriptors.ts';
import { nativeSockets } from './native-sockets.ts';
import { PlainSocket } from './plain-socket.ts';
import { defaultTcpOptions, type SocketProfile, type TcpOptions } from './socket-spec.ts';
import { TcpEnd } from './tcp-end.ts';

export type DialOutcome = { readonly kind: 'connected'; readonly socket: Socket } | Failed;

type Failed = { readonly kind: 'failed'; readonly error: AmbitError };

export type DialEndOutcome =
  | { readonly kind: 'connected'; readonly end: TcpByteEnd; readonly local: SocketAddress | undefined }
  | Failed;

/**
 * Connects within the profile's deadline. Never rejects. The socket is the caller's, paused, and has an 'error' listener
 * that ignores: add your own. `cancellation` gives up.
 */
export async function dial(
  destination: SocketAddress,
  profile: SocketProfile,
  clock: Clock,
  cancellation?: Cancellation,
): Promise<DialOutcome> {
  const outcome = await connected(destination, profile, clock, cancellation, (isPortOurs, decided) => {
    const socket = counted(
      isPlain(profile) ? plainSocketTo(destination, profile) : specialSocketTo(destination, profile, isPortOurs),
    );
    const leave = () => {
      socket.off('connect', onConnect);
      socket.on('error', ignore);
      socket.off('error', onError);
    };
    const onConnect = () => {
      leave();
      decided();
    };
    const onError = (error: Error) => {
      leave();
      decided(error);
    };
    socket.on('connect', onConnect);
    socket.on('error', onError);
    const abandon = () => {
      leave();
      socket.destroy();
    };
    return { connection: socket, abandon };
  });
  return outcome.kind === 'failed' ? outcome : { kind: 'connected', socket: outcome.connection };
}

/** As `dial`, to an end of the joiner's that is driven by hand. Needs the addon. */
export async function dialEnd(
  destination: SocketAddress,
  profile: SocketProfile,
  clock: Clock,
  cancellation: Cancellation,
): Promise<DialEndOutcome> {
  const outcome = await connected(destination, profile, clock, cancellation, (isPortOurs, decided) => {
    const fd = descriptorTo(destination, profile, isPortOurs);
    const connection = adopt(fd, () => {
      nativeSockets().connectSocket(fd, destination.ip, destination.port);
      return new TcpEnd(fd, 'upstream', clock, decided);
    });
    return { connection, abandon: () => connection.reset() };
  });
  if (outcome.kind === 'failed') return outcome;
  const { connection: end } = outcome;
  return { kind: 'connected', end, local: end.addresses?.local };
}

type Made<T> = { readonly connection: T; abandon(): void };

/** `make` begins to connect; it throws when that cannot even begin, and calls `decided` once, later. */
function connected<T>(
  destination: SocketAddress,
  profile: SocketProfile,
  clock: Clock,
  cancellation: Cancellation | undefined,
  make: (isPortOurs: boolean, decided: (error?: Error) => void) => Made<T>,
): Promise<{ readonly kind: 'connected'; readonly connection: T } | Failed> {
  return new Promise((resolve) => {
    if (cancellation?.cancelled) {
      resolve({ kind: 'failed', error: abandoned(destination) });
      return;
    }
    let made: Made<T> | undefined;
    let tries = profile.transparent ? ownPortTries : 0;
    let isPortOurs = false;
    const settle = (error: AmbitError | undefined) => {
      timer.cancel();
      cancellation?.off(onCancel);
      if (error === undefined) resolve({ kind: 'connected', connection: (made as Made<T>).connection });
      else {
        made?.abandon();
        resolve({ kind: 'failed', error });
      }
    };
    const decided = (error?: Error) => {
      if (error === undefined) {
        settle(undefined);
        return;
      }
      made = undefined;
      // A connection from that port to there is still remembered by the kernel.
      if (isPortOurs && errorCode(error) === 'EADDRNOTAVAIL') begin();
      else settle(refused(destination, error));
    };
    const begin = () => {
      isPortOurs = tries-- > 0;
      try {
        made = make(isPortOurs, decided);
      } catch (error) {
        if (syscallOf(error) === 'connect') decided(error as Error);
        else settle(socketError(`cannot make a socket to ${formatSocketAddress(destination)}`, error));
      }
    };
    const onCancel = () => settle(abandoned(destination));
    const timer = clock.after(profile.connectTimeoutMs, () => settle(timedOut(destination, profile)));
    cancellation?.on(onCancel);
    begin();
  });
}

/** The two addresses of a connected socket; undefined once it has gone. */
export function socketAddresses(socket: Socket): { local: SocketAddress; peer: SocketAddress } | undefined {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  const local = localAddress === undefined ? undefined : canonicalIp(localAddress);
  const peer = remoteAddress === undefined ? undefined : canonicalIp(remoteAddress);
  if (local === undefined || peer === undefined || localPort === undefined || remotePort === undefined)
    return undefined;
  return { local: { ip: local, port: localPort }, peer: { ip: peer, port: remotePort } };
}

function isPlain(profile: SocketProfile): boolean {
  return (
    profile.source === undefined &&
    !profile.transparent &&
    profile.mark === undefined &&
    profile.namespace === undefined &&
    profile.tcp?.userTimeoutMs === undefined
  );
}

function plainSocketTo(destination: SocketAddress, { tcp }: SocketProfile): Socket {
  const socket = new PlainSocket();
  socket.connect({ host: destination.ip, port: destination.port });
  setPlainOptions(socket, tcp);
  return socket;
}

/** What node:net can set by itself. */
export function setPlainOptions(socket: Socket, { keepAlive }: TcpOptions = defaultTcpOptions): void {
  socket.setNoDelay(true);
  if (keepAlive === undefined) return;
  socket.setKeepAlive(true, keepAlive.idleSec * 1000, keepAlive.intervalSec * 1000, keepAlive.count);
}

/** The same and more, for the addon. */
export function nativeTcpOptions({ keepAlive, userTimeoutMs }: TcpOptions = defaultTcpOptions) {
  return { noDelay: true, keepAlive, userTimeoutMs };
}

/** The socket, counted among the process's descriptors. */
export function counted(socket: Socket): Socket {
  countSocket(socket);
  return socket;
}

function specialSocketTo(destination: SocketAddress, profile: SocketProfile, isPortOurs: boolean): Socket {
  const fd = descriptorTo(destination, profile, isPortOurs);
  return adopt(fd, () => {
    const socket = new PlainSocket({ fd });
    socket.connect({ host: destination.ip, port: destination.port });
    return socket;
  });
}

/** Bound as the profile says, not connected yet; the caller's. Throws SystemError. */
function descriptorTo(destination: SocketAddress, profile: SocketProfile, isPortOurs: boolean): number {
  const native = nativeSockets();
  const { source, transparent } = profile;
  const make = (port: number) => {
    const fd = native.createSocket({
      family: ipFamily(destination.ip),
      netnsFd: profile.namespace?.fd,
      transparent,
      // Of addresses of our own the kernel shares ports between destinations.
      bindAddressNoPort: source !== undefined && !transparent,
      reuseAddress: transparent,
      mark: profile.mark,
      ...nativeTcpOptions(profile.tcp),
    });
    return adopt(fd, () => {
      if (source !== undefined) native.bind(fd, source, port);
      return fd;
    });
  };
  if (!transparent) return make(0);
  // A port of another's address may be one that its owner is using toward the same destination: connection tracking then takes
  // the two connections for one, and a SYN of the owner's never reaches us. The kernel gives ports of one parity to those who
  // connect and of the other to those who bind (inet_csk_find_open_port), so we bind; when none is left we share one. We choose it
  // ourselves at first: the kernel looks for one that nobody has at all, also toward other destinations and among connections
  // that it merely remembers, which took a quarter of a ztunnel's CPU for new connections.
  try {
    return make(isPortOurs ? nextOwnPort() : 0);
  } catch (error) {
    if (errorCode(error) !== 'EADDRINUSE') throw error;
    return isPortOurs ? descriptorTo(destination, profile, false) : make(randomInt(firstPort, 65_536));
  }
}

/** Without privileges. */
const firstPort = 1024;
/** Ports of the parity of those who bind, in Linux's own range of them (net.ipv4.ip_local_port_range). */
const [firstOwnPort, lastOwnPort] = [32_769, 60_999];
/** Ports of our choosing that are tried before the kernel is asked for one. */
const ownPortTries = 3;

let ownPort = firstOwnPort + 2 * randomInt((lastOwnPort - firstOwnPort) / 2);

/** In turn, so that one comes again as late as can be. */
function nextOwnPort(): number {
  ownPort = ownPort >= lastOwnPort ? firstOwnPort : ownPort + 2;
  return ownPort;
}

export function ignore(): void {}

/** Closes the descriptor when the rest of its making fails. */
export function adopt<T>(fd: number, make: () => T): T {
  try {
    return make();
  } catch (error) {
    nativeSockets().closeFd(fd);
    throw error;
  }
}

/** As `adopt`, for those who take what comes: told what failed, they get undefined. */
export function adoptOrTell<T>(fd: number, make: () => T, onError: (error: Error) => void): T | undefined {
  try {
    return adopt(fd, make);
  } catch (error) {
    onError(error instanceof Error ? error : new Error(String(error)));
    return undefined;
  }
}

/** What a refused system call asks for. Only those with a remedy an operator has. */
const remedies: Readonly<Record<string, string>> = {
  'setsockopt(IP_TRANSPARENT)': 'needs CAP_NET_ADMIN or CAP_NET_RAW',
  'setsockopt(IPV6_TRANSPARENT)': 'needs CAP_NET_ADMIN or CAP_NET_RAW',
  'setsockopt(SO_MARK)': 'needs CAP_NET_ADMIN or CAP_NET_RAW',
  setns: 'needs CAP_SYS_ADMIN',
};

export function socketError(what: string, error: unknown): AmbitError {
  const syscall = syscallOf(error);
  const remedy = errorCode(error) === 'EPERM' && syscall !== undefined ? remedyOf(syscall) : undefined;
  const detail = remedy === undefined ? what : `${what}: ${syscall} ${remedy}`;
  return new AmbitError(detail, {
    code: 'NET_SOCKET',
    origin: 'local',
    retry: 'unsent',
    flag: 'CONNECT',
    cause: error,
  });
}

function remedyOf(syscall: string): string | undefined {
  return remedies[syscall] ?? (syscall.startsWith('setns') ? remedies.setns : undefined);
}

function syscallOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('syscall' in error)) return undefined;
  return typeof error.syscall === 'string' ? error.syscall : undefined;
}

function refused(destination: SocketAddress, error: unknown): AmbitError {
  const code = errorCode(error) === 'ECONNREFUSED' ? 'NET_CONNECT_REFUSED' : 'NET_CONNECT_FAILED';
  const message = `cannot connect to ${formatSocketAddress(destination)} (${errorCode(error) ?? errorText(error)})`;
  return new AmbitError(message, { code, origin: 'upstream', retry: 'unsent', flag: 'CONNECT', cause: error });
}

function timedOut(destination: SocketAddress, profile: SocketProfile): AmbitError {
  const message = `no answer from ${formatSocketAddress(destination)} in ${profile.connectTimeoutMs} ms`;
  return new AmbitError(message, { code: 'NET_CONNECT_TIMEOUT', origin: 'upstream', retry: 'unsent', flag: 'CONNECT' });
}

function abandoned(destination: SocketAddress): AmbitError {
  const message = `gave up connecting to ${formatSocketAddress(destination)}: the client has gone`;
  return new AmbitError(message, { code: 'NET_CONNECT_ABANDONED', origin: 'downstream' });
}
