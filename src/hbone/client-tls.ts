/**
 * The client's half of mesh TLS: TLS 1.3, ALPN h2, our certificate, and the peer pinned to the ids the mesh expects.
 *
 * I1: never resumes a session: Node skips every check of the peer then.
 * I2: the socket is handed out only after chain, validity, revocation and the peer's one SPIFFE id were checked.
 */
import type { Duplex } from 'node:stream';
import { connect, type TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { AmbitError, errorCode, errorText } from '../base/errors.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { PeerChain, PeerRevocation } from '../identity/revocation.ts';
import type { Secret } from '../identity/secret.ts';
import { allowsProtocol, tlsProfile } from '../identity/tls-context.ts';
import { workloadOf } from './peer-certificate.ts';
import { refusedChain } from './revoked-sessions.ts';

export interface SecuredSocket {
  readonly socket: TLSSocket;
  readonly peerIdentity: SpiffeId;
  /** To look up in later revocation lists; undefined: nobody asked for them. */
  readonly peerChain: PeerChain | undefined;
}

/** Over a connected socket or a tunnel's stream. Owns `raw` from now on. Rejects with an AmbitError, `raw` then destroyed. */
export function secureClient(
  raw: Duplex,
  secret: Secret,
  expected: readonly SpiffeId[],
  clock: Clock,
  timeoutMs: number,
  revocation: PeerRevocation | undefined,
): Promise<SecuredSocket> {
  // TLS and HTTP/2 have no half-closed connection; left on, a peer's FIN would leave the session hanging.
  raw.allowHalfOpen = false;
  return new Promise((resolve, reject) => {
    const socket = connect({
      socket: raw,
      secureContext: secret.context,
      ALPNProtocols: ['h2'],
      servername: '',
      rejectUnauthorized: true,
      // Names are checked below, against SPIFFE ids. The chain is still checked by OpenSSL.
      checkServerIdentity: () => undefined,
    });
    const fail = (error: AmbitError) => {
      timer.cancel();
      socket.destroy();
      raw.destroy();
      reject(error);
    };
    const timer = clock.after(timeoutMs, () =>
      fail(tlsError('HBONE_TLS_TIMEOUT', `the TLS handshake did not end in ${timeoutMs} ms`)),
    );
    socket.on('error', (error) => fail(handshakeError(error)));
    socket.on('close', () => fail(tlsError('HBONE_TLS_FAILED', 'the peer closed during the TLS handshake')));
    socket.on('secureConnect', () => {
      const verified = verify(socket, secret, expected, revocation);
      if (verified instanceof AmbitError) {
        fail(verified);
        return;
      }
      timer.cancel();
      resolve({ socket, ...verified });
    });
  });
}

function verify(
  socket: TLSSocket,
  secret: Secret,
  expected: readonly SpiffeId[],
  revocation: PeerRevocation | undefined,
): Omit<SecuredSocket, 'socket'> | AmbitError {
  const known = allowsProtocol(secret.profile ?? tlsProfile, socket.getProtocol());
  if (!socket.authorized || socket.isSessionReused() || !known) {
    return tlsError('HBONE_TLS_FAILED', 'the peer was not authenticated by a full TLS 1.3 handshake');
  }
  if (socket.alpnProtocol !== 'h2') {
    return tlsError('HBONE_ALPN', `the peer does not speak h2 (ALPN ${socket.alpnProtocol || 'none'})`);
  }
  const certificate = socket.getPeerX509Certificate();
  const identity = certificate === undefined ? undefined : workloadOf(certificate);
  if (certificate !== undefined && identity !== undefined && expected.includes(identity)) {
    const examined = revocation?.examine(certificate, secret.rootsPem, 'source');
    if (examined === undefined) return { peerIdentity: identity, peerChain: undefined };
    if (examined.kind === 'good') return { peerIdentity: identity, peerChain: examined.chain };
    return refusedChain(examined, identity, 'upstream');
  }
  return new AmbitError(`the peer is ${identity ?? 'no workload'}, expected ${expected.join(' or ')}`, {
    code: 'HBONE_IDENTITY',
    origin: 'upstream',
    flag: 'IDENTITY_ERROR',
  });
}

function handshakeError(error: Error): AmbitError {
  const detail = errorCode(error) ?? errorText(error);
  return tlsError('HBONE_TLS_FAILED', `the TLS handshake failed (${detail})`, error);
}

function tlsError(code: string, message: string, cause?: unknown): AmbitError {
  return new AmbitError(message, { code, origin: 'upstream', retry: 'unsent', flag: 'TLS_FAILURE', cause });
}
