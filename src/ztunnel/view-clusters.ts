/** Clusters and endpoints of the views (figures 6 and 7): what a filter chain leads to, and by which identities. */
import { formatSocketAddress } from '../base/address.ts';
import type { GatewayAddress, Service, Workload } from '../mesh/model.ts';
import { chooseAddress } from '../mesh/usable-endpoint.ts';
import type { MeshView } from '../mesh/view.ts';
import type { ZtunnelServices } from './context.ts';
import type { Match } from './matcher.ts';

export interface ClusterView {
  readonly name: string;
  readonly type: 'EDS' | 'ORIGINAL_DST' | 'STATIC';
  readonly loadBalancing: 'ROUND_ROBIN' | 'LOCALITY' | 'CLUSTER_PROVIDED';
  readonly connectTimeoutMs: number;
  /** Undefined: plain text. */
  readonly tls: TlsView | undefined;
  readonly endpoints: readonly EndpointView[];
}

export interface TlsView {
  readonly versions: 'TLSv1.3';
  readonly alpn: 'h2';
  /** Whose certificate is shown. */
  readonly certificate: string;
  /** Of which the server must prove one. */
  readonly expectedIdentities: readonly string[];
}

export interface EndpointView {
  /** Where the connection goes. */
  readonly address: string;
  readonly health: 'HEALTHY' | 'UNHEALTHY';
  readonly weight: number;
  readonly workload: string;
  /** Inside the tunnel; undefined: the original destination. */
  readonly tunnel: { readonly destination: string; readonly address: string } | undefined;
}

export function clusterOf(services: ZtunnelServices, match: Match, source: Workload | undefined): ClusterView {
  const { connectTimeoutMs } = services.preset;
  const common = { name: match.chain.cluster, connectTimeoutMs };
  switch (match.kind) {
    case 'blackhole':
      return { ...common, type: 'STATIC', loadBalancing: 'ROUND_ROBIN', tls: undefined, endpoints: [] };
    case 'passthrough':
      return { ...common, type: 'ORIGINAL_DST', loadBalancing: 'CLUSTER_PROVIDED', tls: undefined, endpoints: [] };
    case 'waypoint': {
      const found = gatewayEndpoints(services.mesh, match.gateway);
      return {
        ...common,
        type: 'EDS',
        loadBalancing: 'ROUND_ROBIN',
        tls: tls(source, found.service, found.workloads),
        endpoints: found.workloads.map((workload) => waypointEndpoint(workload, match.gateway, found.service)),
      };
    }
    case 'service': {
      const { service, port } = match;
      const workloads = services.mesh.endpoints(service.key);
      const inTunnel = workloads.filter((workload) => workload.tunnelProtocol === 'hbone');
      return {
        ...common,
        type: 'EDS',
        loadBalancing: service.loadBalancing.mode === 'any' ? 'ROUND_ROBIN' : 'LOCALITY',
        tls: inTunnel.length === 0 ? undefined : tls(source, service, inTunnel),
        endpoints: workloads.flatMap((workload) => {
          const own = workload.services.get(service.key)?.get(port.servicePort) ?? 0;
          const target = own === 0 ? port.targetPort : own;
          const ip = chooseAddress(workload, service.ipFamilies, undefined);
          return ip === undefined ? [] : [podEndpoint(services, workload, ip, target)];
        }),
      };
    }
    case 'pod': {
      const { workload } = match;
      const plain = workload.tunnelProtocol === 'none';
      const [ip] = workload.addresses;
      return {
        ...common,
        type: 'ORIGINAL_DST',
        loadBalancing: 'CLUSTER_PROVIDED',
        tls: plain ? undefined : tls(source, undefined, [workload]),
        endpoints: ip === undefined ? [] : [podEndpoint(services, workload, ip, undefined)],
      };
    }
  }
}

/** Several pods may share a cluster, as the article's original-destination clusters do: it shows them all. */
export function mergeClusters(one: ClusterView, other: ClusterView): ClusterView {
  if (other.type !== 'ORIGINAL_DST' || other.endpoints.length === 0) return one;
  const known = new Set(one.endpoints.map((endpoint) => endpoint.workload));
  const expected = [...(one.tls?.expectedIdentities ?? []), ...(other.tls?.expectedIdentities ?? [])];
  const tls = one.tls ?? other.tls;
  return {
    ...one,
    tls: tls === undefined ? undefined : { ...tls, expectedIdentities: [...new Set(expected)] },
    endpoints: [...one.endpoints, ...other.endpoints.filter((endpoint) => !known.has(endpoint.workload))],
  };
}

/** All endpoints of a waypoint, ready or not. */
function gatewayEndpoints(
  mesh: MeshView,
  gateway: GatewayAddress,
): { readonly service: Service | undefined; readonly workloads: readonly Workload[] } {
  if (gateway.kind === 'hostname') {
    return { service: mesh.service(gateway.service), workloads: mesh.endpoints(gateway.service) };
  }
  const workload = mesh.workloadByAddress(gateway.network, gateway.ip);
  if (workload !== undefined) return { service: undefined, workloads: [workload] };
  const service = mesh.serviceByAddress(gateway.network, gateway.ip, undefined);
  return { service, workloads: service === undefined ? [] : mesh.endpoints(service.key) };
}

function waypointEndpoint(workload: Workload, gateway: GatewayAddress, service: Service | undefined): EndpointView {
  const mapped = service === undefined ? 0 : (workload.services.get(service.key)?.get(gateway.hbonePort) ?? 0);
  const ip = workload.addresses[0] ?? workload.hostname;
  const address = formatSocketAddress({ ip, port: mapped === 0 ? gateway.hbonePort : mapped });
  return { ...endpointFacts(workload), address, tunnel: undefined };
}

function podEndpoint(
  services: ZtunnelServices,
  workload: Workload,
  ip: string,
  port: number | undefined,
): EndpointView {
  const destination = port === undefined ? `${ip}:*` : formatSocketAddress({ ip, port });
  if (workload.tunnelProtocol === 'none')
    return { ...endpointFacts(workload), address: destination, tunnel: undefined };
  const address = services.deliversLocally(workload)
    ? 'in process'
    : formatSocketAddress({ ip, port: services.settings.ports.hbone });
  return { ...endpointFacts(workload), address, tunnel: { destination, address } };
}

function endpointFacts(workload: Workload) {
  return {
    health: workload.healthy ? ('HEALTHY' as const) : ('UNHEALTHY' as const),
    weight: workload.capacity,
    workload: `${workload.namespace}/${workload.name}`,
  };
}

function tls(source: Workload | undefined, service: Service | undefined, workloads: readonly Workload[]): TlsView {
  return {
    versions: 'TLSv1.3',
    alpn: 'h2',
    certificate: source?.identity ?? 'none',
    expectedIdentities: [
      ...new Set<string>([...(service?.subjectAltNames ?? []), ...workloads.map((workload) => workload.identity)]),
    ],
  };
}
