/** Which workload of the mesh a waypoint itself is: where it is decides which endpoints are near (docs/destination-rules.md). */
import type { SpiffeId } from '../base/spiffe.ts';
import type { Locality, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';

export interface OwnPod {
  readonly CLUSTER_ID: string;
  readonly NETWORK: string;
  readonly POD_NAME: string;
  readonly POD_NAMESPACE: string;
  readonly INSTANCE_IP: string;
  /** `region/zone/subzone`, instead of what the mesh says. */
  readonly AMBIT_LOCALITY: string;
}

/** By the pod's name, else by its address; asked again after every change of the mesh. */
export function ownWorkload(mesh: MeshView, pod: OwnPod, identity: SpiffeId): () => Workload | undefined {
  const uid = `${pod.CLUSTER_ID}//Pod/${pod.POD_NAMESPACE}/${pod.POD_NAME}`;
  const locality = readLocality(pod.AMBIT_LOCALITY);
  let known: Workload | undefined;
  let told: Workload | undefined;
  return () => {
    const found = mesh.workload(uid) ?? mesh.workloadByAddress(pod.NETWORK, pod.INSTANCE_IP);
    if (locality === undefined) return found;
    // The same object while nothing has changed: what was made for it is kept.
    if (told !== undefined && found === known) return told;
    known = found;
    told = { ...(found ?? standIn(pod, identity)), locality };
    return told;
  };
}

function readLocality(text: string): Locality | undefined {
  const [region = '', zone = '', subzone = ''] = text.split('/');
  return region === '' ? undefined : { region, zone, subzone };
}

/** Of a waypoint that the mesh does not know. */
function standIn({ NETWORK, CLUSTER_ID, POD_NAME, POD_NAMESPACE }: OwnPod, identity: SpiffeId): Workload {
  return {
    uid: '',
    name: POD_NAME,
    namespace: POD_NAMESPACE,
    network: NETWORK,
    addresses: [],
    hostname: '',
    trustDomain: '',
    serviceAccount: '',
    identity,
    tunnelProtocol: 'none',
    nativeTunnel: false,
    networkMode: 'standard',
    node: '',
    clusterId: CLUSTER_ID,
    canonicalName: '',
    canonicalRevision: '',
    workloadType: 'pod',
    workloadName: POD_NAME,
    locality: undefined,
    capacity: 1,
    healthy: true,
    services: new Map(),
    authorizationPolicies: [],
    waypoint: undefined,
    networkGateway: undefined,
    applicationTunnel: undefined,
  };
}
