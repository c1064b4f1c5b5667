/** Certificates of a ztunnel: it joins by its node's name and asks for those of the workloads on it. */
import { type IdentityDependencies, openProxySecrets, type ProxySecrets } from './proxy-identity.ts';
import type { ZtunnelProgramSettings } from './ztunnel-settings.ts';

/** Rejects with an AmbitError that says which setting is at fault. */
export function openSecrets(
  { variables, node, mode, caHeaders }: ZtunnelProgramSettings,
  dependencies: IdentityDependencies,
): Promise<ProxySecrets> {
  const proxy = {
    variables,
    trustDomain: variables.TRUST_DOMAIN,
    clusterId: variables.ISTIO_META_CLUSTER_ID ?? variables.CLUSTER_ID ?? 'Kubernetes',
    joinAs:
      node === undefined ? 'a node joins by its name: --node (NODE_NAME) is needed' : ({ kind: 'node', node } as const),
    headers: caHeaders,
    // One workload's own proxy has that workload's token: it asks for itself.
    impersonate: mode.kind !== 'dedicated',
    tls: { tls12: variables.TLS12_ENABLED, postQuantum: variables.COMPLIANCE_POLICY === 'pqc' },
  };
  return openProxySecrets(proxy, dependencies);
}
