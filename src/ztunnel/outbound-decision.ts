/**
 * What becomes of a captured connection: from the match (`matcher.ts`) to one endpoint and everything needed to reach
 * it. Pure but for the injected randomness; order and rules of ztunnel.md §3.3-§3.6 with the closed answers of design
 * §4 rule 1.
 *
 * I1: what has an HBONE endpoint or a waypoint is never sent in clear: the other answers are `local` and `refuse`.
 * I2: every answer names the object and field that decided.
 */
import { formatSocketAddress, ipFamily, isLoopback, type SocketAddress } from '../base/address.ts';
import type { ResponseFlag } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { SourceAddressRule } from '../config/preset.ts';
import type { TunnelRequest } from '../hbone/seam.ts';
import type { EndpointSelection } from '../mesh/endpoint-query.ts';
import type { Service, Workload } from '../mesh/model.ts';
import { selectEndpoint } from '../mesh/select-endpoint.ts';
import type { MeshView } from '../mesh/view.ts';
import { selectGateway } from '../mesh/waypoint.ts';
import type { SocketProfile } from '../net/socket-spec.ts';
import type { Sampler } from '../telemetry/tracing/sampler.ts';
import { type FilterChain, objectText } from './chains.ts';
import type { FilterChainMatcher, Match } from './matcher.ts';
import { gatewayText } from './names.ts';
import type { ZtunnelSettings } from './settings.ts';
import { outboundSocket, type SocketRules } from './socket-rules.ts';
import { tunnelHeaders } from './tunnel-headers.ts';

export interface OutboundEvent {
  /** Undefined: nobody knows the client's address. */
  readonly source: Workload | undefined;
  readonly client: SocketAddress;
  readonly destination: SocketAddress;
}

export interface OutboundContext {
  readonly mesh: MeshView;
  readonly matcher: FilterChainMatcher;
  readonly settings: ZtunnelSettings;
  readonly sockets: SocketRules;
  readonly random: Random;
  /** Whose traces are kept; undefined: nobody's. */
  readonly sampler?: Sampler | undefined;
  readonly deliversLocally: (workload: Workload) => boolean;
}

interface Decided {
  readonly chain: FilterChain;
  readonly reason: string;
  /** The service the client addressed. */
  readonly service: Service | undefined;
}

export type OutboundDecision =
  /** Through a tunnel, to a waypoint or straight to the endpoint's own ztunnel. */
  | (Decided & { readonly kind: 'waypoint' | 'tunnel'; readonly endpoint: Workload; readonly request: TunnelRequest })
  /** To a workload this process serves: in process. `request` is what would have gone over the network. */
  | (Decided & {
      readonly kind: 'local';
      readonly endpoint: Workload;
      readonly destination: SocketAddress;
      readonly request: TunnelRequest;
    })
  /** In clear to an endpoint outside the mesh. */
  | (Decided & {
      readonly kind: 'plain';
      readonly endpoint: Workload;
      readonly destination: SocketAddress;
      readonly socket: SocketProfile;
    })
  /** In clear to where it was going. */
  | (Decided & { readonly kind: 'passthrough'; readonly destination: SocketAddress; readonly socket: SocketProfile })
  /** The endpoint is known by name: resolve it, then ask again. */
  | (Decided & {
      readonly kind: 'resolve';
      readonly hostname: string;
      readonly resolved: (ip: string) => OutboundDecision;
    })
  | (Decided & { readonly kind: 'refuse'; readonly flag: ResponseFlag });

export function decideOutbound(event: OutboundEvent, context: OutboundContext): OutboundDecision {
  const match = context.matcher.match(event.source, event.destination);
  const service = match.kind === 'pod' ? undefined : match.service;
  const decided: Decided = { chain: match.chain, reason: match.chain.reason, service };
  if (match.kind === 'blackhole') return { ...decided, kind: 'refuse', flag: 'CONNECT' };
  if (match.kind === 'passthrough') return passThrough(decided, event, context);
  // The matcher gives these chains to known sources only.
  if (event.source === undefined) return refuse(decided, 'source address is of no known workload');
  const toEndpoint = new EndpointStep(event.source, event, context, decided);
  switch (match.kind) {
    case 'waypoint':
      return decideWaypoint(match, toEndpoint, context);
    case 'service':
      return decideService(match, toEndpoint, context);
    case 'pod':
      return toEndpoint.pod(match.workload, event.destination.ip, event.destination.port);
  }
}

function decideWaypoint(
  match: Extract<Match, { kind: 'waypoint' }>,
  step: EndpointStep,
  context: OutboundContext,
): OutboundDecision {
  const { gateway } = match;
  const selection = selectGateway(context.mesh, { gateway, source: step.source, random: context.random });
  if (selection.kind === 'none') {
    return step.refuse(
      `${step.decided.reason}: waypoint ${gatewayText(gateway)} cannot be reached: ${selection.reason}`,
    );
  }
  const { endpoint } = selection;
  const identities = identitiesOf(endpoint.workload, selection.service);
  switch (endpoint.kind) {
    case 'endpoint':
      return step.waypoint(endpoint.workload, { ip: endpoint.ip, port: endpoint.port }, identities);
    case 'hostname':
      return step.resolve(endpoint.hostname, (ip) =>
        step.waypoint(endpoint.workload, { ip, port: endpoint.port }, identities),
      );
    case 'remote':
      return step.remote(endpoint.workload);
  }
}

