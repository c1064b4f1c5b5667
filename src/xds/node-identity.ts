/**
 * As whom a proxy asks a control plane: node id and metadata in Istio's form (ztunnel.md §6.1, waypoint.md §6.6). The id's
 * first part says what it is; for on-demand istiod gives the workloads of the node named in NODE_NAME.
 */
import type { JsonObject } from '@bufbuild/protobuf';

export interface NodeFacts {
  /** `ztunnel` unless told. */
  readonly type?: 'ztunnel' | 'waypoint';
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
  const { type = 'ztunnel', instanceIp, podName, podNamespace, nodeName, clusterId, metadata } = facts;
  return {
    id: `${type}~${instanceIp}~${podName}.${podNamespace}~${podNamespace}.svc.cluster.local`,
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
