/** Whether one workload can serve a query, and how it is reached. What does not depend on the client's address family. */
import { type IpFamily, ipFamily } from '../base/address.ts';
import type { EndpointQuery, NoEndpointReason, ReachableEndpoint } from './endpoint-query.ts';
import type { Service, Workload } from './model.ts';

/** Why the workload cannot be an endpoint; undefined: it can, and `reach` answers. */
export function obstacle(workload: Workload, query: EndpointQuery): NoEndpointReason | undefined {
  const { service } = query;
  if (query.exclude?.has(workload.uid) === true) return 'all-excluded';
  if (!workload.healthy && !service.loadBalancing.allowUnhealthy) return 'all-unhealthy';
  if (targetPort(workload, query) === undefined) return 'no-port-on-endpoints';
  if (workload.network !== networkOf(query)) {
    return workload.networkGateway === undefined ? 'no-network-gateway' : undefined;
  }
  const reachable = chooseAddress(workload, service.ipFamilies, undefined) !== undefined || workload.hostname !== '';
  return reachable ? undefined : 'no-usable-address';
}

/** Undefined where there is an `obstacle`. */
export function reach(workload: Workload, query: EndpointQuery): ReachableEndpoint | undefined {
  const port = targetPort(workload, query);
  if (port === undefined) return undefined;
  if (workload.network !== networkOf(query)) {
    const gateway = workload.networkGateway;
    return gateway === undefined ? undefined : { kind: 'remote', workload, gateway, port };
  }
  const ip = chooseAddress(workload, query.service.ipFamilies, query.preferFamily);
  if (ip !== undefined) return { kind: 'endpoint', workload, ip, port };
  return workload.hostname === '' ? undefined : { kind: 'hostname', workload, hostname: workload.hostname, port };
}

/** The workload's own address for a client of a family, after the service's families; undefined when it has none. */
export function chooseAddress(
  workload: Workload,
  families: Service['ipFamilies'],
  prefer: IpFamily | undefined,
): string | undefined {
  // Looked at ten thousand at a time: what need not be parsed is not.
  if (prefer === undefined && families !== 'ipv4' && families !== 'ipv6') return workload.addresses[0];
  let first: string | undefined;
  for (const ip of workload.addresses) {
    const family = ipFamily(ip);
    if ((families === 'ipv4' && family !== 4) || (families === 'ipv6' && family !== 6)) continue;
    if (prefer === undefined || family === prefer) return ip;
    first ??= ip;
  }
  return first;
}

export function networkOf(query: EndpointQuery): string {
  return query.source?.network ?? query.network ?? '';
}

/** The endpoint's own mapping, then the service's, then the same port where a program behind a tunnel takes them all. */
function targetPort(workload: Workload, query: EndpointQuery): number | undefined {
  const { service, servicePort, resolution } = query;
  const own = workload.services.get(service.key)?.get(servicePort);
  if (own !== undefined && own !== 0) return own;
  const target = service.ports.get(servicePort)?.targetPort ?? 0;
  if (target !== 0) return target;
  return resolution === 'waypoint' && workload.applicationTunnel !== undefined ? servicePort : undefined;
}
