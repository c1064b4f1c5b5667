/** Turns a topology into namespaces, links, addresses and routes. Each step runs inside the namespace it is about. */

import type { IpFamily } from '../base/address.ts';
import { mustRun } from './command.ts';
import { createNamespace, inNamespace, type LabNamespace, runIp, setSysctls } from './namespace.ts';
import { serviceChains, serviceRules } from './services.ts';
import { type LabNode, type LabPod, podIps, type Topology, usesIpv6, ztunnelName } from './topology.ts';
import {
  hostInterface,
  ipv6Sysctls,
  nodeIpv6Sysctls,
  nodeLinkLines,
  nodeRouteLines,
  nodeSysctls,
  podHostLines,
  podLines,
} from './wiring.ts';

/** Makes the nodes' namespaces, joins them pairwise, and gives each the chains that stand for kube-proxy. */
export async function buildNodes(directory: string, nodes: readonly LabNode[]): Promise<readonly LabNamespace[]> {
  const namespaces = await Promise.all(
    nodes.map(async (node) => {
      const namespace = await createNamespace(directory, node.name);
      if (node.ipv6 !== undefined) await setSysctls(namespace, nodeIpv6Sysctls);
      return namespace;
    }),
  );
  await eachPair(namespaces, async (near, far, i, j) => {
    if (i < j) await runIp(near, nodeLinkLines(i, j, far.path));
  });
  await eachPair(namespaces, (near, _far, i, j) => runIp(near, nodeRouteLines(nodes, i, j)));
  await Promise.all(
    namespaces.map(async (namespace, i) => {
      await setSysctls(namespace, nodeSysctls);
      await restoreRules(namespace, 4, serviceChains());
      if (nodes[i]?.ipv6 !== undefined) await restoreRules(namespace, 6, serviceChains());
    }),
  );
  return namespaces;
}

/** Makes a pod's namespace and its link to its node. Also used for ztunnel's own pod. */
export async function buildPod(
  directory: string,
  node: LabNode,
  nodeNamespace: LabNamespace,
  pod: Pick<LabPod, 'name' | 'ip' | 'secondIp'>,
): Promise<LabNamespace> {
  const ips = podIps(pod);
  const namespace = await createNamespace(directory, pod.name);
  if (ips.some((ip) => ip.includes(':'))) await setSysctls(namespace, ipv6Sysctls);
  await runIp(nodeNamespace, podHostLines(node, pod.name, ips, namespace.path));
  await runIp(namespace, podLines(node, ips));
  return namespace;
}

export function buildZtunnel(directory: string, node: LabNode, nodeNamespace: LabNamespace): Promise<LabNamespace> {
  return buildPod(directory, node, nodeNamespace, { name: ztunnelName(node), ip: node.ztunnelIp });
}

/** Takes a pod's link away, and with it the addresses and routes that used it. */
export async function unlinkPod(nodeNamespace: LabNamespace, pod: string): Promise<void> {
  await runIp(nodeNamespace, [`link del ${hostInterface(pod)}`]);
}

/** Installs the services' rules on a node, replacing the former ones at once. */
export async function installServices(nodeNamespace: LabNamespace, topology: Topology): Promise<void> {
  const { services, pods } = topology;
  await restoreRules(nodeNamespace, 4, serviceRules(services, pods));
  if (usesIpv6(topology)) await restoreRules(nodeNamespace, 6, serviceRules(services, pods, 6));
}

async function restoreRules(namespace: LabNamespace, family: IpFamily, text: string): Promise<void> {
  const command = family === 4 ? 'iptables-restore' : 'ip6tables-restore';
  await mustRun(inNamespace(namespace, [command, '--noflush']), { stdin: text });
}

async function eachPair(
  namespaces: readonly LabNamespace[],
  act: (near: LabNamespace, far: LabNamespace, i: number, j: number) => Promise<void>,
): Promise<void> {
  for (const [i, near] of namespaces.entries()) {
    for (const [j, far] of namespaces.entries()) if (i !== j) await act(near, far, i, j);
  }
}
