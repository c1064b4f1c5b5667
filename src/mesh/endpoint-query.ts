/** The words of endpoint choice: who asks for an endpoint of what, and what the answer may be. */
import type { IpFamily } from '../base/address.ts';
import type { Random } from '../base/random.ts';
import type { GatewayAddress, Service, Workload } from './model.ts';

export interface EndpointQuery {
  readonly service: Service;
  /** Endpoints of the service, as `MeshView.endpoints` gives them: another list once they have changed. */
  readonly endpoints: readonly Workload[];
  readonly servicePort: number;
  /** Who asks: its locality and network count. Undefined: localities do not match, its network is `network`. */
  readonly source: Workload | undefined;
  /** Network of the asker when `source` is undefined. Default: the empty one. */
  readonly network?: string;
  /** Family of the original destination: preferred when the endpoint has both. */
  readonly preferFamily: IpFamily | undefined;
  /** `waypoint`: an endpoint with an application tunnel takes any port. */
  readonly resolution: 'service' | 'waypoint';
  /** Endpoints to leave out, by uid: those a retry has tried. */
  readonly exclude?: ReadonlySet<string>;
  readonly random: Random;
}

/** In the order of the steps that drop candidates. */
export type NoEndpointReason =
  | 'unknown-service-port'
  | 'no-endpoints'
  | 'all-excluded'
  | 'all-unhealthy'
  | 'no-port-on-endpoints'
  | 'no-network-gateway'
  | 'no-usable-address'
  | 'no-endpoint-in-locality'
  | 'no-capacity';

export type EndpointSelection =
  | { readonly kind: 'endpoint'; readonly workload: Workload; readonly ip: string; readonly port: number }
  /** Known by name only: resolve it, then dial. */
  | { readonly kind: 'hostname'; readonly workload: Workload; readonly hostname: string; readonly port: number }
  /** On another network: through that gateway, `port` being the one to name inside the inner tunnel. */
  | { readonly kind: 'remote'; readonly workload: Workload; readonly gateway: GatewayAddress; readonly port: number }
  /** The service passes traffic through to where it was going. */
  | { readonly kind: 'passthrough' }
  | { readonly kind: 'none'; readonly reason: NoEndpointReason };

/** A selection that has been reduced to a workload. */
export type ReachableEndpoint = Extract<EndpointSelection, { readonly workload: Workload }>;
