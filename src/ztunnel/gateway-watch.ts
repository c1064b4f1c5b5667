/**
 * Whether a change of the mesh is one of a waypoint: of its service, of its endpoints, or of the workload it is. What rests
 * on a waypoint is decided again then, and not at every change somewhere in a large mesh.
 *
 * I1: a gateway that was never asked about counts as changed.
 */
import type { GatewayAddress, MeshChange, Service, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import { gatewayRecords } from '../mesh/waypoint.ts';

interface Seen {
  readonly service: Service | undefined;
  readonly workload: Workload | undefined;
  readonly endpoints: readonly Workload[];
  /** The change it was looked at for, and the answer then. */
  readonly change: MeshChange;
  readonly changed: boolean;
}

export class GatewayWatch {
  readonly #mesh: MeshView;
  readonly #seen = new WeakMap<GatewayAddress, Seen>();

  constructor(mesh: MeshView) {
    this.#mesh = mesh;
  }

  /** Ask from a listener of the mesh, as often as need be. */
  changedBy(change: MeshChange, gateway: GatewayAddress): boolean {
    const before = this.#seen.get(gateway);
    if (before?.change === change) return before.changed;
    const { service, workload, endpoints } = gatewayRecords(this.#mesh, gateway);
    const changed =
      before === undefined ||
      before.service !== service ||
      before.workload !== workload ||
      before.endpoints !== endpoints;
    this.#seen.set(gateway, { service, workload, endpoints, change, changed });
    return changed;
  }
}
