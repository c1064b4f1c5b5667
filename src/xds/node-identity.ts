/**
 * As whom a ztunnel asks a control plane: node id and metadata in ztunnel's form (ztunnel.md §6.1). istiod picks its
 * generators by the id's first part, and for on-demand the workloads of the node named in NODE_NAME.
 */
import type { JsonObject } from '@bufbuild/protobuf';

export interface NodeFacts {
  readonly instanceIp: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly nodeName: string;
  readonly clusterId: string;
  /** Of ISTIO_META_ and ISTIO_METAJSON_ variables and proxyMetadata, prefixes stripped. Ours win over the same names. */
  readonly metadata: JsonObject;
}

export interface NodeIdentity {
  readonly id: string;
  readonly metadata: JsonObject;
}

export function nodeIdentity(facts: NodeFacts): NodeIdentity {
  const { instanceIp, podName, podNamespace, nodeName, clusterId, metadata } = facts;
  return {
    id: `ztunnel~${instanceIp}~${podName}.${podNamespace}~${podNamespace}.svc.cluster.local`,
    metadata: {
      CLUSTER_ID: clusterId,
      ...metadata,
      NAME: podName,
      NAMESPACE: podNamespace,
      INSTANCE_IPS: instanceIp,
      NODE_NAME: nodeName,
    },
  };
}
