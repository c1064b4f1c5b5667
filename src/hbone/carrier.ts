/**
 * What a session runs on: an authenticated TLS connection, over a TCP socket of its own or over the bytes of a tunnel to a
 * gateway (ztunnel.md §3.6, double HBONE). Only the first is seen by the network; the second is opaque to the gateway.
 *
 * I1: each handshake pins its own ids: the gateway's for the outer, the server's for the inner. Nothing is sent to the
 *     server before both were proven.
 * I2: every step has a deadline: TCP connect, outer handshake, SETTINGS and CONNECT answer, inner handshake.
 */
import type { Duplex } from 'node:stream';
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import type { Secret } from '../identity/secret.ts';
import { dial, socketAddresses } from '../net/socket-factory.ts';
import { type SecuredSocket, secureClient } from './client-tls.ts';
import type { PoolDependencies } from './http2/engine.ts';
import { withHint } from './pool-errors.ts';
import type { OuterLeg, TunnelTarget } from './seam.ts';

export type CarrierDependencies = Pick<PoolDependencies, 'clock' | 'options' | 'revocation' | 'openOuter'>;

export interface Carrier extends SecuredSocket {
  /** Our end of the TCP connection. */
  readonly local: SocketAddress;
}

/** Rejects with an AmbitError; nothing is left open then. */
export async function openCarrier(target: TunnelTarget, secret: Secret, use: CarrierDependencies): Promise<Carrier> {
  const { clock, options, revocation } = use;
  const { expectedIdentities, outer } = target;
  const secure = (raw: Duplex) =>
    secureClient(raw, secret, expectedIdentities, clock, options.handshakeTimeoutMs, revocation);
  if (outer === undefined) {
    const { raw, local } = await dialPeer(target, clock);
    return { ...(await secure(raw)), local };
  }
  const { raw, local } = await openTunnelTo(target, outer, use.openOuter);
  try {
    return { ...(await secure(raw)), local };
  } catch (error) {
    throw error instanceof AmbitError ? behindGateway(target, error) : error;
  }
}

interface Raw {
  readonly raw: Duplex;
  readonly local: SocketAddress;
}

async function dialPeer(target: TunnelTarget, clock: Clock): Promise<Raw> {
  const dialed = await dial(target.peer, target.socket, clock);
  if (dialed.kind === 'failed') throw withHint(dialed.error, target.peer.port);
  const local = socketAddresses(dialed.socket)?.local ?? { ip: '0.0.0.0', port: 0 };
  return { raw: dialed.socket, local };
}

async function openTunnelTo(
  target: TunnelTarget,
  outer: OuterLeg,
  openOuter: PoolDependencies['openOuter'],
): Promise<Raw> {
  const { peer, sourceIdentity, socket } = target;
  const { expectedIdentities, authority, headers } = outer;
  const outcome = await openOuter({
    target: { peer, sourceIdentity, expectedIdentities, socket },
    authority,
    headers,
  });
  switch (outcome.kind) {
    case 'open':
      return { raw: outcome.stream, local: outcome.established.local };
    case 'failed':
      throw outcome.error;
    case 'refused':
      throw new AmbitError(
        `the gateway ${formatSocketAddress(peer)} answered ${outcome.status} to the CONNECT for ${authority}`,
        { code: 'HBONE_GATEWAY_REFUSED', origin: 'upstream', retry: 'unsent', flag: 'CONNECT' },
      );
  }
}

function behindGateway(target: TunnelTarget, error: AmbitError): AmbitError {
  const { code, origin, retry, flag } = error;
  const message = `behind the gateway ${formatSocketAddress(target.peer)}: ${error.message}`;
  return new AmbitError(message, { code, origin, retry, flag, cause: error.cause });
}
