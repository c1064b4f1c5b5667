/** Byte streams to endpoints: through a tunnel by the relay, or plain TCP. Failures are values. */
import type { Duplex } from 'node:stream';
import type { SocketAddress } from '../base/address.ts';
import type { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import type { Relay } from '../hbone/seam.ts';
import { dial } from '../net/socket-factory.ts';
import type { UpstreamEndpoint } from './endpoint.ts';

export interface Connected {
  /** The caller's: ends or destroys it. Has an 'error' listener. */
  readonly stream: Duplex;
  readonly local: SocketAddress;
  readonly peer: SocketAddress;
}

export type ConnectOutcome =
  | { readonly kind: 'connected'; readonly connected: Connected }
  | { readonly kind: 'failed'; readonly error: AmbitError };

export interface Connector {
  /** Never rejects. */
  connect(endpoint: UpstreamEndpoint, cancellation?: Cancellation): Promise<ConnectOutcome>;
}

export function createConnector(relay: Relay, clock: Clock): Connector {
  return {
    connect: (endpoint, cancellation) =>
      endpoint.transport.kind === 'tunnel'
        ? openTunnel(relay, endpoint.transport.request, cancellation)
        : dialPlain(endpoint.address, endpoint.transport.socket, clock, cancellation),
  };
}

async function openTunnel(
  relay: Relay,
  request: Parameters<Relay['open']>[0],
  cancellation: Cancellation | undefined,
): Promise<ConnectOutcome> {
  const outcome = await relay.open(request, cancellation);
  if (outcome.kind === 'open') {
    const { stream, established } = outcome;
    stream.on('error', ignore);
    return { kind: 'connected', connected: { stream, local: established.local, peer: established.peer } };
  }
  if (outcome.kind === 'failed') return outcome;
  const error = new AmbitError(`${request.authority} refused the tunnel with status ${outcome.status}`, {
    code: 'UPSTREAM_TUNNEL_REFUSED',
    origin: 'upstream',
    retry: 'unsent',
    flag: 'CONNECT',
  });
  return { kind: 'failed', error };
}

async function dialPlain(
  address: SocketAddress,
  profile: Parameters<typeof dial>[1],
  clock: Clock,
  cancellation: Cancellation | undefined,
): Promise<ConnectOutcome> {
  const outcome = await dial(address, profile, clock, cancellation);
  if (outcome.kind === 'failed') return outcome;
  const { socket } = outcome;
  socket.on('error', ignore);
  const local = { ip: socket.localAddress ?? '', port: socket.localPort ?? 0 };
  return { kind: 'connected', connected: { stream: socket, local, peer: address } };
}

function ignore(): void {}
