/**
 * Links, addresses and routes of nodes and pods as lines for `ip -batch`: pure, from the topology.
 *
 * Pods are wired point to point, as kind does it: /32 on both ends, everything through the node (so that the node sees
 * pod-to-pod traffic), no bridge. IPv6 the same way with /128. Nodes are joined pairwise. See docs/lab.md.
 */
import { createHash } from 'node:crypto';
import { ipFamily } from '../base/address.ts';
import type { LabNode } from './topology.ts';

const longestInterfaceName = 15;

/** Sysctls of a node: it routes, and packets may arrive where no route leads back (redirection needs that). */
export const nodeSysctls: Readonly<Record<string, string>> = {
  'net.ipv4.ip_forward': '1',
  'net.ipv4.conf.all.rp_filter': '0',
  'net.ipv4.conf.default.rp_filter': '0',
};

/** To be set in a namespace before its links are made: an address of theirs is usable at once, without looking for twins. */
export const ipv6Sysctls: Readonly<Record<string, string>> = {
  'net.ipv6.conf.all.accept_dad': '0',
  'net.ipv6.conf.default.accept_dad': '0',
};

export const nodeIpv6Sysctls: Readonly<Record<string, string>> = {
  ...ipv6Sysctls,
  'net.ipv6.conf.all.forwarding': '1',
};

/** The node's end of a pod's link: readable, unique, and short enough for the kernel. */
export function hostInterface(pod: string): string {
  const name = `v-${pod}`;
  if (name.length <= longestInterfaceName) return name;
  return `${name.slice(0, 10)}-${createHash('sha256').update(pod).digest('hex').slice(0, 4)}`;
}

/** A node's interface towards another node: eth0 for the first other, eth1 for the next. */
function nodeInterface(from: number, to: number): string {
  return `eth${to > from ? to - 1 : to}`;
}

/** Run in node `from`, for each pair once: the link whose far end is in the namespace at `toPath`. */
export function nodeLinkLines(from: number, to: number, toPath: string): string[] {
  const near = nodeInterface(from, to);
  const far = nodeInterface(to, from);
  return [`link add ${near} type veth peer name ${far} netns ${toPath}`];
}

/** Run in node `from`, for each other node, once the links are there. */
export function nodeRouteLines(nodes: readonly LabNode[], from: number, to: number): string[] {
  const self = nodes[from];
  const other = nodes[to];
  if (self === undefined || other === undefined) throw new RangeError(`no node ${from} or ${to}`);
  const device = nodeInterface(from, to);
  return [
    `addr add ${self.ip}/32 dev ${device}`,
    `link set ${device} up`,
    `route add ${other.ip}/32 dev ${device} scope link src ${self.ip}`,
    `route add ${other.podCidr} via ${other.ip} dev ${device} onlink`,
    ...(self.ipv6 === undefined || other.ipv6 === undefined
      ? []
      : [
          `addr add ${self.ipv6.ip}/128 dev ${device} nodad`,
          `route add ${other.ipv6.ip}/128 dev ${device} src ${self.ipv6.ip}`,
          `route add ${other.ipv6.podCidr} via ${other.ipv6.ip} dev ${device}`,
        ]),
  ];
}

/** Run in the node: its end of a pod's link, made together with the pod's `eth0`. */
export function podHostLines(node: LabNode, pod: string, ips: readonly string[], podPath: string): string[] {
  const device = hostInterface(pod);
  return [
    `link add ${device} type veth peer name eth0 netns ${podPath}`,
    ...ips.map((ip) =>
      ipFamily(ip) === 4
        ? `addr add ${node.gateway}/32 dev ${device}`
        : `addr add ${node.ipv6?.gateway}/128 dev ${device} nodad`,
    ),
    `link set ${device} up`,
    ...ips.map((ip) =>
      ipFamily(ip) === 4 ? `route add ${ip}/32 dev ${device} scope host` : `route add ${ip}/128 dev ${device}`,
    ),
  ];
}

/** Run in the pod. */
export function podLines(node: LabNode, ips: readonly string[]): string[] {
  return [
    ...ips.map((ip) => (ipFamily(ip) === 4 ? `addr add ${ip}/32 dev eth0` : `addr add ${ip}/128 dev eth0 nodad`)),
    'link set eth0 up',
    ...ips.flatMap((ip) =>
      ipFamily(ip) === 4
        ? [`route add ${node.gateway} dev eth0 scope link src ${ip}`, `route add default via ${node.gateway} dev eth0`]
        : [
            `route add ${node.ipv6?.gateway}/128 dev eth0 src ${ip}`,
            `route add default via ${node.ipv6?.gateway} dev eth0`,
          ],
    ),
  ];
}
