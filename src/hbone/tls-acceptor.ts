/**
 * The server's half of mesh TLS: one `tls.Server` per local identity, fed with accepted sockets, since that is the only
 * way in Node on which foreign and expired client certificates are refused (design rule 7).
 *
 * I1: a socket is handed out only with a full TLS 1.3 handshake, ALPN h2, and a client certificate that chains to our
 *     roots, is valid, is not revoked, names exactly one workload, and comes from a trusted domain.
 * I2: exactly one of `onSecure` and `onDenied` is called per accepted socket.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { AmbitError, errorCode, errorText } from '../base/errors.ts';
import { parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import type { PeerChain, PeerRevocation } from '../identity/revocation.ts';
import type { Secret } from '../identity/secret.ts';
import { allowsProtocol, tlsProfile } from '../identity/tls-context.ts';
import { workloadOf } from './peer-certificate.ts';
import { refusedChain } from './revoked-sessions.ts';

export interface HandshakeHandlers {
  readonly trusts: (trustDomain: string, localIdentity: SpiffeId) => boolean;
  readonly onSecure: (socket: TLSSocket, peer: VerifiedPeer) => void;
  readonly onDenied: (error: AmbitError) => void;
}

export interface VerifiedPeer {
  readonly peerIdentity: SpiffeId;
  /** To look up in later revocation lists; undefined: nobody asked for them. */
  readonly peerChain: PeerChain | undefined;
}

/** Node's own deadline is off: ours is on the injected clock. */
const never = 2 ** 31 - 1;

export class TlsAcceptor {
  readonly #servers = new Map<SpiffeId, { readonly server: Server; generation: number }>();
  /** Which handshake a tls.Server event belongs to; the event itself does not say once the socket is closed. */
  readonly #handshakes = new AsyncLocalStorage<Handshake>();
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #revocation: PeerRevocation | undefined;

  constructor(clock: Clock, timeoutMs: number, revocation?: PeerRevocation) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#revocation = revocation;
  }

  /** Owns `raw` from now on. */
  accept(raw: Socket, secret: Secret, handlers: HandshakeHandlers): void {
    // TLS and HTTP/2 have no half-closed connection; left on, a client's FIN would leave the session hanging.
    raw.allowHalfOpen = false;
    const handshake = new Handshake(raw, secret, handlers, this.#clock, this.#timeoutMs, this.#revocation);
    this.#handshakes.run(handshake, () => this.#serverOf(secret).emit('connection', raw));
  }

  /** The identity's key is dropped here as well. Live sessions go on. */
  forget(identity: SpiffeId): void {
    this.#servers.delete(identity);
  }

  #serverOf(secret: Secret): Server {
    const known = this.#servers.get(secret.identity);
    if (known === undefined) {
      const server = this.#makeServer(secret);
      this.#servers.set(secret.identity, { server, generation: secret.generation });
      return server;
    }
    if (known.generation !== secret.generation) {
      known.server.setSecureContext(tlsOptions(secret));
      known.generation = secret.generation;
    }
    return known.server;
  }

  #makeServer(secret: Secret): Server {
    const server = createServer({
      ...tlsOptions(secret),
      ALPNProtocols: ['h2'],
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: never,
    });
    server.on('secureConnection', (socket) => {
      const handshake = this.#handshakes.getStore();
      if (handshake === undefined) socket.destroy();
      else handshake.secured(socket);
    });
    server.on('tlsClientError', (error, socket) => {
      this.#handshakes.getStore()?.failed(socket.authorizationError ?? error);
    });
    return server;
  }
}

function tlsOptions(secret: Secret) {
  const profile = secret.profile ?? tlsProfile;
  const secureOptions = (profile.secureOptions ?? 0) | constants.SSL_OP_NO_TICKET;
  return { ...secret.serverMaterial, ...profile, secureOptions };
}

class Handshake {
  readonly #raw: Socket;
  readonly #secret: Secret;
  readonly #handlers: HandshakeHandlers;
  readonly #timer: { cancel(): void };
  readonly #revocation: PeerRevocation | undefined;
  readonly #onClose = () => this.failed('the client closed during the handshake');
  #settled = false;

  constructor(
    raw: Socket,
    secret: Secret,
    handlers: HandshakeHandlers,
    clock: Clock,
    timeoutMs: number,
    revocation: PeerRevocation | undefined,
  ) {
    this.#raw = raw;
    this.#secret = secret;
    this.#revocation = revocation;
    this.#handlers = handlers;
    this.#timer = clock.after(timeoutMs, () => this.failed(`no handshake in ${timeoutMs} ms`));
    // A turn later: the TLS error that closed the socket says more, and its event comes after this one.
    raw.once('close', () => setImmediate(this.#onClose));
  }

  secured(socket: TLSSocket): void {
    if (this.#settled) {
      socket.destroy();
      return;
    }
    socket.on('error', () => {});
    const peer = this.#verify(socket);
    if (peer instanceof AmbitError) {
      socket.destroy();
      this.#deny(peer);
      return;
    }
    this.#settle();
    this.#handlers.onSecure(socket, peer);
  }

  failed(cause: unknown): void {
    if (this.#settled) return;
    const detail = errorCode(cause) ?? errorText(cause);
    this.#deny(denied('HBONE_TLS_FAILED', `the TLS handshake failed (${detail})`, cause));
  }

  #verify(socket: TLSSocket): VerifiedPeer | AmbitError {
    const { identity: localIdentity, profile = tlsProfile, rootsPem } = this.#secret;
    const known = allowsProtocol(profile, socket.getProtocol());
    if (!socket.authorized || socket.isSessionReused() || !known) {
      return denied('HBONE_TLS_FAILED', 'the client was not authenticated by a full TLS 1.3 handshake');
    }
    if (socket.alpnProtocol !== 'h2') return denied('HBONE_ALPN', 'the client does not offer h2 by ALPN');
    const certificate = socket.getPeerX509Certificate();
    const identity = certificate === undefined ? undefined : workloadOf(certificate);
    const parts = identity === undefined ? undefined : parseSpiffeId(identity);
    if (certificate === undefined || identity === undefined || parts === undefined) {
      return denied('HBONE_IDENTITY', 'the client certificate does not name exactly one workload');
    }
    if (!this.#handlers.trusts(parts.trustDomain, localIdentity)) {
      return denied('HBONE_IDENTITY', `the trust domain ${parts.trustDomain} is not trusted`);
    }
    const examined = this.#revocation?.examine(certificate, rootsPem, 'destination');
    if (examined === undefined) return { peerIdentity: identity, peerChain: undefined };
    if (examined.kind === 'good') return { peerIdentity: identity, peerChain: examined.chain };
    return refusedChain(examined, identity, 'downstream');
  }

  #deny(error: AmbitError): void {
    this.#settle();
    this.#raw.destroy();
    this.#handlers.onDenied(error);
  }

  #settle(): void {
    this.#settled = true;
    this.#timer.cancel();
  }
}

function denied(code: string, message: string, cause?: unknown): AmbitError {
  const flag = code === 'HBONE_IDENTITY' ? 'IDENTITY_ERROR' : 'TLS_FAILURE';
  return new AmbitError(message, { code, origin: 'downstream', flag, cause });
}
