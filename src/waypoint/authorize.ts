/**
 * The two places where policies apply. Service stage: those on the gateway and on the service, before routing. Pod stage:
 * those that select the chosen pod, after balancing, anew for every try. Which of the two holds policies is the preset's
 * binding rule; both are always asked, so no policy that was compiled is left out.
 */

import { evaluateL7, type L7Evaluation, type L7Facts } from '../policy/l7.ts';
import type { L7Model, L7Policy } from '../route/model.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { isOwn } from './gateway.ts';

export function connectionFacts(tunnel: Tunnel, http: L7Facts['http']): L7Facts {
  return {
    principal: tunnel.clientIdentity,
    sourceIp: tunnel.client.ip,
    remoteIp: tunnel.client.ip,
    destinationIp: tunnel.destination.address.ip,
    destinationPort: tunnel.destination.address.port,
    http,
  };
}

export function authorizeService(
  services: WaypointServices,
  tunnel: Tunnel,
  model: L7Model,
  facts: L7Facts,
): L7Evaluation {
  const gateway = services.own();
  const policies: L7Policy[] = [];
  if (gateway !== undefined) policies.push(...(model.gatewayPolicies.get(gateway.key) ?? []));
  const { destination } = tunnel;
  if (destination.kind === 'service') policies.push(...(model.servicePolicies.get(destination.service.key) ?? []));
  return evaluateL7(policies, facts);
}

/**
 * Ports and addresses in a pod's policies are the pod's own: what a Service in front of it is called by is nothing to it.
 * A pod of another waypoint is guarded by that one and by its own ztunnel: its policies are not ours to read.
 */
export function authorizePod(
  services: WaypointServices,
  { workload, address }: UpstreamEndpoint,
  model: L7Model,
  facts: L7Facts,
): L7Evaluation {
  const gateway = services.own();
  const policies = model.workloadPolicies.get(workload.uid);
  if (policies === undefined || gateway === undefined || !isOwn(services.mesh, gateway, workload.waypoint)) {
    return { verdict: { kind: 'allow', policy: undefined }, audited: [] };
  }
  return evaluateL7(policies, { ...facts, destinationIp: address.ip, destinationPort: address.port });
}
