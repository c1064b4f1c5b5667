/**
 * The listening side for HBONE: TCP, TLS, an HTTP/2 session with limits, and its CONNECT streams.
 *
 * I1: sessions, handshakes, streams, header lists and stream resets of a peer are all bounded; no peer address holds
 *     more than its share of the listener.
 * I2: one bad connection ends itself alone.
 */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { AmbitError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { PeerRevocation } from '../identity/revocation.ts';
import type { Secret } from '../identity/secret.ts';
import type { AcceptGate } from '../net/acceptor.ts';
import { socketAddresses } from '../net/socket-factory.ts';
import type { Openers } from './capture.ts';
import { type ServerSessionFacts, serveStream } from './connect-server.ts';
import type { Http2Engine, Session, SessionPeer } from './http2/engine.ts';
import { watchLiveness } from './liveness.ts';
import type { RelayOptions } from './options.ts';
import { PeerShares } from './peer-shares.ts';
import { endIfRevoked } from './revoked-sessions.ts';
import type { ServeOptions, SessionShare } from './seam.ts';
import { TlsAcceptor } from './tls-acceptor.ts';

interface Accepted {
  readonly local: SocketAddress;
  readonly peer: SocketAddress;
  readonly share: SessionShare;
  readonly admitted: SessionShare | undefined;
}

/** At the listener's own limit, how soon it looks again. */
const fullWaitMs = 50;
/** A session that came about during the drain has so long for the tunnels it was made for. */
const lateSessionMs = 1000;

export class HboneServer implements AcceptGate {
  /** No connection is left. */
  onEmpty: () => void = () => {};
  readonly #http2: Http2Engine;
  readonly #serve: ServeOptions;
  readonly #openers: Openers;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #options: RelayOptions;
  readonly #acceptor: TlsAcceptor;
  readonly #shares: PeerShares;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Map<Session, SessionPeer>();
  #streams = 0;
  #draining = false;

  constructor(
    http2: Http2Engine,
    serve: ServeOptions,
    openers: Openers,
    clock: Clock,
    logger: Logger,
    options: RelayOptions,
    revocation?: PeerRevocation,
  ) {
    this.#http2 = http2;
    this.#serve = serve;
    this.#openers = openers;
    this.#clock = clock;
    this.#logger = logger;
    this.#options = options;
    this.#acceptor = new TlsAcceptor(clock, options.handshakeTimeoutMs, revocation);
    this.#shares = new PeerShares(options.maxSessionsPerPeer, options.maxHandshakesPerPeer);
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  get streams(): number {
    return this.#streams;
  }

  /** Handshakes included. */
  get connections(): number {
    return this.#sockets.size;
  }

  waitMs(): number {
    if (this.#sockets.size >= this.#options.maxServerSessions) return fullWaitMs;
    return this.#serve.admission?.waitMs() ?? 0;
  }

  forgetIdentity(identity: SpiffeId): void {
    this.#acceptor.forget(identity);
  }

  accept(raw: Socket): void {
    const addresses = socketAddresses(raw);
    if (addresses === undefined) {
      raw.destroy();
      return;
    }
    const { local, peer } = addresses;
    const deny = (error: AmbitError) => {
      raw.destroy();
      try {
        this.#serve.onDenied?.(peer, local, error);
      } catch (thrown) {
        this.#logger.error('the handler of denied connections threw', { error: errorText(thrown) });
      }
    };
    const share = this.#shares.enter(peer.ip);
    if (share === undefined) {
      const message = `${peer.ip} has too many connections or unfinished handshakes here`;
      deny(new AmbitError(message, { code: 'HBONE_PEER_LIMIT', origin: 'local', flag: 'TLS_FAILURE' }));
      return;
    }
    const admitted = this.#serve.admission?.entered();
    this.#sockets.add(raw);
    raw.once('close', () => {
      this.#sockets.delete(raw);
      share.left();
      admitted?.left();
      if (this.#sockets.size === 0) this.onEmpty();
    });
    try {
      const secret = this.#serve.secretFor(local);
      if (!(secret instanceof Promise)) {
        this.#handshake(raw, secret, { local, peer, share, admitted }, deny);
        return;
      }
      secret.then(
        (late) => this.#handshake(raw, late, { local, peer, share, admitted }, deny),
        (error: unknown) => {
          this.#logger.error('the search for a certificate failed', { error: errorText(error) });
          raw.destroy();
        },
      );
    } catch (error) {
      this.#logger.error('accepting an HBONE connection failed', { error: errorText(error) });
      raw.destroy();
    }
  }

  #handshake(
    raw: Socket,
    secret: Secret | undefined,
    { local, peer, share, admitted }: Accepted,
    deny: (error: AmbitError) => void,
  ): void {
    // It left, or was destroyed, while a certificate was awaited.
    if (raw.destroyed) return;
    if (secret === undefined) {
      const message = `no certificate for ${formatSocketAddress(local)}`;
      deny(new AmbitError(message, { code: 'HBONE_UNKNOWN_DESTINATION', origin: 'local', flag: 'TLS_FAILURE' }));
      return;
    }
    this.#acceptor.accept(raw, secret, {
      trusts: this.#serve.trusts,
      onDenied: deny,
      onSecure: (socket, verified) => {
        share.secured();
        admitted?.secured();
        const facts = { peer, local, peerIdentity: verified.peerIdentity, localIdentity: secret.identity };
        this.#startSession(socket, facts, verified);
      },
    });
  }

  /** GOAWAY on every session, and on those still to come; live streams go on. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    for (const session of this.#sessions.keys()) session.retire();
  }

  /** Ends the sessions of peers that the lists in force now name. */
  revocationChanged(revocation: PeerRevocation): void {
    for (const [session, peer] of this.#sessions) {
      endIfRevoked(session, peer, revocation, 'destination', this.#logger);
    }
  }

  destroy(): void {
    this.#draining = true;
    for (const session of this.#sessions.keys()) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  #startSession(socket: TLSSocket, facts: ServerSessionFacts, verified: SessionPeer): void {
    const over = () => {
      this.#streams--;
    };
    const session = this.#http2.serve(
      socket,
      { relay: this.#options, maxStreams: this.#serve.maxStreamsPerSession, clock: this.#clock },
      {
        stream: (stream) => {
          this.#streams++;
          serveStream(stream, over, facts, this.#serve, this.#openers, this.#logger);
        },
        failed: (error) => {
          this.#logger.debug('HBONE session failed', {
            peer: formatSocketAddress(facts.peer),
            error: errorText(error),
          });
        },
        closed: () => {
          stopWatching();
          this.#sessions.delete(session);
        },
      },
    );
    this.#sessions.set(session, verified);
    const stopWatching = this.#watch(session, facts);
    // Its client has sent nothing yet: refused now, what it came for would be lost with clients that do not try again.
    if (this.#draining) this.#clock.after(lateSessionMs, () => session.retire());
  }

  #watch(session: Session, facts: ServerSessionFacts): () => void {
    return watchLiveness(session, this.#clock, this.#options, {
      // Releasing idle sessions is the client's choice.
      isIdle: () => false,
      idleReleaseMs: Number.POSITIVE_INFINITY,
      onIdle: () => {},
      onDead: () => this.#logger.debug('HBONE ping timeout', { peer: formatSocketAddress(facts.peer) }),
    });
  }
}
