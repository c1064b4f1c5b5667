/**
 * HTTP/2 as the relay needs it: sessions of CONNECT streams (RFC 9113 §8.5) over connections that TLS has authenticated. There are
 * two engines. `framing` writes and reads the frames itself, with a plain object for a stream, and is used unless told otherwise;
 * `node` stands on node:http2 and http2-wrapper. One compliance suite is for both.
 *
 * I1: whatever a peer sends ends at most its own session; nothing throws into an event handler.
 */
import type { TLSSocket } from 'node:tls';
import type { Cancellation } from '../../base/cancellation.ts';
import type { Clock } from '../../base/clock.ts';
import type { AmbitError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { SpiffeId } from '../../base/spiffe.ts';
import type { PeerChain, PeerRevocation } from '../../identity/revocation.ts';
import type { SecretStore } from '../../identity/secret.ts';
import type { ByteEnd } from '../../net/byte-end.ts';
import type { RelayOptions } from '../options.ts';
import type { OpenOutcome, TunnelHeaders, TunnelRequest, TunnelTarget } from '../seam.ts';
import type { SessionFacts } from '../session-facts.ts';

/** A CONNECT stream as a ByteEnd. `reset` sends RST_STREAM(CONNECT_ERROR). */
export interface StreamEnd extends ByteEnd {
  /** Why the stream was ended from here, when its session was. */
  readonly failure: AmbitError | undefined;
  /** Nothing more is wanted: RST_STREAM(CANCEL), or NO_ERROR when our side was ended, nothing when both were. */
  cancel(): void;
}

export interface AnswerWaiter {
  /** The final answer; `headers` without pseudo headers. */
  answered(status: number, headers: TunnelHeaders): void;
  /** The stream went before its answer. `processed`: false when the peer promises that it did not look at it (RFC 9113 §8.7). */
  gone(code: number | undefined, processed: boolean): void;
}

/** A CONNECT that was sent. */
export interface ClientStream {
  readonly end: StreamEnd;
  /** Call it in the tick in which the stream came to be. Exactly one of the two is called, once, unless `stopWaiting` was. */
  wait(waiter: AnswerWaiter): void;
  stopWaiting(): void;
}

/** A request of the peer. */
export interface ServedStream {
  readonly end: StreamEnd;
  /** Name, value, name, value …; names in lower case, pseudo headers first, duplicates kept. */
  readonly headers: readonly string[];
  /**
   * Calls it once, when the stream is over, however it ended: also within a call from here that ends it. To be asked once, in the
   * tick in which the stream came.
   */
  onOver(call: () => void): void;
  /** False: it has gone, or was answered. `final`: our direction ends with it, and the peer's is stopped. */
  respond(status: number, headers: TunnelHeaders, final: boolean): boolean;
}

/** A session that has ended waits so long for its peer to end as well: it holds neither descriptor nor drain for longer. */
export const lingerMs = 1000;

export interface Session {
  /** Its connection is gone or going; nothing more comes of it. */
  readonly destroyed: boolean;
  /** Takes no new streams (GOAWAY) and ends with the last of those it has. */
  retire(): void;
  /** Ends it and its streams now; theirs is `error` when that is an AmbitError. */
  destroy(error?: Error): void;
  /** Sends PING; false: not now. */
  ping(answered: () => void): boolean;
}

export interface ServedSessionOptions {
  readonly relay: RelayOptions;
  readonly maxStreams: number;
  readonly clock: Clock;
}

export interface ServedSessionEvents {
  stream(stream: ServedStream): void;
  /** Why it ends, when it was not in peace. */
  failed(error: unknown): void;
  /** Once, as the last. */
  closed(): void;
}

export interface PoolDependencies {
  readonly secrets: SecretStore;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly options: RelayOptions;
  readonly revocation?: PeerRevocation | undefined;
  /** A tunnel to a gateway, for a session behind it. */
  readonly openOuter: (request: TunnelRequest) => Promise<OpenOutcome>;
}

export type StreamOutcome =
  | { readonly kind: 'stream'; readonly facts: SessionFacts }
  | { readonly kind: 'failed'; readonly error: AmbitError };

/**
 * The client's sessions.
 *
 * I1: a session is shared only by equal targets (`pool-key.ts`): identities, addresses, namespace, mark, gateway.
 * I2: no new stream on a session after GOAWAY, `forgetPeer`, `forgetIdentity`, or its certificate's replacement.
 * I3: every wait has a deadline; dead peers are found by PING, idle sessions are released.
 */
export interface TunnelPool {
  readonly sessions: number;
  readonly streams: number;
  /** A stream on a session that stands, without a wait; undefined: there is none with room, and `owns` was not called. */
  requestNow(
    target: TunnelTarget,
    headers: readonly string[],
    owns: (stream: ClientStream) => void,
  ): SessionFacts | undefined;
  /**
   * A stream with `headers` sent, once a session stands. Never rejects. `owns` is called in the same tick in which the stream came
   * to be. `cancellation` gives up waiting for a session.
   */
  request(
    target: TunnelTarget,
    headers: readonly string[],
    owns: (stream: ClientStream) => void,
    cancellation: Cancellation | undefined,
  ): Promise<StreamOutcome>;
  forgetPeer(ip: string): void;
  forgetIdentity(identity: SpiffeId): void;
  /** Ends the sessions with peers that the lists in force now name. */
  revocationChanged(revocation: PeerRevocation): void;
  close(): void;
}

export interface Http2Engine {
  /** All bytes are to go through Node's streams, those of plain TCP too. */
  readonly usesStreams: boolean;
  createPool(dependencies: PoolDependencies): TunnelPool;
  /** Owns the socket from now on. The peer's preface is still to come. No event comes before this returned. */
  serve(socket: TLSSocket, options: ServedSessionOptions, events: ServedSessionEvents): Session;
}

/** What lists of revoked certificates are asked about. */
export interface SessionPeer {
  readonly peerIdentity: SpiffeId;
  readonly peerChain: PeerChain | undefined;
}
