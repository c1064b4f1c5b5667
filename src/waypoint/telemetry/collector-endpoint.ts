/** Where a collector is found: a service of the mesh, by its host name and port, and one of its endpoints. */
import { selectEndpoint } from '../../mesh/select-endpoint.ts';
import type { ServiceTarget } from '../../route/mesh-config.ts';
import type { UpstreamEndpoint } from '../../upstream/endpoint.ts';
import type { WaypointServices } from '../context.ts';
import { endpointAt } from '../endpoints.ts';
import { targetService } from '../service-tries.ts';

export function collectorEndpoint(
  services: WaypointServices,
  target: ServiceTarget,
  tried: ReadonlySet<string>,
): UpstreamEndpoint | undefined {
  const { mesh, random, settings } = services;
  const service = targetService(services, target);
  if (service === undefined) return undefined;
  const selection = selectEndpoint({
    service,
    endpoints: mesh.endpoints(service.key),
    servicePort: target.port,
    source: undefined,
    network: settings.network,
    preferFamily: 4,
    resolution: 'service',
    random,
    exclude: tried,
  });
  if (selection.kind !== 'endpoint') return undefined;
  return endpointAt(services, selection.workload, selection.ip, selection.port);
}
