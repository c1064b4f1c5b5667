/**
 * Sessions whose peer's certificate has been revoked: refused in the handshake, ended when a newer list names them
 * (ztunnel.md §4.6). The same for both ends.
 */
import { AmbitError, type ErrorOrigin } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { Examination, PeerRevocation, RevocationReporter } from '../identity/revocation.ts';
import type { Session, SessionPeer } from './http2/engine.ts';

export function refusedChain(
  examined: Exclude<Examination, { kind: 'good' }>,
  peer: SpiffeId,
  origin: ErrorOrigin,
): AmbitError {
  if (examined.kind === 'revoked') return revokedError(`${peer}: ${examined.reason}`, origin);
  return new AmbitError(`it cannot be told whether the certificate of ${peer} was revoked: ${examined.reason}`, {
    code: 'HBONE_REVOCATION_UNKNOWN',
    origin,
    flag: 'TLS_FAILURE',
  });
}

/** Whether to end a session whose streams may be live: ends it with `CERT_REVOKED`, each of its connections too. */
export function endIfRevoked(
  session: Pick<Session, 'destroyed' | 'destroy'>,
  peer: SessionPeer,
  revocation: PeerRevocation,
  reporter: RevocationReporter,
  logger: Logger,
): void {
  const { peerIdentity, peerChain } = peer;
  const reason = peerChain === undefined ? undefined : revocation.revoked(peerChain, reporter);
  if (reason === undefined || session.destroyed) return;
  logger.warn('a session ends: the certificate of its peer was revoked', { peer: peerIdentity, reason });
  session.destroy(revokedError(`connection closed: ${peerIdentity}: ${reason}`, 'local'));
}

function revokedError(message: string, origin: ErrorOrigin): AmbitError {
  return new AmbitError(message, { code: 'HBONE_REVOKED', origin, flag: 'CERT_REVOKED' });
}
