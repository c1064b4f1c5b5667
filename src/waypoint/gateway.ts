/** Which gateway this process is, and whether a record's waypoint is it. `app/` answers from what was compiled. */
import type { GatewayAddress, Service, ServiceKey, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import { isGateway } from '../mesh/waypoint.ts';

export interface OwnGateway {
  /** `namespace/name` of the Gateway, or `namespace/name/account`: the key of policies on the whole gateway. */
  readonly key: string;
  readonly namespace: string;
  /** As it stands on the records of what is bound to it. */
  readonly address: GatewayAddress;
  /** The Service that is this waypoint; undefined for one known by a bare address. */
  readonly service: ServiceKey | undefined;
  /** Applications are told who the client is, by `x-forwarded-client-cert`. */
  readonly tellsIdentity?: boolean;
}

/** Whether this waypoint is the one of a service or workload, or one of several. */
export function serves(mesh: MeshView, own: OwnGateway, object: Service | Workload): boolean {
  if ('weightedWaypoints' in object && object.weightedWaypoints.length > 0) {
    return object.weightedWaypoints.some(({ destination }) => isOwn(mesh, own, destination));
  }
  return isOwn(mesh, own, object.waypoint);
}

export function isOwn(mesh: MeshView, own: OwnGateway, waypoint: GatewayAddress | undefined): boolean {
  if (waypoint === undefined) return false;
  if (own.service !== undefined && isGateway(mesh, waypoint, own.service)) return true;
  const { address } = own;
  if (waypoint.kind === 'hostname' || address.kind === 'hostname') {
    return waypoint.kind === address.kind && waypoint.kind === 'hostname' && address.kind === 'hostname'
      ? waypoint.service === address.service
      : false;
  }
  return waypoint.network === address.network && waypoint.ip === address.ip;
}
