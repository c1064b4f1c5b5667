/**
 * The article's mesh as lab topologies: bookinfo's programs, a client in and a client out of favour, a waypoint and a
 * control plane, with the addresses of the recorded reproduction (two nodes) or on one node (host and in-pod forms).
 */
import type { LabApp, LabNode, LabPod, LabService, Topology } from './topology.ts';

const bookinfoPort = 9080;

interface PodSpec {
  readonly name: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly captured: boolean;
  readonly app?: LabApp;
}

const vips = { productpage: '10.96.179.71', details: '10.96.36.10', reviews: '10.96.36.11', ratings: '10.96.36.12' };

/** Two nodes: clients, waypoint and control plane on the first, bookinfo on the second. */
export function bookinfoTopology(): Topology {
  const nodes = [makeNode('node-a', 1), makeNode('node-b', 2)];
  return assemble(nodes, 'node-a', 'node-b', {
    sleep: '10.244.1.4',
    notsleep: '10.244.1.5',
    waypoint: '10.244.1.8',
    control: '10.244.1.10',
    productpage: '10.244.2.5',
    details: '10.244.2.6',
    'reviews-v1': '10.244.2.11',
    'reviews-v2': '10.244.2.12',
    'reviews-v3': '10.244.2.13',
    ratings: '10.244.2.7',
  });
}

/** The same pods on one node. */
export function oneNodeTopology(): Topology {
  return assemble([makeNode('node-a', 1)], 'node-a', 'node-a', {
    sleep: '10.244.1.4',
    notsleep: '10.244.1.5',
    waypoint: '10.244.1.8',
    control: '10.244.1.10',
    productpage: '10.244.1.9',
    details: '10.244.1.6',
    'reviews-v1': '10.244.1.11',
    'reviews-v2': '10.244.1.12',
    'reviews-v3': '10.244.1.13',
    ratings: '10.244.1.7',
  });
}

function makeNode(name: string, n: number): LabNode {
  return {
    name,
    ip: `172.18.0.${n + 1}`,
    podCidr: `10.244.${n}.0/24`,
    gateway: `10.244.${n}.1`,
    ztunnelIp: `10.244.${n}.2`,
  };
}

function assemble(
  nodes: readonly LabNode[],
  clientNode: string,
  serverNode: string,
  addresses: Readonly<Record<string, string>>,
): Topology {
  const pod = (spec: PodSpec, node: string): LabPod => {
    const ip = addresses[spec.name];
    if (ip === undefined) throw new Error(`no address for pod ${spec.name}`);
    return { ...spec, namespace: 'default', node, ip };
  };
  return {
    nodes,
    pods: [
      ...clientPods.map((spec) => pod(spec, clientNode)),
      ...['v1', 'v2', 'v3'].map((version) => pod(reviewsPod(version), serverNode)),
      ...serverPods.map((spec) => pod(spec, serverNode)),
    ],
    services: [
      service('productpage', ['productpage']),
      service('details', ['details']),
      service('reviews', ['reviews-v1', 'reviews-v2', 'reviews-v3']),
      service('ratings', ['ratings']),
    ],
  };
}

const upstreams = {
  DETAILS_HOST: `${vips.details}:${bookinfoPort}`,
  REVIEWS_HOST: `${vips.reviews}:${bookinfoPort}`,
};

const clientPods: readonly PodSpec[] = [
  { name: 'sleep', serviceAccount: 'sleep', labels: { app: 'sleep' }, captured: true },
  { name: 'notsleep', serviceAccount: 'notsleep', labels: { app: 'notsleep' }, captured: true },
  { name: 'waypoint', serviceAccount: 'bookinfo-productpage', labels: { 'ambient-type': 'waypoint' }, captured: false },
  { name: 'control', serviceAccount: 'ambit-control', labels: { app: 'ambit-control' }, captured: false },
];

const serverPods: readonly PodSpec[] = [
  appPod('productpage', 'v1', { kind: 'productpage', port: bookinfoPort, env: upstreams }),
  appPod('details', 'v1', { kind: 'details', port: bookinfoPort }),
  appPod('ratings', 'v1', { kind: 'ratings', port: bookinfoPort }),
];

function reviewsPod(version: string): PodSpec {
  const env = { RATINGS_HOST: `${vips.ratings}:${bookinfoPort}` };
  return { ...appPod('reviews', version, { kind: 'reviews', port: bookinfoPort, env }), name: `reviews-${version}` };
}

function appPod(name: string, version: string, app: LabApp): PodSpec {
  return { name, serviceAccount: `bookinfo-${name}`, labels: { app: name, version }, captured: true, app };
}

function service(name: keyof typeof vips, endpoints: readonly string[]): LabService {
  const ports = [{ port: bookinfoPort, targetPort: bookinfoPort }];
  return { name, namespace: 'default', vip: vips[name], ports, endpoints };
}
