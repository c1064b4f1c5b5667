/**
 * A lab from a folder of YAML: the nodes, pods and services that the objects name, so that what the proxies are told and
 * what the kernel has are one and the same. Addresses, nodes and membership come from the compiled records.
 *
 * I1: a pod is captured exactly when its record says HBONE, as istio-cni would decide; waypoints never are (R46).
 */
import { ipFromBytes, parseCidr } from '../base/address.ts';
import { AmbitError } from '../base/errors.ts';
import type { Compilation } from '../compile/compile.ts';
import type { GatewayRecord } from '../compile/gateways.ts';
import type { LabApp, LabNode, LabPod, LabService, Topology } from '../lab/topology.ts';
import type { Service, Workload } from '../mesh/model.ts';

export interface WaypointPlace {
  readonly gateway: GatewayRecord;
  /** Name of the pod it runs in. */
  readonly pod: string;
  readonly serviceAccount: string;
}

export interface LabPlan {
  readonly topology: Topology;
  readonly waypoints: readonly WaypointPlace[];
  /** Name and address of the pod made for the control plane. */
  readonly control: { readonly pod: string; readonly ip: string };
}

const sampleApps: ReadonlySet<string> = new Set<LabApp['kind']>(['productpage', 'details', 'reviews', 'ratings']);
const appPort = 9080;

/** Throws AmbitError `LAB_FOLDER` when the objects cannot be a lab: no pods, a pod without node or address. */
export function labPlanOf(compilation: Compilation): LabPlan {
  const all = [...compilation.workloads.values()].filter((workload) => workload.networkMode === 'standard');
  const nodes = makeNodes(all);
  // The lab makes a ztunnel pod on every node by itself.
  const workloads = all.filter((workload) => !nodes.some((node) => workload.addresses.includes(node.ztunnelIp)));
  const waypoints = findWaypoints(compilation.gateways, workloads);
  const known = [...compilation.services.values()];
  const pods = workloads.map((workload) => makePod(workload, known));
  const control = controlPod(nodes, pods);
  const services = known.flatMap((service) => makeService(service, workloads));
  return {
    topology: { nodes, pods: [...pods, control], services },
    waypoints,
    control: { pod: control.name, ip: control.ip },
  };
}

function makeNodes(workloads: readonly Workload[]): readonly LabNode[] {
  const names = [...new Set(workloads.map((workload) => workload.node))].sort();
  if (names.length === 0 || names.includes('')) {
    throw labError('every pod needs spec.nodeName and status.podIP, and there must be one');
  }
  return names.map((name, index) => {
    const own = workloads.filter((workload) => workload.node === name).flatMap(({ addresses }) => addresses);
    const address = own.find((ip) => !ip.includes(':')) ?? own[0] ?? '';
    const prefix = /^(\d+\.\d+\.\d+)\.\d+$/.exec(address)?.[1];
    if (prefix === undefined) throw labError(`pods of ${name} need an IPv4 address, not ${JSON.stringify(address)}`);
    const ztunnel = workloads.find((pod) => pod.node === name && pod.serviceAccount === 'ztunnel')?.addresses[0];
    const ip = `172.18.0.${index + 2}`;
    const ipv4 = { ip, podCidr: `${prefix}.0/24`, gateway: `${prefix}.1`, ztunnelIp: ztunnel ?? `${prefix}.2` };
    return { name, ...ipv4, ...ipv6Part(name, index, workloads) };
  });
}

