/** Why the pool gave no stream, as AmbitErrors: each says whether the CONNECT was ever sent. */
import { formatSocketAddress } from '../base/address.ts';
import { AmbitError, errorCode, errorText } from '../base/errors.ts';
import type { TunnelTarget } from './seam.ts';

export function sessionError(target: TunnelTarget, error: unknown): AmbitError {
  if (error instanceof AmbitError) return error;
  const detail = errorCode(error) ?? errorText(error);
  return new AmbitError(`no HTTP/2 session with ${formatSocketAddress(target.peer)} (${detail})`, {
    code: 'HBONE_SESSION',
    origin: 'upstream',
    retry: 'unsent',
    flag: 'H2_HANDSHAKE_FAILURE',
    cause: error,
  });
}

/** The source has as many sessions as it may, and all of them are in use. */
export function sessionLimit(target: TunnelTarget, held: number): AmbitError {
  const message = `no more sessions for ${target.sourceIdentity}: it has ${held} (limit sessions, AMBIT_MAX_SESSIONS_PER_POD)`;
  return new AmbitError(message, { code: 'HBONE_SESSION_LIMIT', origin: 'local', retry: 'unsent', flag: 'CONNECT' });
}

/** The session went between being chosen and being used. */
export function sessionGone(target: TunnelTarget, cause: unknown): AmbitError {
  return new AmbitError(`the session with ${formatSocketAddress(target.peer)} has just ended`, {
    code: 'HBONE_NOT_PROCESSED',
    origin: 'upstream',
    retry: 'unsent',
    flag: 'CONNECT',
    cause,
  });
}

export function poolTimeout(target: TunnelTarget, waitMs: number): AmbitError {
  return new AmbitError(`no session with ${formatSocketAddress(target.peer)} in ${waitMs} ms`, {
    code: 'HBONE_SESSION_TIMEOUT',
    origin: 'upstream',
    retry: 'unsent',
    flag: 'CONNECT',
  });
}

export function abandoned(target: TunnelTarget): AmbitError {
  return new AmbitError(`gave up the tunnel to ${formatSocketAddress(target.peer)}`, {
    code: 'HBONE_ABANDONED',
    origin: 'downstream',
  });
}

/** A time-out on the mesh port is most often a NetworkPolicy that does not know of it. ztunnel's words. */
export function withHint(error: AmbitError, port: number): AmbitError {
  if (error.code !== 'NET_CONNECT_TIMEOUT') return error;
  return new AmbitError(`connection timed out, maybe a NetworkPolicy is blocking HBONE port ${port}`, {
    code: 'HBONE_CONNECT_TIMEOUT',
    origin: 'upstream',
    retry: 'unsent',
    flag: 'NETWORK_POLICY',
    cause: error,
  });
}
