/**
 * The routing key of a tunnel: CONNECT authority against what this waypoint serves (R24, R36, R37). A service's VIP or,
 * from another network's gateway, its host name, and port; or a pod's address. Anything else is refused, and never is what
 * the client names dialled.
 */
import { parseSocketAddress, type SocketAddress, splitHostPort } from '../base/address.ts';
import type { Service, ServicePort, Workload } from '../mesh/model.ts';
import { serviceByHostname, vipOf } from '../mesh/named-service.ts';
import type { MeshView } from '../mesh/view.ts';
import { type OwnGateway, serves } from './gateway.ts';

export type Destination =
  | { readonly kind: 'service'; readonly address: SocketAddress; readonly service: Service; readonly port: ServicePort }
  /** Straight to a pod: the service stage is skipped. */
  | { readonly kind: 'workload'; readonly address: SocketAddress; readonly workload: Workload };

export type AuthorityDecision =
  | Destination
  | {
      readonly kind: 'refused';
      readonly status: 404 | 503;
      readonly reason: 'no-configuration' | 'no-address' | 'unknown-address' | 'not-served-here' | 'unknown-port';
    };

export function decideAuthority(
  mesh: MeshView,
  own: OwnGateway | undefined,
  network: string,
  authority: string,
): AuthorityDecision {
  if (!mesh.complete || own === undefined) return { kind: 'refused', status: 503, reason: 'no-configuration' };
  const address = parseSocketAddress(authority);
  if (address === undefined) return decideHostname(mesh, own, network, authority);
  const service = mesh.serviceByAddress(network, address.ip, own.namespace);
  if (service !== undefined && serves(mesh, own, service)) {
    const port = service.ports.get(address.port);
    return port === undefined ? refused('unknown-port') : { kind: 'service', address, service, port };
  }
  const workload = mesh.workloadByAddress(network, address.ip);
  if (workload !== undefined && serves(mesh, own, workload)) return { kind: 'workload', address, workload };
  return refused(service === undefined && workload === undefined ? 'unknown-address' : 'not-served-here');
}

function decideHostname(mesh: MeshView, own: OwnGateway, network: string, authority: string): AuthorityDecision {
  const target = splitHostPort(authority);
  if (target === undefined) return refused('no-address');
  const service = serviceByHostname(mesh, target.host, own.namespace, (each) => serves(mesh, own, each));
  if (service === undefined) return refused('not-served-here');
  const ip = vipOf(service, network);
  const port = service.ports.get(target.port);
  if (ip === undefined) return refused('no-address');
  if (port === undefined) return refused('unknown-port');
  return { kind: 'service', address: { ip, port: target.port }, service, port };
}

function refused(reason: Extract<AuthorityDecision, { kind: 'refused' }>['reason']): AuthorityDecision {
  return { kind: 'refused', status: 404, reason };
}
