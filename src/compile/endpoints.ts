/**
 * Which Services an address is an endpoint of. Pods belong to the Services of their namespace whose selector they carry;
 * EndpointSlices count for Services without a selector, and may name addresses that are no pods.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { ServiceKey } from '../mesh/model.ts';
import type { Inputs } from './inputs.ts';
import { diagnose } from './object.ts';
import { type CompileOptions, specKey } from './options.ts';
import type { PodSpec } from './pod.ts';
import type { ServiceSpec } from './service.ts';
import { selects } from './values.ts';

/** Service → (service port → target port). */
export type Attachments = Map<ServiceKey, ReadonlyMap<number, number>>;

/** An endpoint that is no pod of the mesh. */
export interface OutsideEndpoint {
  readonly namespace: string;
  readonly slice: string;
  readonly ip: string;
  readonly node: string;
  readonly ready: boolean;
  readonly services: Attachments;
}

export interface Endpoints {
  readonly pods: ReadonlyMap<PodSpec, Attachments>;
  readonly outside: readonly OutsideEndpoint[];
  /** Pods of each Service. */
  readonly podsOf: ReadonlyMap<ServiceKey, readonly PodSpec[]>;
}

export function findEndpoints(inputs: Inputs, options: CompileOptions, diagnostics: Diagnostic[]): Endpoints {
  const selecting = selectorIndex(inputs.services.values());
  const pods = new Map<PodSpec, Attachments>();
  const podsOf = new Map<ServiceKey, PodSpec[]>();
  const byIp = new Map<string, PodSpec>();
  const attach = (pod: PodSpec, service: ServiceSpec, ports: ReadonlyMap<number, number>) => {
    const key = specKey(service, options);
    pods.get(pod)?.set(key, ports);
    const list = podsOf.get(key);
    if (list === undefined) podsOf.set(key, [pod]);
    else list.push(pod);
  };
  for (const pod of inputs.pods) {
    if (pod.addresses.length === 0) continue;
    pods.set(pod, new Map());
    for (const ip of pod.hostNetwork ? [] : pod.addresses) byIp.set(ip, pod);
    for (const [name, value] of Object.entries(pod.labels)) {
      for (const service of selecting.get(`${pod.namespace}/${name}=${value}`) ?? []) {
        if (selects(service.selector ?? {}, pod.labels)) attach(pod, service, podPorts(service, pod));
      }
    }
  }
  const outside = new Map<string, OutsideEndpoint>();
  for (const slice of inputs.slices) {
    const service = inputs.services.get(`${slice.namespace}/${slice.service}`);
    if (service === undefined) {
      const message = `no Service ${slice.namespace}/${slice.service}`;
      diagnostics.push(diagnose(slice.object, 'SLICE_WITHOUT_SERVICE', message, ['metadata', 'labels']));
      continue;
    }
    if (service.selector !== undefined) continue;
    const ports = new Map<number, number>();
    for (const { name, port } of service.ports) {
      const target = slice.ports.get(name);
      if (target !== undefined) ports.set(port, target);
    }
    for (const endpoint of slice.endpoints) {
      const pod = byIp.get(endpoint.ip);
      if (pod !== undefined) {
        attach(pod, service, ports);
        continue;
      }
      const id = `${slice.namespace}/${endpoint.ip}`;
      let found = outside.get(id);
      if (found === undefined) {
        const { namespace } = slice;
        found = { ...endpoint, namespace, slice: slice.object.metadata.name, services: new Map() };
        outside.set(id, found);
      }
      found.services.set(specKey(service, options), ports);
    }
  }
  return { pods, outside: [...outside.values()], podsOf };
}

/** Services by one label of their selector, so that a pod meets only those that it may belong to. */
function selectorIndex(services: Iterable<ServiceSpec>): ReadonlyMap<string, readonly ServiceSpec[]> {
  const index = new Map<string, ServiceSpec[]>();
  for (const service of services) {
    const [first] = Object.entries(service.selector ?? {});
    if (first === undefined) continue;
    const key = `${service.namespace}/${first[0]}=${first[1]}`;
    const list = index.get(key);
    if (list === undefined) index.set(key, [service]);
    else list.push(service);
  }
  return index;
}

/** A named target port that the pod does not have leaves the port out: the pod does not serve it. */
function podPorts(service: ServiceSpec, pod: PodSpec): ReadonlyMap<number, number> {
  const ports = new Map<number, number>();
  for (const { port, targetPort } of service.ports) {
    const target = typeof targetPort === 'number' ? targetPort : pod.namedPorts.get(targetPort);
    if (target !== undefined) ports.set(port, target);
  }
  return ports;
}
