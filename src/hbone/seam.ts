/**
 * The seam between those who decide and those who move bytes. Whoever moves bytes owns the descriptors from accept or
 * dial on; nothing of TLS, HTTP/2 or pools is visible above it (design §9). `relay.ts` is the implementation, on
 * either engine of `http2/engine.ts`; `test/support/relay-compliance.ts` is the suite for any implementation.
 *
 * I1: a connection or stream given to a callback is ended exactly once, and its `End` is reported exactly once.
 * I2: FIN travels as FIN, reset as reset, in both directions; a truncated body never looks whole.
 * I3: bytes flow only after the peer's identity was verified against `expectedIdentities` (client) or the roots and
 *     trust domain (server).
 * I4: a slow reader slows the writer; memory per connection is bounded by the windows.
 * I5: nothing here throws into the event loop; failures are values in `End` or `OpenOutcome`.
 */
import type { Duplex } from 'node:stream';
import type { SocketAddress } from '../base/address.ts';
import type { Cancellation } from '../base/cancellation.ts';
import type { AmbitError } from '../base/errors.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { Secret } from '../identity/secret.ts';
import type { AcceptGate } from '../net/acceptor.ts';
import type { ListenSpec, SocketProfile } from '../net/socket-spec.ts';

/** Names lower case, in order, duplicates kept. */
export type TunnelHeaders = readonly (readonly [name: string, value: string])[];

/** Byte counts of one joined connection, live: `toUpstream` flows client → server. Plain cells, safe to read any time. */
export interface ByteCounts {
  toUpstream: number;
  toDownstream: number;
}

/** The HBONE server to reach and as whom. Equal targets (all fields) may share a session. */
export interface TunnelTarget {
  /** What is dialled: the server itself, or the gateway that stands before it. */
  readonly peer: SocketAddress;
  readonly sourceIdentity: SpiffeId;
  /** Ids of which the server must prove one. With none, no server can be the right one. */
  readonly expectedIdentities: readonly SpiffeId[];
  readonly socket: SocketProfile;
  /** The server is on another network: `peer` is its gateway, and the tunnel goes inside one to that. */
  readonly outer?: OuterLeg;
}

/**
 * A tunnel to a gateway that carries a second TLS handshake and HTTP/2 session, end to end, in its bytes. It is made once
 * for each inner session: nothing that differs from connection to connection belongs in its headers.
 */
export interface OuterLeg {
  /** Ids of which the gateway must prove one. */
  readonly expectedIdentities: readonly SpiffeId[];
  /** `host:port` by which the gateway finds the server. */
  readonly authority: string;
  readonly headers: TunnelHeaders;
}

export interface TunnelRequest {
  readonly target: TunnelTarget;
  /** `ip:port` or `host:port` of CONNECT. */
  readonly authority: string;
  readonly headers: TunnelHeaders;
}

/** Facts of an upstream once it stands: for access logs and metrics. */
export interface Established {
  readonly local: SocketAddress;
  readonly peer: SocketAddress;
  /** Verified; undefined for plain TCP. */
  readonly peerIdentity: SpiffeId | undefined;
  /** Of the CONNECT answer; empty for plain TCP. */
  readonly headers: TunnelHeaders;
  /** Cancelled when the session of a tunnel takes no new streams: its peer goes. What runs goes on; what is idle should not. */
  readonly leaving?: Cancellation | undefined;
}

/** How a joined connection ended. */
export interface End {
  /**
   * `closed`: both directions finished. `reset`: one side reset and the reset was passed on.
   * `refused`: the HBONE server answered `status` other than 200. `failed`: the upstream never stood.
   * `stopped`: ended by `stop()` or by the relay's drain deadline.
   */
  readonly kind: 'closed' | 'reset' | 'refused' | 'failed' | 'stopped';
  readonly by: 'downstream' | 'upstream' | 'local';
  readonly status: number | undefined;
  readonly error: AmbitError | undefined;
  /** Undefined when the upstream never stood. */
  readonly established: Established | undefined;
  readonly counts: Readonly<ByteCounts>;
}

export interface JoinObserver {
  /** The upstream stands; bytes may flow from now on. */
  established?(facts: Established): void;
  ended(end: End): void;
}

/** A connection being joined. */
export interface Join {
  readonly counts: Readonly<ByteCounts>;
  /** Bytes read from one side and not yet taken by the other, both directions. Costs a little: not for hot paths. */
  readonly heldBytes: number;
  /** Ends both sides by reset. Harmless after the end. */
  stop(error: AmbitError): void;
}

/** Another way to an upstream, with the observer that is told of it from then on. */
export type Attempt = { readonly observer: JoinObserver } & (
  | { readonly kind: 'tunnel'; readonly request: TunnelRequest }
  | { readonly kind: 'dial'; readonly destination: SocketAddress; readonly socket: SocketProfile }
);

/**
 * Asked when the upstream could not be reached and nothing was sent (`retry: 'unsent'`). With an answer the connection goes
 * on under its observer, and the one before hears nothing more; the asked bounds how often.
 */
export type Otherwise = (error: AmbitError) => Attempt | undefined;

/** An accepted plain TCP connection. Call exactly one of the verbs, soon: at most one buffer of it is read before. */
export interface CapturedConnection {
  readonly peer: SocketAddress;
  /** The socket's own address: the original destination under TPROXY. */
  readonly local: SocketAddress;
  /** SO_ORIGINAL_DST when the listener asked for it and the kernel has it, else `local`; what a SOCKS5 client asked for. */
  readonly originalDestination: SocketAddress;
  /** The name a SOCKS5 client asked for in place of an address; `originalDestination` then has only the port. */
  readonly requestedHost?: string | undefined;
  /** Opens a tunnel and joins. Any failure or refusal resets the connection, unless there is something `otherwise`. */
  tunnel(request: TunnelRequest, observer: JoinObserver, otherwise?: Otherwise): Join;
  /** Dials plain TCP and joins. `preface` is written first (PROXY protocol). */
  dial(
    destination: SocketAddress,
    socket: SocketProfile,
    observer: JoinObserver,
    preface?: Uint8Array,
    otherwise?: Otherwise,
  ): Join;
  /** Resets it, or tells a SOCKS5 client why. */
  refuse(cause?: 'not-allowed' | 'no-address'): void;
  /** Whether the client has gone already (only meaningful while a decision waits). */
  readonly gone: boolean;
}

