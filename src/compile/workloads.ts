/** Workload records from pods and from endpoints that are no pods, with the Services, policies and waypoint of each. */
import { formatSpiffeId } from '../base/spiffe.ts';
import type { PolicyKey, ServiceKey, Workload } from '../mesh/model.ts';
import type { Bindings } from './bindings.ts';
import type { Attachments, Endpoints, OutsideEndpoint } from './endpoints.ts';
import type { Gateways } from './gateways.ts';
import type { Inputs } from './inputs.ts';
import { podLocality } from './node.ts';
import type { CompileOptions } from './options.ts';
import { type PodSpec, podTunnel } from './pod.ts';
import { entryWorkloads } from './service-entry-endpoints.ts';

export function podUid(pod: PodSpec, options: CompileOptions): string {
  return `${options.clusterId}//Pod/${pod.namespace}/${pod.name}`;
}

export function buildWorkloads(
  inputs: Inputs,
  endpoints: Endpoints,
  gateways: Gateways,
  bindings: Bindings,
  policiesOf: ReadonlyMap<PodSpec, readonly PolicyKey[]>,
  options: CompileOptions,
): ReadonlyMap<string, Workload> {
  const workloads = new Map<string, Workload>();
  for (const [pod, attachments] of endpoints.pods) {
    const tunnel = podTunnel(pod, inputs.namespaces.get(pod.namespace));
    const { trustDomain, clusterId, network } = options;
    const { name, namespace, serviceAccount } = pod;
    const uid = podUid(pod, options);
    workloads.set(uid, {
      uid,
      name,
      namespace,
      network,
      addresses: pod.addresses,
      hostname: '',
      trustDomain,
      serviceAccount,
      identity: formatSpiffeId({ trustDomain, namespace, serviceAccount }),
      tunnelProtocol: tunnel === 'none' ? 'none' : 'hbone',
      nativeTunnel: tunnel === 'native',
      networkMode: pod.hostNetwork ? 'host' : 'standard',
      node: pod.node,
      clusterId,
      canonicalName: pod.canonicalName,
      canonicalRevision: pod.canonicalRevision,
      workloadType: pod.workloadType,
      workloadName: pod.workloadName,
      labels: pod.labels,
      locality: podLocality(pod.labels, pod.node, inputs.nodes),
      capacity: 1,
      healthy: pod.ready,
      services: joined(attachments, gateways.attachments.get(pod)),
      authorizationPolicies: policiesOf.get(pod) ?? [],
      waypoint: bindings.pods.get(pod)?.address,
      networkGateway: undefined,
      applicationTunnel: undefined,
    });
  }
  for (const endpoint of endpoints.outside) {
    const workload = outsideWorkload(endpoint, inputs, options);
    workloads.set(workload.uid, workload);
  }
  for (const workload of entryWorkloads(inputs, options)) workloads.set(workload.uid, workload);
  return workloads;
}

/** Something behind a Service that the mesh knows by address alone: no identity of its own, never tunnelled to. */
function outsideWorkload(endpoint: OutsideEndpoint, inputs: Inputs, options: CompileOptions): Workload {
  const { namespace, slice, ip } = endpoint;
  const { trustDomain, clusterId, network } = options;
  const name = `${slice}-${ip}`;
  return {
    uid: `${clusterId}/discovery.k8s.io/EndpointSlice/${namespace}/${slice}/${ip}`,
    name,
    namespace,
    network,
    addresses: [ip],
    hostname: '',
    trustDomain,
    serviceAccount: 'default',
    identity: formatSpiffeId({ trustDomain, namespace, serviceAccount: 'default' }),
    tunnelProtocol: 'none',
    nativeTunnel: false,
    networkMode: 'host',
    node: endpoint.node,
    clusterId,
    canonicalName: name,
    canonicalRevision: 'latest',
    workloadType: 'deployment',
    workloadName: name,
    labels: {},
    locality: podLocality({}, endpoint.node, inputs.nodes),
    capacity: 1,
    healthy: endpoint.ready,
    services: endpoint.services,
    authorizationPolicies: [],
    waypoint: undefined,
    networkGateway: undefined,
    applicationTunnel: undefined,
  };
}

function joined(own: Attachments, made: Attachments | undefined): ReadonlyMap<ServiceKey, ReadonlyMap<number, number>> {
  return made === undefined ? own : new Map([...own, ...made]);
}
