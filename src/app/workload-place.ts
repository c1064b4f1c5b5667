/** The place of one workload: by its name as the node agent or the operator gives it, looked up in the mesh when asked. */
import type { Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { Place } from '../ztunnel/context.ts';
import type { WorkloadName, ZtunnelProgramSettings } from './ztunnel-settings.ts';

/** Whatever address its traffic has, it is this workload's. */
export function workloadPlace(
  name: WorkloadName,
  namespace: Place['namespace'],
  ip: string,
  settings: ZtunnelProgramSettings,
  mesh: MeshView,
): Place {
  const { node } = settings;
  const find = node === undefined ? remembering(mesh, name) : () => findWorkload(mesh, name, node);
  return {
    name: `${name.namespace}/${name.name}`,
    namespace,
    ip,
    sourceAt: find,
    workloadAt(address) {
      const found = find();
      return found?.addresses.includes(address) === true ? found : undefined;
    },
  };
}

export function findWorkload(mesh: MeshView, name: WorkloadName, node: string): Workload | undefined {
  return mesh.workloadByName(name.namespace, name.name, name.serviceAccount, node);
}

export function bearsName(workload: Workload, name: WorkloadName): boolean {
  return (
    workload.name === name.name &&
    workload.namespace === name.namespace &&
    workload.serviceAccount === name.serviceAccount
  );
}

/** On any node: the mesh has no index for that, so what was found is asked for by its uid as long as it is there. */
function remembering(mesh: MeshView, name: WorkloadName): () => Workload | undefined {
  let uid: string | undefined;
  return () => {
    const known = uid === undefined ? undefined : mesh.workload(uid);
    if (known !== undefined && bearsName(known, name)) return known;
    for (const workload of mesh.workloads()) {
      if (!bearsName(workload, name)) continue;
      uid = workload.uid;
      return workload;
    }
    return undefined;
  };
}