/** One CONNECT on an authenticated session. */
export interface ConnectRequest {
  /** Proven by the client's certificate. */
  readonly peerIdentity: SpiffeId;
  readonly peer: SocketAddress;
  /** The address the session's TCP connection was made to (the original destination under TPROXY or in a pod). */
  readonly local: SocketAddress;
  /** Whose certificate answered. */
  readonly localIdentity: SpiffeId;
  readonly authority: string;
  /** First value of a header, name in lower case. */
  header(name: string): string | undefined;
  /** The client left. */
  readonly gone: Cancellation;
}

export type ConnectVerdict =
  | {
      readonly kind: 'dial';
      readonly destination: SocketAddress;
      readonly socket: SocketProfile;
      /** Sent with the 200. */
      readonly headers: TunnelHeaders;
      readonly observer: JoinObserver;
      readonly preface?: Uint8Array;
      /** Gets the running join, for registries that may stop it later. */
      readonly joined?: (join: Join) => void;
    }
  /** Join the stream with another tunnel. */
  | {
      readonly kind: 'tunnel';
      readonly request: TunnelRequest;
      readonly headers: TunnelHeaders;
      readonly observer: JoinObserver;
      readonly joined?: (join: Join) => void;
    }
  /**
   * Answer 200 and hand over the bytes. The receiver owns the stream: ends or destroys it. `destroy(error)` resets it;
   * an incoming reset arrives as an 'error' event before 'close' and never as a clean 'end'.
   */
  | { readonly kind: 'bytes'; readonly headers: TunnelHeaders; readonly receive: (stream: Duplex) => void }
  /** Answer with a status. The stream ends. */
  | { readonly kind: 'refuse'; readonly status: number; readonly headers: TunnelHeaders };

export interface ServeOptions {
  /**
   * Which certificate answers on this destination address; undefined: the connection is closed before TLS. A promise is for
   * one that is being issued; whoever gives it bounds the wait.
   */
  readonly secretFor: (local: SocketAddress) => Secret | undefined | Promise<Secret | undefined>;
  /** Trust domains whose clients are let in, asked per handshake. */
  readonly trusts: (trustDomain: string, localIdentity: SpiffeId) => boolean;
  /** Total: a throw is answered with 500, logged, and ends that stream alone. */
  readonly onConnect: (request: ConnectRequest) => ConnectVerdict | Promise<ConnectVerdict>;
  /** A connection that never became a session: handshake failure, unknown destination, wrong ALPN, too many of its address. */
  readonly onDenied?: (peer: SocketAddress, local: SocketAddress, error: AmbitError) => void;
  readonly maxStreamsPerSession: number;
  /** What the workloads served here may still take; undefined: the relay's own limits alone. */
  readonly admission?: SessionAdmission;
}

/** Asked before each accept of a tunnel listener, and told what became of what it let in. */
export interface SessionAdmission extends AcceptGate {
  /** A connection whose handshake is ahead. */
  entered(): SessionShare;
}

/** What one connection of a tunnel listener holds. Each is called at most once. */
export interface SessionShare {
  /** Its handshake has ended well. */
  secured(): void;
  /** Its socket is closed. */
  left(): void;
}

export interface RunningListener {
  readonly address: SocketAddress;
  /**
   * Stops accepting; live connections go on. HBONE sessions get GOAWAY. What the kernel has accepted already is still taken
   * and served. Resolves when the listening socket is closed.
   */
  close(): Promise<void>;
  /** Ends whatever is left of this listener. */
  destroy(): void;
}

export type OpenOutcome =
  | { readonly kind: 'open'; readonly stream: Duplex; readonly established: Established }
  | {
      readonly kind: 'refused';
      readonly status: number;
      readonly headers: TunnelHeaders;
      readonly established: Omit<Established, 'headers'>;
    }
  | { readonly kind: 'failed'; readonly error: AmbitError };

export interface RelayStats {
  readonly sessions: number;
  /** Those of them that clients opened. */
  readonly servedSessions: number;
  readonly streams: number;
  readonly captured: number;
}

export interface Relay {
  /** Accepts plain TCP. Rejects only when the socket cannot be made or bound (AmbitError with the kernel's errno). */
  capture(
    listen: ListenSpec,
    onConnection: (connection: CapturedConnection) => void,
    gate?: AcceptGate,
  ): Promise<RunningListener>;
  /** Accepts HBONE. */
  serve(listen: ListenSpec, options: ServeOptions): Promise<RunningListener>;
  /** A tunnel as a byte stream, for those who parse it; rules of the stream as for verdict `bytes`. Never rejects. */
  open(request: TunnelRequest, cancellation?: Cancellation): Promise<OpenOutcome>;
  /** No new stream goes over a session to this address (it changed hands, or its workload left). Live streams go on. */
  forgetPeer(peerIp: string): void;
  /** Same for sessions of an identity. */
  forgetIdentity(identity: SpiffeId): void;
  stats(): RelayStats;
  /** Resolves when all listeners are closed and nothing that came by them is left. */
  drained(): Promise<void>;
  /** Ends all sessions and connections. */
  close(): Promise<void>;
}
