/**
 * What a lab looks like, as data: nodes, pods and services with their addresses. No Kubernetes objects here; the same
 * names and addresses appear in the YAML that configures the mesh.
 *
 * I1: names of nodes, ztunnels and pods are one set, since each names a network namespace; addresses are unique.
 */

import { canonicalIp, cidrContains, type IpFamily, ipFamily, ipToBytes, parseCidr } from '../base/address.ts';
import { AmbitError } from '../base/errors.ts';

export interface LabNode {
  readonly name: string;
  /** The node's own address, on the link between nodes. */
  readonly ip: string;
  readonly podCidr: string;
  /** The node's address towards its pods. */
  readonly gateway: string;
  /** Address of the node's ztunnel pod. Its namespace is named `ztunnelName(node)`. */
  readonly ztunnelIp: string;
  /** The same in IPv6, when there is any in this lab: all nodes or none. ztunnel's own pod has IPv4 alone. */
  readonly ipv6?: { readonly ip: string; readonly podCidr: string; readonly gateway: string };
}

export interface LabPod {
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** A node's name. */
  readonly node: string;
  /** Of either family. */
  readonly ip: string;
  /** A dual-stack pod's other address. */
  readonly secondIp?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Whether its traffic is redirected to ztunnel. Never for waypoints. */
  readonly captured: boolean;
  /** The sample program to run in it. */
  readonly app?: LabApp;
}

export interface LabApp {
  readonly kind: 'productpage' | 'details' | 'reviews' | 'ratings';
  readonly port: number;
  readonly env?: Readonly<Record<string, string>>;
}

export interface LabService {
  readonly name: string;
  readonly namespace: string;
  /** Of either family. Endpoints without an address of the family are none of it. */
  readonly vip: string;
  readonly secondVip?: string;
  readonly ports: readonly { readonly port: number; readonly targetPort: number }[];
  /** Names of pods. */
  readonly endpoints: readonly string[];
}

export interface Topology {
  readonly nodes: readonly LabNode[];
  readonly pods: readonly LabPod[];
  readonly services: readonly LabService[];
}

/** The name of the namespace in which a node's ztunnel pod runs. */
export function ztunnelName(node: Pick<LabNode, 'name'>): string {
  return `ztunnel-${node.name}`;
}

export function podIps(pod: Pick<LabPod, 'ip' | 'secondIp'>): readonly string[] {
  return pod.secondIp === undefined ? [pod.ip] : [pod.ip, pod.secondIp];
}

export function serviceVips(service: Pick<LabService, 'vip' | 'secondVip'>): readonly string[] {
  return service.secondVip === undefined ? [service.vip] : [service.vip, service.secondVip];
}

/** The one of some addresses that is of a family. */
export function ipOfFamily(ips: readonly string[], family: IpFamily): string | undefined {
  return ips.find((ip) => ipFamily(ip) === family);
}

/** Whether there is any IPv6 in it; without, nothing is done for it. */
export function usesIpv6({ nodes }: Topology): boolean {
  return nodes.some(({ ipv6 }) => ipv6 !== undefined);
}

/** Everything wrong with a topology, one line each; empty when it can be built. */
export function topologyProblems(topology: Topology): string[] {
  const { nodes, pods, services } = topology;
  const problems: string[] = [];
  const names = [...nodes.flatMap((node) => [node.name, ztunnelName(node)]), ...pods.map((pod) => pod.name)];
  for (const name of names) {
    if (!/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(name)) problems.push(`${name}: not a DNS label`);
  }
  const narrow = nodes.flatMap((node) => [node.ip, node.gateway, node.ztunnelIp]);
  for (const address of narrow) {
    if (canonicalIp(address) !== address || address.includes(':')) problems.push(`${address}: not an IPv4 address`);
  }
  const wide = nodes.flatMap(({ ipv6 }) => (ipv6 === undefined ? [] : [ipv6.ip, ipv6.gateway]));
  if (nodes.some(({ ipv6 }) => ipv6 === undefined) && usesIpv6(topology)) problems.push('some nodes are without IPv6');
  const others = [...wide, ...pods.flatMap(podIps), ...services.flatMap(serviceVips)];
  for (const address of others) {
    if (canonicalIp(address) !== address) problems.push(`${address}: not an IP address`);
    else if (address.includes(':') && !usesIpv6(topology)) problems.push(`${address}: the nodes have no IPv6`);
  }
  const addresses = [...narrow, ...others];
  problems.push(...duplicates(names), ...duplicates(addresses));
  problems.push(...duplicates(services.map((service) => `${service.name}.${service.namespace}`)));
  for (const pod of pods) problems.push(...podProblems(topology, pod));
  for (const service of services) {
    for (const endpoint of service.endpoints) {
      if (!pods.some((pod) => pod.name === endpoint)) problems.push(`service ${service.name}: no pod ${endpoint}`);
    }
  }
  return problems;
}

/** Throws `LAB_TOPOLOGY` with all problems. */
export function assertTopology(topology: Topology): void {
  const problems = topologyProblems(topology);
  if (problems.length === 0) return;
  throw new AmbitError(`this lab cannot be built:\n${problems.join('\n')}`, { code: 'LAB_TOPOLOGY', origin: 'local' });
}

function podProblems({ nodes }: Topology, pod: LabPod): string[] {
  const node = nodes.find((candidate) => candidate.name === pod.node);
  if (node === undefined) return [`pod ${pod.name}: no node ${pod.node}`];
  if (pod.secondIp !== undefined && ipFamily(pod.secondIp) === ipFamily(pod.ip)) {
    return [`pod ${pod.name}: two addresses of one family`];
  }
  return podIps(pod).flatMap((ip) => {
    const text = ipFamily(ip) === 4 ? node.podCidr : node.ipv6?.podCidr;
    if (text === undefined || canonicalIp(ip) !== ip) return [];
    const cidr = parseCidr(text);
    if (cidr === undefined) return [`node ${node.name}: podCidr ${text} is not a CIDR block`];
    if (cidrContains(cidr, ipToBytes(ip))) return [];
    return [`pod ${pod.name}: ${ip} is outside ${text} of ${node.name}`];
  });
}

function duplicates(values: readonly string[]): string[] {
  return values.filter((value, i) => values.indexOf(value) !== i).map((value) => `${value}: used twice`);
}
