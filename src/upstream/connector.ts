/**
 * Byte streams to endpoints: through a tunnel by the relay, or plain TCP to an address or a name; with the PROXY protocol and
 * TLS of the endpoint's profile inside. Failures are values.
 */
import type { Duplex } from 'node:stream';
import { ipFamily, type SocketAddress } from '../base/address.ts';
import { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import type { Relay } from '../hbone/seam.ts';
import { dialFirst } from '../net/dial-first.ts';
import { dial } from '../net/socket-factory.ts';
import type { SocketProfile } from '../net/socket-spec.ts';
import { type AddressOrigin, addressOrigin, type EgressGuard } from './egress-guard.ts';
import type { UpstreamEndpoint, UpstreamProtocol } from './endpoint.ts';
import type { HostAddresses } from './host-addresses.ts';
import { secureUpstream } from './upstream-tls.ts';

export interface Connected {
  /** The caller's: ends or destroys it. Has an 'error' listener. */
  readonly stream: Duplex;
  readonly local: SocketAddress;
  readonly peer: SocketAddress;
  /** Cancelled when the way to the endpoint takes nothing new: a connection without a request is to be closed. */
  readonly leaving?: Cancellation | undefined;
}

export type ConnectOutcome =
  | { readonly kind: 'connected'; readonly connected: Connected }
  | { readonly kind: 'failed'; readonly error: AmbitError };

export interface Connector {
  /** Never rejects. `protocol`: what TLS is to agree on; undefined: anything. */
  connect(
    endpoint: UpstreamEndpoint,
    cancellation?: Cancellation,
    protocol?: UpstreamProtocol,
  ): Promise<ConnectOutcome>;
}

/** What reaches beyond the cluster. */
export interface Outside {
  /** Names that the configuration gives. */
  readonly names: HostAddresses;
  /** Names that clients give. */
  readonly clientNames: HostAddresses;
  readonly guard: EgressGuard;
}

/** Without `outside` no name leads anywhere. */
export function createConnector(relay: Relay, clock: Clock, outside?: Outside): Connector {
  const open = (endpoint: UpstreamEndpoint, cancellation: Cancellation | undefined): Promise<ConnectOutcome> => {
    const { transport, address } = endpoint;
    if (transport.kind === 'name') return dialName(endpoint, transport, outside, clock, cancellation);
    const dialled = transport.kind === 'tunnel' ? transport.request.target.peer : address;
    const refusal = outside?.guard.refusal(dialled, originOf(endpoint));
    if (refusal !== undefined) return Promise.resolve({ kind: 'failed', error: guarded(refusal) });
    if (transport.kind === 'tunnel') return openTunnel(relay, transport.request, cancellation);
    return dialPlain(address, transport.socket, clock, cancellation);
  };
  return {
    connect: (endpoint, cancellation, protocol) => {
      const { profile } = endpoint;
      if (profile === undefined) return open(endpoint, cancellation);
      return withProfile(endpoint, protocol, clock, cancellation, open);
    },
  };
}

/** A pod's address is its own, whatever selected the pod. */
function originOf({ workload, profile }: UpstreamEndpoint): AddressOrigin {
  const origin = addressOrigin(workload);
  return origin === 'pod' ? origin : (profile?.origin ?? origin);
}

/** Of TLS to the backend, where the rule says nothing. */
const defaultTlsTimeoutMs = 10_000;

async function withProfile(
  endpoint: UpstreamEndpoint,
  protocol: UpstreamProtocol | undefined,
  clock: Clock,
  cancellation: Cancellation | undefined,
  open: (endpoint: UpstreamEndpoint, cancellation: Cancellation | undefined) => Promise<ConnectOutcome>,
): Promise<ConnectOutcome> {
  const { profile, preface } = endpoint;
  if (profile?.refusal !== undefined) return { kind: 'failed', error: unsupported(profile.refusal) };
  const limitMs = profile?.connectTimeoutMs;
  const startedMs = clock.nowMs();
  const outcome =
    limitMs !== undefined && endpoint.transport.kind === 'tunnel'
      ? await withDeadline(endpoint, limitMs, clock, cancellation, open)
      : await open(endpoint, cancellation);
  if (outcome.kind === 'failed') return outcome;
  const { connected } = outcome;
  if (preface !== undefined) connected.stream.write(preface.bytes);
  if (profile?.tls === undefined) return outcome;
  try {
    const leftMs = limitMs === undefined ? defaultTlsTimeoutMs : Math.max(1, limitMs - (clock.nowMs() - startedMs));
    const stream = await secureUpstream(connected.stream, profile.tls, protocol, clock, leftMs);
    return { kind: 'connected', connected: { ...connected, stream } };
  } catch (error) {
    if (error instanceof AmbitError) return { kind: 'failed', error };
    throw error;
  }
}

/** A tunnel has deadlines of its own, for sessions that many share; this one is the connection's. */
function withDeadline(
  endpoint: UpstreamEndpoint,
  limitMs: number,
  clock: Clock,
  cancellation: Cancellation | undefined,
  open: (endpoint: UpstreamEndpoint, cancellation: Cancellation | undefined) => Promise<ConnectOutcome>,
): Promise<ConnectOutcome> {
  const giveUp = new Cancellation();
  const onCancel = () => giveUp.cancel();
  let late = false;
  const timer = clock.after(limitMs, () => {
    late = true;
    giveUp.cancel();
  });
  if (cancellation?.cancelled) giveUp.cancel();
  cancellation?.on(onCancel);
  return open(endpoint, giveUp).then((outcome) => {
    timer.cancel();
    cancellation?.off(onCancel);
    if (!late) return outcome;
    if (outcome.kind === 'connected') outcome.connected.stream.destroy();
    const message = `no connection to ${endpoint.address.ip} in ${limitMs} ms`;
    const facts = { code: 'UPSTREAM_CONNECT_TIMEOUT', origin: 'upstream', retry: 'unsent', flag: 'CONNECT' } as const;
    return { kind: 'failed', error: new AmbitError(message, facts) };
  });
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
    const { local, peer, leaving } = established;
    return { kind: 'connected', connected: { stream, local, peer, leaving } };
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
  profile: SocketProfile,
  clock: Clock,
  cancellation: Cancellation | undefined,
): Promise<ConnectOutcome> {
  return connectedTo(await dial(address, profile, clock, cancellation), address);
}

async function dialName(
  endpoint: UpstreamEndpoint,
  transport: Extract<UpstreamEndpoint['transport'], { kind: 'name' }>,
  outside: Outside | undefined,
  clock: Clock,
  cancellation: Cancellation | undefined,
): Promise<ConnectOutcome> {
  const { hostname, everywhere, socket } = transport;
  const origin: AddressOrigin = endpoint.profile?.origin ?? 'external-name';
  const names = origin === 'named-by-client' ? outside?.clientNames : outside?.names;
  const found = (await names?.resolve(hostname)) ?? [];
  if (outside === undefined || found.length === 0) return { kind: 'failed', error: unresolved(hostname) };
  const refusals: string[] = [];
  const usable = found.filter((ip) => {
    const refusal = outside.guard.refusal({ ip, port: endpoint.address.port }, origin);
    if (refusal !== undefined) refusals.push(refusal);
    return refusal === undefined;
  });
  if (usable.length === 0) return { kind: 'failed', error: guarded(`${hostname}: ${refusals.join(', ')}`) };
  const { port } = endpoint.address;
  const destinations = (everywhere ? inTurn(endpoint, usable) : usable).map((ip) => ({ ip, port }));
  const outcome = await dialFirst(destinations, socket, clock, cancellation);
  return connectedTo(outcome, outcome.peer ?? endpoint.address);
}

/** Whose turn it was last. */
const turns = new WeakMap<object, number>();

/** Another address first for each connection; families go on taking turns. */
function inTurn(endpoint: UpstreamEndpoint, addresses: readonly string[]): readonly string[] {
  const turn = turns.get(endpoint.workload) ?? 0;
  turns.set(endpoint.workload, turn + 1);
  const rotate = (list: readonly string[]) => list.map((_, i) => list[(i + turn) % list.length] as string);
  const six = rotate(addresses.filter((ip) => ipFamily(ip) === 6));
  const four = rotate(addresses.filter((ip) => ipFamily(ip) === 4));
  return Array.from({ length: Math.max(six.length, four.length) }, (_, i) => [six[i], four[i]])
    .flat()
    .filter((ip) => ip !== undefined);
}

function connectedTo(outcome: Awaited<ReturnType<typeof dial>>, peer: SocketAddress): ConnectOutcome {
  if (outcome.kind === 'failed') return outcome;
  const { socket } = outcome;
  socket.on('error', ignore);
  const local = { ip: socket.localAddress ?? '', port: socket.localPort ?? 0 };
  return { kind: 'connected', connected: { stream: socket, local, peer } };
}

function unsupported(reason: string): AmbitError {
  return new AmbitError(reason, { code: 'UPSTREAM_UNSUPPORTED', origin: 'local', flag: 'CONNECT' });
}

function unresolved(hostname: string): AmbitError {
  const message = `${hostname} was not resolved to any address`;
  return new AmbitError(message, { code: 'UPSTREAM_NAME', origin: 'upstream', retry: 'unsent', flag: 'CONNECT' });
}

function guarded(refusal: string): AmbitError {
  const message = `not called: ${refusal}; AMBIT_EGRESS_ADDRESSES may name it`;
  return new AmbitError(message, { code: 'UPSTREAM_GUARDED', origin: 'local', flag: 'CONNECT' });
}

function ignore(): void {}
