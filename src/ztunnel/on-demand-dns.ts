/**
 * Names of endpoints resolved when a connection needs them, counted as `istio_on_demand_dns_total` by source and name
 * (ztunnel.md §8.1). The names are the mesh's, so their number is bounded by it.
 */
import type { MetricsRegistry } from '../base/metrics.ts';
import type { NameResolver } from '../net/name-resolver.ts';
import type { ZtunnelServices } from './context.ts';
import { workloadLabels } from './hop-labels.ts';

const help = 'Names of endpoints that connections have asked for.';

export function onDemandDns(
  resolver: Pick<NameResolver, 'resolve'>,
  metrics: MetricsRegistry,
): ZtunnelServices['resolve'] {
  return (hostname, prefer, source) => {
    const labels = workloadLabels(source, source?.identity);
    const counted = {
      source_workload: labels.workload,
      source_canonical_service: labels.canonicalService,
      source_canonical_revision: labels.canonicalRevision,
      source_workload_namespace: labels.namespace,
      source_principal: labels.principal,
      source_app: labels.app,
      source_version: labels.version,
      source_cluster: labels.cluster,
      source_region: labels.region,
      source_zone: labels.zone,
      hostname,
    };
    metrics.counter('istio_on_demand_dns_total', help, counted).value++;
    return resolver.resolve(hostname, prefer);
  };
}
