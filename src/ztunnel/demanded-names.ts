/**
 * On demand (docs/xds.md): which parts of the mesh a decision about a destination would look up and does not have. Pure.
 * What it names first may lead to more: ask again when it is known.
 */
import type { GatewayAddress, Service, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';

/** Names as a control plane takes them: `network/ip`, `namespace/hostname`. Empty: the decision has all it needs. */
export function demandedNames(mesh: MeshView, source: Workload, destinationIp: string): readonly string[] {
  const { network, namespace } = source;
  const workload = mesh.workloadByAddress(network, destinationIp);
  const service = workload === undefined ? mesh.serviceByAddress(network, destinationIp, namespace) : undefined;
  if (workload === undefined && service === undefined) return [`${network}/${destinationIp}`];
  const names = new Set<string>();
  for (const gateway of gatewaysOf(mesh, source, workload, service)) {
    const name = gateway.kind === 'hostname' ? gateway.service : `${gateway.network}/${gateway.ip}`;
    if (!isKnown(mesh, gateway, namespace)) names.add(name);
  }
  return [...names];
}

/** Waypoints of what was addressed, and ways into other networks of those that may be chosen. */
function* gatewaysOf(
  mesh: MeshView,
  source: Workload,
  workload: Workload | undefined,
  service: Service | undefined,
): Generator<GatewayAddress> {
  const owner = workload ?? service;
  if (owner?.waypoint !== undefined) yield owner.waypoint;
  for (const { destination } of service?.weightedWaypoints ?? []) yield destination;
  const endpoints = workload !== undefined ? [workload] : service === undefined ? [] : mesh.endpoints(service.key);
  for (const { network, networkGateway } of endpoints) {
    if (network !== source.network && networkGateway !== undefined) yield networkGateway;
  }
}

function isKnown(mesh: MeshView, gateway: GatewayAddress, namespace: string): boolean {
  if (gateway.kind === 'hostname') {
    return mesh.service(gateway.service) !== undefined || mesh.workloadByHostname(gateway.service) !== undefined;
  }
  const { network, ip } = gateway;
  return (
    mesh.workloadByAddress(network, ip) !== undefined || mesh.serviceByAddress(network, ip, namespace) !== undefined
  );
}
