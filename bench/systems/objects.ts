/**
 * The objects of Kubernetes that the bench's mesh is made of. JSON is YAML, so they are written as they are.
 *
 * I1: a system's addresses follow from its number alone, so that no two systems meet and `--only` changes nothing.
 */
import { ports } from '../model.ts';

export type KubernetesObject = Readonly<Record<string, unknown>>;

/** Where the parts of one system are; names of pods are names of places in the lab. */
export interface Places {
  /** The load's pod, on node-a. */
  readonly client: PodPlace;
  /** The pod of a proxy of the system's own, on node-a. */
  readonly proxy: PodPlace;
  /** The origin's pod, on node-b. */
  readonly server: PodPlace;
  /** Address of the service in front of the server. */
  readonly vip: string;
  readonly proxyVip: string;
}

export interface PodPlace {
  readonly name: string;
  readonly ip: string;
  readonly node: 'node-a' | 'node-b';
}

/** Places of the system of this number, below 50. */
export function placesOf(key: string, number: number): Places {
  return {
    client: { name: `${key}-client`, ip: `10.244.1.${50 + number}`, node: 'node-a' },
    proxy: { name: `${key}-proxy`, ip: `10.244.1.${100 + number}`, node: 'node-a' },
    server: { name: `${key}-server`, ip: `10.244.2.${50 + number}`, node: 'node-b' },
    vip: `10.96.0.${50 + number}`,
    proxyVip: `10.96.0.${100 + number}`,
  };
}

/** All of the bench is in one namespace whose pods are captured unless they say otherwise. */
export const namespaceObject: KubernetesObject = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: 'default', labels: { 'istio.io/dataplane-mode': 'ambient' } },
};

/** A pod that runs as a service account of its own name. */
export function podObject(place: PodPlace, labels: Readonly<Record<string, string>> = {}): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: place.name, namespace: 'default', labels: { app: place.name, ...labels } },
    spec: { serviceAccountName: place.name, nodeName: place.node },
    status: { phase: 'Running', podIP: place.ip },
  };
}

export function barePodObject(place: PodPlace): KubernetesObject {
  return podObject(place, { 'istio.io/dataplane-mode': 'none' });
}

const protocols = { http: 'http', h2c: 'kubernetes.io/h2c', echo: 'tcp', bulk: 'tcp' } as const;

/** The service of a system's server, with every port of the origin. */
export function serviceObject(
  { server, vip }: Places,
  labels: Readonly<Record<string, string>> = {},
): KubernetesObject {
  const list = Object.entries(ports).map(([name, port]) => ({
    name,
    port,
    targetPort: port,
    appProtocol: protocols[name as keyof typeof ports],
  }));
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: server.name, namespace: 'default', labels },
    spec: { clusterIP: vip, selector: { app: server.name }, ports: list },
  };
}

export function textOf(objects: readonly KubernetesObject[]): string {
  return objects.map((object) => JSON.stringify(object)).join('\n---\n');
}
