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
    sole: find,
    sourceAt: find,
    // Also an address that the mesh does not know as the pod's: of a second interface, or of the other family.
    workloadAt: find,
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

/**
 * On any node: the mesh has no index for that, so it is looked for once, and from then on seen coming and going. What was
 * found is asked for by its uid.
 */
function remembering(mesh: MeshView, name: WorkloadName): () => Workload | undefined {
  let uid: string | undefined;
  let lookedFor = false;
  const known = () => {
    const workload = uid === undefined ? undefined : mesh.workload(uid);
    return workload !== undefined && bearsName(workload, name) ? workload : undefined;
  };
  mesh.onChange(({ workloads }) => {
    if (known() !== undefined) return;
    // Another one that bears the name may have been there all the time.
    if (uid !== undefined) lookedFor = false;
    uid = workloads.find((workload) => bearsName(workload, name))?.uid;
  });
  return () => {
    if (known() !== undefined || lookedFor) return known();
    lookedFor = true;
    for (const workload of mesh.workloads()) {
      if (!bearsName(workload, name)) continue;
      uid = workload.uid;
      break;
    }
    return known();
  };
}
