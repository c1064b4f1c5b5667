/**
 * From an endpoint to the way there, for one captured connection: in clear, by a tunnel, in process, or through the gateway
 * of another network (ztunnel.md §3.3-§3.6). Pure; `outbound-decision.ts` chooses the endpoint.
 *
 * I1: a tunnel's server is pinned to the ids the mesh knows for it; where none is known there is no tunnel.
 */
import { formatSocketAddress, ipFamily, isOwnHost, type SocketAddress } from '../base/address.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { SourceAddressRule } from '../config/preset.ts';
import type { OuterLeg, TunnelRequest } from '../hbone/seam.ts';
import type { GatewayAddress, Service, Workload } from '../mesh/model.ts';
import { selectNetworkGateway } from '../mesh/waypoint.ts';
import { objectText } from './chains.ts';
import { gatewayText } from './names.ts';
import type { Decided, OutboundContext, OutboundDecision, OutboundEvent } from './outbound-answer.ts';
import { outboundSocket } from './socket-rules.ts';
import { outerTunnelHeaders, tunnelHeaders } from './tunnel-headers.ts';

/** Behind the gateway of its network. */
export interface RemoteEndpoint {
  readonly workload: Workload;
  readonly gateway: GatewayAddress;
}

const nobody: readonly never[] = [];

export class OutboundSteps {
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

  /**
   * Through a gateway the server is whoever answers for the service there, so only the names of the service it was found by
   * can be asked of it: `names`, the waypoint's or the service's own. The record of a workload over there says nothing about
   * who will answer (the control plane makes it up), and without names the mesh does not know whom to trust.
   */
  remote({ workload, gateway }: RemoteEndpoint, names: readonly SpiffeId[]): OutboundDecision {
    const { service } = this.decided;
    const where = `${objectText(workload)}: network is ${JSON.stringify(workload.network)}`;
    if (service === undefined) return this.refuse(`${where}, where only services can be reached`);
    if (names.length === 0) {
      return this.refuse(`${where}, and no subjectAltNames say who may answer for ${objectText(service)} there`);
    }
    const { mesh, random } = this.#context;
    const selection = selectNetworkGateway(mesh, {
      gateway,
      source: this.source,
      random,
      preferFamily: ipFamily(this.event.destination.ip),
    });
    if (selection.kind === 'none') {
      return this.refuse(`${where}, whose gateway ${gatewayText(gateway)} cannot be reached: ${selection.reason}`);
    }
    const { endpoint } = selection;
    const identities = identitiesOf(endpoint.workload, selection.service);
    switch (endpoint.kind) {
      case 'endpoint':
        return this.#nested(endpoint.workload, { ip: endpoint.ip, port: endpoint.port }, identities, service, names);
      case 'hostname':
        return this.resolve(endpoint.hostname, (ip) =>
          this.#nested(endpoint.workload, { ip, port: endpoint.port }, identities, service, names),
        );
      case 'remote':
        return this.refuse(`${where}, whose gateway ${gatewayText(gateway)} is on another network itself`);
    }
  }

  /** A name must not lead to ourselves. */
  resolve(hostname: string, then: (ip: string) => OutboundDecision): OutboundDecision {
    const resolved = (ip: string) =>
      isOwnHost(ip) ? this.refuse(`${hostname} resolves to ${ip}, which is this host`) : then(ip);
    return { ...this.decided, kind: 'resolve', hostname, resolved };
  }

  refuse(reason: string): OutboundDecision {
    return { ...this.decided, kind: 'refuse', reason, flag: 'CONNECT' };
  }

  #nested(
    gateway: Workload,
    peer: SocketAddress,
    identities: readonly SpiffeId[],
    service: Service,
    names: readonly SpiffeId[],
  ): OutboundDecision {
    const { sockets } = this.#context;
    // Host name and service port for both: the gateway has no use for addresses of another network.
    const authority = `${service.hostname}:${this.event.destination.port}`;
    const outer: OuterLeg = {
      expectedIdentities: identities,
      authority,
      headers: outerTunnelHeaders(this.source, this.event.client, service),
    };
    const inner = this.#request(peer, names, authority, sockets.preset.sourceToPod);
    const request: TunnelRequest = {
      ...inner,
      target: { ...inner.target, outer },
      headers: [...inner.headers, ['x-forwarded-network', this.source.network]],
    };
    return { ...this.decided, kind: 'nested', endpoint: gateway, request };
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

/** The endpoint's own, and what its service answers by. */
export function identitiesOf(workload: Workload, service: Service | undefined): readonly SpiffeId[] {
  return [...new Set([workload.identity, ...(service?.subjectAltNames ?? nobody)])];
}