function decideService(
  match: Extract<Match, { kind: 'service' }>,
  step: EndpointStep,
  context: OutboundContext,
): OutboundDecision {
  const selection: EndpointSelection = selectEndpoint({
    service: match.service,
    endpoints: context.mesh.endpoints(match.service.key),
    servicePort: match.port.servicePort,
    source: step.source,
    preferFamily: ipFamily(step.event.destination.ip),
    resolution: 'service',
    random: context.random,
  });
  switch (selection.kind) {
    case 'endpoint':
      return step.pod(selection.workload, selection.ip, selection.port);
    case 'hostname':
      return step.resolve(selection.hostname, (ip) => step.pod(selection.workload, ip, selection.port));
    case 'remote':
      return step.remote(selection.workload);
    case 'passthrough':
      return passThrough(step.decided, step.event, context);
    case 'none':
      return step.refuse(`no healthy upstream: ${objectText(match.service)}: ${selection.reason}`);
  }
}

/** From an endpoint to the way there, for one event. */
class EndpointStep {
  readonly source: Workload;
  readonly event: OutboundEvent;
  readonly decided: Decided;
  readonly #context: OutboundContext;

  constructor(source: Workload, event: OutboundEvent, context: OutboundContext, decided: Decided) {
    this.source = source;
    this.event = event;
    this.decided = decided;
    this.#context = context;
  }

  waypoint(endpoint: Workload, peer: SocketAddress, identities: readonly SpiffeId[]): OutboundDecision {
    const { preset } = this.#context.sockets;
    // The waypoint routes by where the client was going.
    const authority = formatSocketAddress(this.event.destination);
    const request = this.#request(peer, identities, authority, preset.sourceToWaypoint);
    return { ...this.decided, kind: 'waypoint', endpoint, request };
  }

  pod(endpoint: Workload, ip: string, port: number): OutboundDecision {
    if (endpoint.network !== this.source.network) return this.remote(endpoint);
    const destination = { ip, port };
    const { settings, sockets } = this.#context;
    if (endpoint.tunnelProtocol === 'none') {
      const socket = outboundSocket(sockets, 'client', this.event.client.ip, ip);
      return { ...this.decided, kind: 'plain', endpoint, destination, socket };
    }
    const request = this.#request(
      { ip, port: settings.ports.hbone },
      identitiesOf(endpoint, this.decided.service),
      formatSocketAddress(destination),
      sockets.preset.sourceToPod,
    );
    return this.#context.deliversLocally(endpoint)
      ? { ...this.decided, kind: 'local', endpoint, destination, request }
      : { ...this.decided, kind: 'tunnel', endpoint, request };
  }

  /** A name must not lead to ourselves. */
  resolve(hostname: string, then: (ip: string) => OutboundDecision): OutboundDecision {
    const resolved = (ip: string) =>
      isLoopback(ip) ? this.refuse(`${hostname} resolves to the loopback address ${ip}`) : then(ip);
    return { ...this.decided, kind: 'resolve', hostname, resolved };
  }

  remote(endpoint: Workload): OutboundDecision {
    return this.refuse(
      `${objectText(endpoint)}: network is ${JSON.stringify(endpoint.network)}, and other networks cannot be reached`,
    );
  }

  refuse(reason: string): OutboundDecision {
    return refuse(this.decided, reason);
  }

  #request(
    peer: SocketAddress,
    expectedIdentities: readonly SpiffeId[],
    authority: string,
    rule: SourceAddressRule,
  ): TunnelRequest {
    const { sockets, random, sampler } = this.#context;
    const { client } = this.event;
    return {
      target: {
        peer,
        sourceIdentity: this.source.identity,
        expectedIdentities,
        socket: outboundSocket(sockets, rule, client.ip, peer.ip),
      },
      authority,
      headers: tunnelHeaders(
        { source: this.source, client, service: this.decided.service, authority },
        sockets.preset,
        random,
        sampler,
      ),
    };
  }
}

function passThrough(decided: Decided, event: OutboundEvent, context: OutboundContext): OutboundDecision {
  const { client, destination } = event;
  const socket = outboundSocket(context.sockets, 'client', client.ip, destination.ip);
  return { ...decided, kind: 'passthrough', destination, socket };
}

function refuse(decided: Decided, reason: string): OutboundDecision {
  return { ...decided, kind: 'refuse', reason, flag: 'CONNECT' };
}

function identitiesOf(workload: Workload, service: Service | undefined): readonly SpiffeId[] {
  return [...new Set([workload.identity, ...(service?.subjectAltNames ?? [])])];
}
