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
}

export const plainSocket: SocketProfile = {
  source: undefined,
  transparent: false,
  mark: undefined,
  namespace: undefined,
  connectTimeoutMs: 10_000,
};
