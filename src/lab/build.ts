/** Turns a topology into namespaces, links, addresses and routes. Each step runs inside the namespace it is about. */

import { mustRun } from './command.ts';
import { createNamespace, inNamespace, type LabNamespace, runIp, setSysctls } from './namespace.ts';
import { serviceChains, serviceRules } from './services.ts';
import { type LabNode, type LabPod, type LabService, ztunnelName } from './topology.ts';
import { hostInterface, nodeLinkLines, nodeRouteLines, nodeSysctls, podHostLines, podLines } from './wiring.ts';

/** Makes the nodes' namespaces, joins them pairwise, and gives each the chains that stand for kube-proxy. */
export async function buildNodes(directory: string, nodes: readonly LabNode[]): Promise<readonly LabNamespace[]> {
  const namespaces = await Promise.all(nodes.map((node) => createNamespace(directory, node.name)));
  await eachPair(namespaces, async (near, far, i, j) => {
    if (i < j) await runIp(near, nodeLinkLines(i, j, far.path));
  });
  await eachPair(namespaces, (near, _far, i, j) => runIp(near, nodeRouteLines(nodes, i, j)));
  await Promise.all(
    namespaces.map(async (namespace) => {
      await setSysctls(namespace, nodeSysctls);
      await restoreRules(namespace, serviceChains());
    }),
  );
  return namespaces;
}

/** Makes a pod's namespace and its link to its node. Also used for ztunnel's own pod. */
export async function buildPod(
  directory: string,
  node: LabNode,
  nodeNamespace: LabNamespace,
  pod: Pick<LabPod, 'name' | 'ip'>,
): Promise<LabNamespace> {
  const namespace = await createNamespace(directory, pod.name);
  await runIp(nodeNamespace, podHostLines(node, pod.name, pod.ip, namespace.path));
  await runIp(namespace, podLines(node, pod.ip));
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
export async function installServices(
  nodeNamespace: LabNamespace,
  services: readonly LabService[],
  pods: readonly LabPod[],
): Promise<void> {
  await restoreRules(nodeNamespace, serviceRules(services, pods));
}

async function restoreRules(namespace: LabNamespace, text: string): Promise<void> {
  await mustRun(inNamespace(namespace, ['iptables-restore', '--noflush']), { stdin: text });
}

async function eachPair(
  namespaces: readonly LabNamespace[],
  act: (near: LabNamespace, far: LabNamespace, i: number, j: number) => Promise<void>,
): Promise<void> {
  for (const [i, near] of namespaces.entries()) {
    for (const [j, far] of namespaces.entries()) if (i !== j) await act(near, far, i, j);
  }
}
