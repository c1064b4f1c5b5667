/** Who runs where: what the CA asks before it signs for a node (R56). */
import type { SpiffeId } from '../base/spiffe.ts';
import type { MeshView } from '../mesh/view.ts';

export interface Placement {
  /** Identities of the workloads that run on the node; undefined while the configuration has not been read. */
  identitiesOn(node: string): Iterable<SpiffeId> | undefined;
}

export function placementOf(view: MeshView): Placement {
  return {
    identitiesOn(node) {
      if (!view.complete) return undefined;
      const identities = new Set<SpiffeId>();
      for (const workload of view.workloadsOnNode(node)) identities.add(workload.identity);
      return identities;
    },
  };
}
