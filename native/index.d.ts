/**
 * Linux sockets, options, namespaces and descriptor passing that Node does not offer.
 *
 * Contract of every function:
 * - A descriptor it returns is close-on-exec and the caller's to close, with `closeFd` or by handing it to Node
 *   (`server.listen({fd})`, `new net.Socket({fd})`), which then owns it. A descriptor it is given stays the caller's.
 * - A failed system call throws a {@link SystemError}. A wrong type throws `TypeError` (`ERR_INVALID_ARG_TYPE`), a value
 *   out of range `RangeError` (`ERR_OUT_OF_RANGE`), both naming the argument; nothing was done then.
 * - Nothing blocks. `undefined` means "nothing now" (EAGAIN) where the result type has it.
 */

/** What a failed system call throws. */
export interface SystemError extends Error {
  /** The symbolic name, such as `'EPERM'`. */
  readonly code: string;
  /** Negative, as in Node's own errors: `util.getSystemErrorName(error.errno)` works. */
  readonly errno: number;
  /** The exact call, such as `'setsockopt(IP_TRANSPARENT)'`. */
  readonly syscall: string;
}

/** An IP endpoint without zone. An IPv4 address on an IPv6 socket reads `::ffff:a.b.c.d`, family 6. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
  readonly family: 4 | 6;
}

/** Options are set in the order below, before the socket is bound. `false` is the same as absent, but for `v6Only` and `noDelay`. */
export interface SocketOptions {
  readonly family: 4 | 6;
  /** Default `'stream'` (TCP); `'dgram'` is UDP. */
  readonly type?: 'stream' | 'dgram' | undefined;
  /** A network namespace to make the socket in; it stays there, the thread does not. Needs CAP_SYS_ADMIN. */
  readonly netnsFd?: number | undefined;
  readonly reuseAddress?: boolean | undefined;
  readonly reusePort?: boolean | undefined;
  readonly v6Only?: boolean | undefined;
  /** IP_TRANSPARENT or IPV6_TRANSPARENT: bind to foreign addresses, accept TPROXYed ones. Needs CAP_NET_ADMIN or CAP_NET_RAW. */
  readonly transparent?: boolean | undefined;
  /** Bind to foreign addresses without capability; a connection from one needs `transparent`. */
  readonly freebind?: boolean | undefined;
  /** With port 0 the port is chosen at connect, so one source address is not limited to one port range in all. */
  readonly bindAddressNoPort?: boolean | undefined;
  /** SO_MARK, 0 to 2³²-1. Needs CAP_NET_ADMIN or CAP_NET_RAW. */
  readonly mark?: number | undefined;
  /** TCP_USER_TIMEOUT, milliseconds; 0 is the system's default. */
  readonly userTimeoutMs?: number | undefined;
  readonly noDelay?: boolean | undefined;
  /** Turns SO_KEEPALIVE on; what is absent stays the system's default. */
  readonly keepAlive?:
    | {
        readonly idleSec?: number | undefined;
        readonly intervalSec?: number | undefined;
        readonly count?: number | undefined;
      }
    | undefined;
}

/**
 * A non-blocking socket. With `netnsFd` the thread enters that namespace around `socket()` alone; the process aborts if
 * it could not return, and is refused beforehand (`setns(own namespace)`) where it is known not to be able to.
 */
export function createSocket(options: SocketOptions): number;

/** Binds to an IP literal without zone; anything else throws EINVAL with `syscall` `inet_pton`, naming it. */
export function bind(fd: number, address: string, port: number): void;

export function listen(fd: number, backlog: number): void;

/**
 * The next connection the kernel has accepted for a listening socket, non-blocking; `undefined` when there is none. One that
 * failed before it was taken is passed over. Throws EMFILE or ENFILE when there is no descriptor for it: it stays where it is.
 */
export function acceptConnection(fd: number): number | undefined;

/**
 * A listening TCP socket answers no new SYN any more; handshakes under way go on, and can be accepted. A client whose SYN was
 * dropped sends it again a second later: to another listener of the port by then, when this one is closed meanwhile.
 */
export function dropSyns(fd: number): void;

/**
 * Where a connection was going before REDIRECT changed its destination (SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST); the
 * local address if nothing changed it. `undefined` when connection tracking does not know it (TPROXY, or no rules at
 * all). IPv4 reads as family 4 even on an IPv6 socket. Ask in the life of the connection, not after.
 */
export function originalDestination(fd: number): Endpoint | undefined;

export function localAddress(fd: number): Endpoint;

/** Throws ENOTCONN before connect. */
export function peerAddress(fd: number): Endpoint;

export function getMark(fd: number): number;

export function getTransparent(fd: number): boolean;

/** Opens a namespace file such as `/proc/PID/ns/net`. Whether it is one, {@link isNetworkNamespace} tells. */
export function openNamespace(path: string): number;

/** Two descriptors are of the same namespace if and only if both numbers are equal. */
export function namespaceIdentity(fd: number): { readonly dev: bigint; readonly inode: bigint };

/** False for any other open file; throws EBADF for none. */
export function isNetworkNamespace(fd: number): boolean;

/**
 * Moves the calling thread, and what it starts from now on, into a network namespace for good. For lab helpers: libuv's
 * other threads stay where they are, so a name lookup still asks in the old one.
 */
export function enterNamespace(fd: number): void;

/** Only for descriptors no Node object owns. */
export function closeFd(fd: number): void;

export function dupFd(fd: number): number;

/** A listening unix SOCK_SEQPACKET socket. The path must be free (EADDRINUSE) and is the caller's to unlink. */
export function seqpacketListen(path: string, backlog: number): number;

