/** Limits and deadlines of the relay, with ztunnel's numbers where it has one (reference: pool and inbound settings). */

export interface RelayOptions {
  /** HTTP/2 flow-control windows and frame size, bytes. */
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  readonly maxFrameBytes: number;
  /** Bytes that one session keeps for those who do not read, before its connection's window stays shut. */
  readonly sessionKeptBytes: number;
  /** Streams opened on one session, whatever more the peer allows. */
  readonly maxStreamsPerClientSession: number;
  /** Sessions of the pool in all; requests wait beyond, until their deadline. */
  readonly maxClientSessions: number;
  /** Of these, those of one source: its pod's namespace, else its address, else its identity. */
  readonly maxClientSessionsPerSource: number;
  /** Captured connections of one listener; more are closed at once. */
  readonly maxCaptured: number;
  /** Accepted HBONE connections of one listener, handshakes included; more are closed at once. */
  readonly maxServerSessions: number;
  /** Of these, those from one peer address: in all, and with a handshake that has not ended. */
  readonly maxSessionsPerPeer: number;
  readonly maxHandshakesPerPeer: number;
  /** Largest header list accepted, bytes: as a server, as a client. */
  readonly serverHeaderListBytes: number;
  readonly clientHeaderListBytes: number;
  /** Streams a client may reset: at once, and per second after that. Beyond: GOAWAY ENHANCE_YOUR_CALM. */
  readonly streamResetBurst: number;
  readonly streamResetRate: number;
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
  /** TLS handshake, and as long again for the peer's first SETTINGS. */
  readonly handshakeTimeoutMs: number;
  /** From sending CONNECT to its answer. */
  readonly connectAnswerTimeoutMs: number;
  /** A pooled session without streams is closed after this. */
  readonly idleReleaseMs: number;
  /** Times a CONNECT is tried again after the peer said that it did not process it. */
  readonly unsentRetries: number;
  /**
   * Sessions kept side by side behind a gateway, used in turn, and for how long each takes new streams: the gateway picks
   * a server for each session, and one for ever would see all connections.
   */
  readonly nestedSessions: number;
  readonly nestedSessionMs: number;
}

export const defaultRelayOptions: RelayOptions = {
  streamWindowBytes: 4 * 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  maxFrameBytes: 1024 * 1024,
  sessionKeptBytes: 128 * 1024 * 1024,
  maxStreamsPerClientSession: 100,
  maxClientSessions: 10_000,
  maxClientSessionsPerSource: 4096,
  maxCaptured: 65_536,
  maxServerSessions: 10_000,
  maxSessionsPerPeer: 1024,
  maxHandshakesPerPeer: 128,
  serverHeaderListBytes: 64 * 1024,
  clientHeaderListBytes: 16 * 1024,
  streamResetBurst: 1000,
  streamResetRate: 100,
  pingIntervalMs: 10_000,
  pingTimeoutMs: 20_000,
  handshakeTimeoutMs: 10_000,
  connectAnswerTimeoutMs: 20_000,
  idleReleaseMs: 300_000,
  unsentRetries: 2,
  nestedSessions: 8,
  nestedSessionMs: 60_000,
};
