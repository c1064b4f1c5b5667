/**
 * The server's half of mesh TLS: one `tls.Server` per local identity, fed with accepted sockets, since that is the only
 * way in Node on which foreign and expired client certificates are refused (design rule 7).
 *
 * I1: a socket is handed out only with a full TLS 1.3 handshake, ALPN h2, and a client certificate that chains to our
 *     roots, is valid, names exactly one workload, and comes from a trusted domain.
 * I2: exactly one of `onSecure` and `onDenied` is called per accepted socket.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { AmbitError, errorCode, errorText } from '../base/errors.ts';
import { parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import type { Secret } from '../identity/secret.ts';
import { workloadOf } from './peer-certificate.ts';

export interface HandshakeHandlers {
  readonly trusts: (trustDomain: string, localIdentity: SpiffeId) => boolean;
  readonly onSecure: (socket: TLSSocket, peerIdentity: SpiffeId) => void;
  readonly onDenied: (error: AmbitError) => void;
}

/** Node's own deadline is off: ours is on the injected clock. */
const never = 2 ** 31 - 1;

export class TlsAcceptor {
  readonly #servers = new Map<SpiffeId, { readonly server: Server; generation: number }>();
  /** Which handshake a tls.Server event belongs to; the event itself does not say once the socket is closed. */
  readonly #handshakes = new AsyncLocalStorage<Handshake>();
  readonly #clock: Clock;
  readonly #timeoutMs: number;

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** Owns `raw` from now on. */
  accept(raw: Socket, secret: Secret, handlers: HandshakeHandlers): void {
    // TLS and HTTP/2 have no half-closed connection; left on, a client's FIN would leave the session hanging.
    raw.allowHalfOpen = false;
    const handshake = new Handshake(raw, secret.identity, handlers, this.#clock, this.#timeoutMs);
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
  return {
    ...secret.serverMaterial,
    minVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256',
    secureOptions: constants.SSL_OP_NO_TICKET,
  } as const;
}

class Handshake {
  readonly #raw: Socket;
  readonly #localIdentity: SpiffeId;
  readonly #handlers: HandshakeHandlers;
  readonly #timer: { cancel(): void };
  readonly #onClose = () => this.failed('the client closed during the handshake');
  #settled = false;

  constructor(raw: Socket, localIdentity: SpiffeId, handlers: HandshakeHandlers, clock: Clock, timeoutMs: number) {
    this.#raw = raw;
    this.#localIdentity = localIdentity;
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
    const identity = this.#verify(socket);
    if (identity instanceof AmbitError) {
      socket.destroy();
      this.#deny(identity);
      return;
    }
    this.#settle();
    this.#handlers.onSecure(socket, identity);
  }

  failed(cause: unknown): void {
    if (this.#settled) return;
    const detail = errorCode(cause) ?? errorText(cause);
    this.#deny(denied('HBONE_TLS_FAILED', `the TLS handshake failed (${detail})`, cause));
  }

  #verify(socket: TLSSocket): SpiffeId | AmbitError {
    if (!socket.authorized || socket.isSessionReused() || socket.getProtocol() !== 'TLSv1.3') {
      return denied('HBONE_TLS_FAILED', 'the client was not authenticated by a full TLS 1.3 handshake');
    }
    if (socket.alpnProtocol !== 'h2') return denied('HBONE_ALPN', 'the client does not offer h2 by ALPN');
    const certificate = socket.getPeerX509Certificate();
    const identity = certificate === undefined ? undefined : workloadOf(certificate);
    const parts = identity === undefined ? undefined : parseSpiffeId(identity);
    if (identity === undefined || parts === undefined) {
      return denied('HBONE_IDENTITY', 'the client certificate does not name exactly one workload');
    }
    if (!this.#handlers.trusts(parts.trustDomain, this.#localIdentity)) {
      return denied('HBONE_IDENTITY', `the trust domain ${parts.trustDomain} is not trusted`);
    }
    return identity;
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