export function seqpacketAccept(fd: number): number | undefined;

/** Throws EAGAIN when the listener's backlog is full. */
export function seqpacketConnect(path: string): number;

/**
 * Sends one record, whole, with copies of at most 253 descriptors (the caller's stay open). `false` when the peer's
 * queue is full: wait for writability. A record may not be empty, since that reads as the end; EPIPE when the peer is gone.
 */
export function seqpacketSend(fd: number, buffer: Uint8Array, fds?: readonly number[]): boolean;

export interface SeqpacketRecord {
  readonly data: Buffer;
  /** The caller's to close. Empty if anything was truncated: what had arrived was closed. */
  readonly fds: number[];
  /** The record was longer than `maxBytes`; the rest is lost. */
  readonly truncated: boolean;
  /** More than `maxFds` descriptors came; all are closed. */
  readonly controlTruncated: boolean;
  /** The peer has closed. An empty record looks the same. */
  readonly eof: boolean;
}

/** One record: `maxBytes` 1 to 2²⁰, `maxFds` 0 to 253. */
export function seqpacketReceive(fd: number, maxBytes: number, maxFds: number): SeqpacketRecord | undefined;

export type WatchEvents = 'r' | 'w' | 'rw' | 'none';

/**
 * `status` is 0, or a negative errno when the descriptor is in error: the watcher has then stopped; read the descriptor
 * for the cause and close the watcher. What it throws is an uncaught exception.
 */
export type WatchCallback = (status: number, readable: boolean, writable: boolean) => void;

/** Keeps the thread's event loop alive until closed or unreferenced. Close it before the descriptor. */
export interface Watcher {
  /** No callback runs from now on, and the descriptor may be closed. Allowed in the callback, and more than once. */
  close(): void;
  ref(): void;
  unref(): void;
  /** `'none'` pauses. Throws EBADF once closed. */
  setEvents(events: WatchEvents): void;
}

/** Level-triggered readiness on the calling thread's event loop. One watcher a descriptor (EEXIST); EPERM for plain files. */
export function watchFd(fd: number, events: WatchEvents, callback: WatchCallback): Watcher;

/**
 * An epoll set, itself readable while anything in it is ready: one {@link watchFd} serves all sockets of a thread. A socket leaves it
 * when it is closed.
 */
export function createEpoll(): number;

/** Edge-triggered, for reading and writing alike. `tag` (0 to 2³¹-1) tells a socket from one that had its number before. */
export function epollAdd(epollFd: number, fd: number, tag: number): void;

/**
 * What became ready, without waiting: three numbers each, descriptor, tag, and of 1 (readable), 2 (writable), 4 (the peer has
 * finished, or both have), 8 (error), 16 (urgent data) the sum. Returns how many; at most 256.
 */
export function epollWait(epollFd: number, words: Int32Array): number;

/**
 * How many bytes came; 0: the peer has finished. Negative: an errno, which it does not throw (EAGAIN: nothing now). Fewer than there is
 * room for are all there are, but before urgent data (a byte that is left out), the end and an error. An error is told once, here or by
 * a call that sends; who reads after that is told the end.
 */
export function receiveBytes(fd: number, buffer: Uint8Array): number;

/** How many bytes left. Negative: an errno, which it does not throw (EAGAIN: no room now). Never SIGPIPE. */
export function sendBytes(fd: number, chunk: Uint8Array): number;

/** The first 64 of several, in one call; as {@link sendBytes}. */
export function sendChunks(fd: number, chunks: readonly Uint8Array[]): number;

/** Begins to connect; the socket is writable, or in error, when that is decided: {@link takeSocketError} tells. */
export function connectSocket(fd: number, address: string, port: number): void;

/** SO_ERROR, which is cleared by that: 0 or a negative errno. */
export function takeSocketError(fd: number): number;

/** FIN after what was sent. 0 or a negative errno. */
export function shutdownSending(fd: number): number;

/** Closes a TCP connection by RST: what was not sent yet is lost. The descriptor is closed even when it throws, unless that is EBADF. */
export function resetConnection(fd: number): void;

/**
 * An AF_PACKET socket of network-layer packets, both directions, of one interface (index or name, looked up in the
 * socket's namespace) or of `'any'`. Needs CAP_NET_RAW. Packets that nobody receives in time are dropped by the kernel.
 */
export function packetSocket(interfaceIndexOrName: number | string, netnsFd?: number): number;

export interface CapturedPacket {
  readonly interfaceIndex: number;
  /** `outgoing` is what this host sent; loopback shows every packet as outgoing and again as host. */
  readonly packetType: 'host' | 'broadcast' | 'multicast' | 'otherHost' | 'outgoing' | 'other';
  /** The EtherType: 0x0800 IPv4, 0x86dd IPv6. */
  readonly protocol: number;
  /** From the network-layer header on, cut at `maxBytes`. */
  readonly data: Buffer;
  /** The packet's own length. */
  readonly length: number;
}

/** One packet: `maxBytes` 1 to 2²⁰. */
export function receivePacket(fd: number, maxBytes: number): CapturedPacket | undefined;

/** Throws ENODEV when there is no such interface. */
export function interfaceName(index: number, netnsFd?: number): string;

/** The signal this process gets when the thread that started it ends; 0 is none. Check afterwards that it is still there. */
export function setPdeathsig(signal: number): void;

/** Whether orphaned descendants become children of this process. */
export function setSubreaper(enabled: boolean): void;

/**
 * Gives free pages of the C allocator back to the system; after a burst that is tens of megabytes, for a few milliseconds.
 * Whether there were any; false where the C library is not glibc.
 */
export function trimMemory(): boolean;
