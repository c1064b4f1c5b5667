/**
 * Labels of a workload as balancing asks for them: Istio's names for what every record has, else the pod's own labels. A
 * control plane does not send pods' labels; from what it does send, those that name and version a workload follow.
 */
import type { Workload } from './model.ts';

/** Undefined: it has no such label, as far as is known. */
export function workloadLabel(workload: Workload, label: string): string | undefined {
  switch (label) {
    case 'topology.istio.io/network':
      return workload.network;
    case 'topology.istio.io/cluster':
      return workload.clusterId;
    case 'topology.kubernetes.io/region':
      return workload.locality?.region;
    case 'topology.kubernetes.io/zone':
      return workload.locality?.zone;
    case 'topology.istio.io/subzone':
      return workload.locality?.subzone;
    case 'kubernetes.io/hostname':
      return workload.node;
    default:
      return workload.labels === undefined ? knownLabel(workload, label) : workload.labels[label];
  }
}

/** Whether the workload has them all. */
export function hasLabels(workload: Workload, labels: Readonly<Record<string, string>>): boolean {
  for (const label in labels) if (workloadLabel(workload, label) !== labels[label]) return false;
  return true;
}

function knownLabel(workload: Workload, label: string): string | undefined {
  switch (label) {
    case 'app':
    case 'app.kubernetes.io/name':
    case 'service.istio.io/canonical-name':
      return workload.canonicalName;
    case 'version':
    case 'app.kubernetes.io/version':
    case 'service.istio.io/canonical-revision':
      return workload.canonicalRevision;
    default:
      return undefined;
  }
}
