/**
 * How a socket is to be made: plain data, so that decisions can name it and tests compare it. `socket-factory.ts`
 * carries it out; whatever the kernel refuses is an AmbitError that names the option and the missing capability.
 */

/** A network namespace by open descriptor. Compared by `key`, owned by whoever opened it. */
export interface NetworkNamespace {
  readonly fd: number;
  /** `device:inode`, the identity of the namespace. */
  readonly key: string;
}

/** How TCP notices that the other end is no longer there. TCP_NODELAY is on everywhere. */
export interface TcpOptions {
  /** Undefined: none. Seconds. */
  readonly keepAlive: { readonly idleSec: number; readonly intervalSec: number; readonly count: number } | undefined;
  /** TCP_USER_TIMEOUT: what was sent and not acknowledged for so long ends the connection. Undefined: the system's rule. */
  readonly userTimeoutMs: number | undefined;
}

/** ztunnel's: dead after 30 minutes without a sign. */
export const defaultTcpOptions: TcpOptions = {
  keepAlive: { idleSec: 180, intervalSec: 180, count: 9 },
  userTimeoutMs: undefined,
};

/** An outgoing TCP socket. */
export interface SocketProfile {
  /** Source address to bind; undefined: the kernel chooses. */
  readonly source: string | undefined;
  /** The source is not ours: IP_TRANSPARENT. Without the privilege the dial fails. */
  readonly transparent: boolean;
  readonly mark: number | undefined;
  /** Undefined: the process's own. */
  readonly namespace: NetworkNamespace | undefined;
  readonly connectTimeoutMs: number;
  /** `defaultTcpOptions` unless told. */
  readonly tcp?: TcpOptions;
}

/** A listening TCP socket. */
export interface ListenSpec {
  readonly ip: string;
  /** 0: the kernel chooses. */
  readonly port: number;
  readonly transparent: boolean;
  readonly mark: number | undefined;
  readonly namespace: NetworkNamespace | undefined;
  readonly reusePort: boolean;
  /** Ask accepted sockets for SO_ORIGINAL_DST. */
  readonly redirected: boolean;
  /** Clients say where they want to go before anything else. */
  readonly greeting?: 'socks5' | undefined;
  /** Of accepted sockets; `defaultTcpOptions` unless told. */
  readonly tcp?: TcpOptions;
}

export const plainSocket: SocketProfile = {
  source: undefined,
  transparent: false,
  mark: undefined,
  namespace: undefined,
  connectTimeoutMs: 10_000,
};