/** All nodes get IPv6 as soon as one pod has it; a node's block is the /64 of its first such pod. */
function ipv6Part(node: string, index: number, workloads: readonly Workload[]): Pick<LabNode, 'ipv6'> {
  const isWide = (ip: string) => ip.includes(':');
  if (!workloads.some(({ addresses }) => addresses.some(isWide))) return {};
  const first = workloads.find((each) => each.node === node && each.addresses.some(isWide))?.addresses.find(isWide);
  const block = parseCidr(first === undefined ? `fd00:10:244:ff${index}::/64` : `${first}/64`);
  if (block === undefined) throw labError(`${first} is no address`);
  const at = (last: number) => ipFromBytes(Uint8Array.of(...block.bytes.subarray(0, 15), last)) ?? '';
  return { ipv6: { ip: `fd00:172:18::${index + 2}`, podCidr: block.text, gateway: at(1) } };
}

function findWaypoints(gateways: Compilation['gateways'], workloads: readonly Workload[]): readonly WaypointPlace[] {
  return [...gateways.values()].flatMap((gateway) =>
    workloads
      .filter((workload) => gateway.service !== undefined && workload.services.has(gateway.service))
      .map((workload) => ({ gateway, pod: workload.name, serviceAccount: workload.serviceAccount })),
  );
}

function makePod(workload: Workload, services: readonly Service[]): LabPod {
  const { name, namespace, serviceAccount, node, canonicalName, canonicalRevision } = workload;
  const app = sampleApps.has(canonicalName) ? sampleApp(canonicalName as LabApp['kind'], services) : undefined;
  return {
    name,
    namespace,
    serviceAccount,
    node,
    ip: workload.addresses[0] ?? '',
    ...(workload.addresses[1] === undefined ? {} : { secondIp: workload.addresses[1] }),
    labels: { app: canonicalName, version: canonicalRevision },
    captured: workload.tunnelProtocol === 'hbone' && !workload.nativeTunnel,
    ...(app === undefined ? {} : { app }),
  };
}

function sampleApp(kind: LabApp['kind'], services: readonly Service[]): LabApp {
  const env: Record<string, string> = {};
  for (const name of ['details', 'reviews', 'ratings']) {
    const vip = services.find((service) => service.name === name)?.addresses[0]?.ip;
    if (vip !== undefined) env[`${name.toUpperCase()}_HOST`] = `${vip}:${appPort}`;
  }
  return { kind, port: appPort, env };
}

/** Outside the mesh, on the first node, at the first address from .10 on that is free. */
function controlPod(nodes: readonly LabNode[], pods: readonly LabPod[]): LabPod {
  const [node] = nodes as [LabNode];
  const taken = new Set([...pods.map((pod) => pod.ip), node.gateway, node.ztunnelIp]);
  const prefix = node.gateway.replace(/\d+$/, '');
  const last = Array.from({ length: 244 }, (_, i) => `${prefix}${10 + i}`).find((ip) => !taken.has(ip));
  if (last === undefined) throw labError(`no free address in ${node.podCidr} for the control plane`);
  const serviceAccount = 'ambit-control';
  const labels = { app: 'ambit-control' };
  return {
    name: 'control',
    namespace: 'ambit-system',
    serviceAccount,
    node: node.name,
    ip: last,
    // Far from what pods are given.
    ...(node.ipv6 === undefined ? {} : { secondIp: `${node.ipv6.gateway.slice(0, -1)}ffff` }),
    labels,
    captured: false,
  };
}

function makeService(service: Service, workloads: readonly Workload[]): readonly LabService[] {
  const [vip, secondVip] = service.addresses.map(({ ip }) => ip);
  if (vip === undefined) return [];
  const endpoints = workloads.filter((workload) => workload.services.has(service.key)).map((workload) => workload.name);
  const ports = [...service.ports.values()].map(({ servicePort, targetPort }) => ({
    port: servicePort,
    targetPort: targetPort === 0 ? servicePort : targetPort,
  }));
  const { name, namespace } = service;
  return [{ name, namespace, vip, ...(secondVip === undefined ? {} : { secondVip }), ports, endpoints }];
}

function labError(message: string): AmbitError {
  return new AmbitError(`this folder cannot be a lab: ${message}`, { code: 'LAB_FOLDER', origin: 'local' });
}
