/** The endpoint of one try of a TCP connection, by the same choice as for requests; of what is hashed it has its address. */

import type { Service } from '../mesh/model.ts';
import type { L7Model } from '../route/model.ts';
import { hashText } from '../upstream/balance/hash-text.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { chooseEndpoint, destinationPolicy, dynamicEndpoint, type EndpointChoice, endpointAt } from './endpoints.ts';

/** Where a connection goes once routes were asked. */
export interface TcpTarget {
  /** Undefined: straight to a pod, or nowhere. */
  readonly service: Service | undefined;
  readonly port: number;
  readonly subset: string | undefined;
}

export function tcpEndpoint(
  services: WaypointServices,
  tunnel: Tunnel,
  model: L7Model,
  target: TcpTarget,
  tried: ReadonlySet<string>,
  serverName: string | undefined,
): EndpointChoice {
  const { destination, client } = tunnel;
  const { service, port, subset } = target;
  if (service === undefined) {
    if (destination.kind !== 'workload') return { kind: 'none', reason: 'cluster_not_found' };
    const { workload, address } = destination;
    return { kind: 'endpoint', endpoint: endpointAt(services, workload, address.ip, address.port), watch: undefined };
  }
  const policy = destinationPolicy(services, { model, service, port, subset });
  // It was to go through somebody else's proxy: never around it.
  if (policy?.tunnel !== undefined) return { kind: 'none', reason: 'destination_rule_tunnel_unsupported' };
  if (policy?.tls?.mode === 'invalid') return { kind: 'none', reason: 'destination_rule_tls_invalid' };
  const wildcard = model.egress.get(service.key);
  if (wildcard?.resolution === 'dynamic-dns') {
    const named = dynamicEndpoint(services, tunnel, service, port, wildcard.host, serverName ?? '');
    return named === 'not-within' ? { kind: 'none', reason: 'host_not_within_wildcard' } : named;
  }
  const choice = policy?.loadBalancer?.choice;
  const hash = choice?.kind === 'hash' && choice.key.kind === 'source-ip' ? hashText(client.ip) : undefined;
  return chooseEndpoint(services, tunnel, service, port, tried, { model, subset, hash });
}
