/**
 * A carrier for a session of the pool: with the certificate its source has now, and under a deadline up to the peer's SETTINGS.
 *
 * I1: bytes flow only on a socket that was verified against the expected ids; no TLS session is ever resumed.
 */
import type { TLSSocket } from 'node:tls';
import { Cancellation } from '../base/cancellation.ts';
import { AmbitError } from '../base/errors.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { Secret, SecretStore } from '../identity/secret.ts';
import { openCarrier } from './carrier.ts';
import type { PoolDependencies } from './http2/engine.ts';
import type { RelayOptions } from './options.ts';
import { sessionError } from './pool-errors.ts';
import { sourceOf } from './pool-key.ts';
import type { TunnelTarget } from './seam.ts';
import type { SessionFacts } from './session-facts.ts';

export interface SessionCarrier {
  readonly socket: TLSSocket;
  readonly facts: SessionFacts;
  /** The peer's SETTINGS have come; until then the socket is destroyed when they are late. */
  settled(): void;
}

/** Rejects with an AmbitError; nothing is left open then. */
export async function openSessionCarrier(
  target: TunnelTarget,
  dependencies: PoolDependencies,
): Promise<SessionCarrier> {
  const { clock, options, secrets } = dependencies;
  const secret = await secretOf(secrets, target.sourceIdentity);
  const { socket, peerIdentity, peerChain, local } = await openCarrier(target, secret, dependencies);
  // Its 'close' may have come already.
  if (socket.destroyed) throw sessionError(target, new Error('it ended right after the handshake'));
  const settings = clock.after(options.handshakeTimeoutMs, () => socket.destroy());
  const settled = () => settings.cancel();
  socket.once('close', settled);
  const facts: SessionFacts = {
    local,
    peer: target.peer,
    sourceIdentity: target.sourceIdentity,
    source: sourceOf(target),
    generation: secret.generation,
    peerIdentity,
    peerChain,
    nested: target.outer !== undefined,
    leaving: new Cancellation(),
  };
  return { socket, facts, settled };
}

/** Until then a session stands, or the reason why it does not is known. */
export function longestWaitMs(target: TunnelTarget, options: RelayOptions): number {
  const oneSession = target.socket.connectTimeoutMs + 2 * options.handshakeTimeoutMs + 1000;
  if (target.outer === undefined) return oneSession;
  return oneSession + options.connectAnswerTimeoutMs + 2 * options.handshakeTimeoutMs;
}

async function secretOf(secrets: SecretStore, identity: SpiffeId): Promise<Secret> {
  const current = secrets.current(identity);
  if (current !== undefined) return current;
  const state = await secrets.acquire(identity);
  if (state.kind === 'available') return state.secret;
  throw new AmbitError(`no certificate for ${identity}: ${state.reason}`, {
    code: 'HBONE_NO_CERTIFICATE',
    origin: 'local',
    retry: 'unsent',
    flag: 'IDENTITY_ERROR',
  });
}
