/**
 * Workloads, services and L4 policies as immutable records: what ztunnel and waypoint know of the mesh.
 * Field meanings follow `istio.workload` and `istio.security` of Istio's workload API; records from YAML and from xDS
 * are the same. Records are replaced, never changed, so a connection may keep those it was decided on (design rule 8).
 */
import type { Cidr } from '../base/address.ts';
import type { SpiffeId } from '../base/spiffe.ts';

/** `namespace/hostname`. */
export type ServiceKey = string;
/** `namespace/name`. */
export type PolicyKey = string;

export type AppProtocol = 'unknown' | 'http11' | 'http2' | 'grpc' | 'tcp' | 'tls';

export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

/** Where a waypoint or a network's gateway is found. */
export type GatewayAddress =
  | { readonly kind: 'address'; readonly network: string; readonly ip: string; readonly hbonePort: number }
  | { readonly kind: 'hostname'; readonly service: ServiceKey; readonly hbonePort: number };

export interface Workload {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly network: string;
  readonly addresses: readonly string[];
  readonly hostname: string;
  readonly trustDomain: string;
  readonly serviceAccount: string;
  readonly identity: SpiffeId;
  readonly tunnelProtocol: 'none' | 'hbone';
  /** The pod terminates HBONE itself (a sidecar, or another mesh-aware program). */
  readonly nativeTunnel: boolean;
  readonly networkMode: 'standard' | 'host';
  readonly node: string;
  readonly clusterId: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  /** Of the object behind it; undefined: not known, as from the workload API, which has none. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly workloadType: 'deployment' | 'cronjob' | 'pod' | 'job';
  readonly workloadName: string;
  readonly locality: Locality | undefined;
  readonly capacity: number;
  readonly healthy: boolean;
  /** Service → (service port → target port) of the services this workload is an endpoint of. */
  readonly services: ReadonlyMap<ServiceKey, ReadonlyMap<number, number>>;
  /** Policies that select this workload (scope `workload`). */
  readonly authorizationPolicies: readonly PolicyKey[];
  readonly waypoint: GatewayAddress | undefined;
  readonly networkGateway: GatewayAddress | undefined;
  readonly applicationTunnel: { readonly protocol: 'none' | 'proxy'; readonly port: number } | undefined;
}

export interface ServicePort {
  readonly servicePort: number;
  /** 0: a named port, resolved per endpoint. */
  readonly targetPort: number;
  readonly appProtocol: AppProtocol;
  /** Name of the port in the Service object; the article's chain names carry it. Empty when unknown. */
  readonly name: string;
}

export type Scope = 'region' | 'zone' | 'subzone' | 'node' | 'cluster' | 'network';

export interface LoadBalancing {
  readonly preferences: readonly Scope[];
  readonly mode: 'any' | 'strict' | 'failover' | 'passthrough';
  readonly allowUnhealthy: boolean;
}

export interface WeightedWaypoint {
  readonly destination: GatewayAddress;
  /** Not negative; relative to the sum of all. */
  readonly weight: number;
}

export interface Service {
  readonly key: ServiceKey;
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  readonly addresses: readonly { readonly network: string; readonly ip: string }[];
  readonly cidrs: readonly { readonly network: string; readonly cidr: Cidr }[];
  readonly ports: ReadonlyMap<number, ServicePort>;
  readonly subjectAltNames: readonly SpiffeId[];
  readonly waypoint: GatewayAddress | undefined;
  /** When not empty, one of them is drawn by weight for each connection, instead of `waypoint`. */
  readonly weightedWaypoints: readonly WeightedWaypoint[];
  readonly loadBalancing: LoadBalancing;
  readonly ipFamilies: 'automatic' | 'ipv4' | 'ipv6' | 'dual';
  readonly canonical: boolean;
  readonly visibility: 'public' | 'namespace';
}

export type StringMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix'; readonly value: string }
  | { readonly kind: 'presence' };

/** All set fields must hold; within a field any positive value suffices and no negative one may match. */
export interface PolicyMatch {
  readonly namespaces: readonly StringMatch[];
  readonly notNamespaces: readonly StringMatch[];
  /** Compared with the peer's id without `spiffe://`. */
  readonly principals: readonly StringMatch[];
  readonly notPrincipals: readonly StringMatch[];
  readonly serviceAccounts: readonly { readonly namespace: string; readonly serviceAccount: string }[];
  readonly notServiceAccounts: readonly { readonly namespace: string; readonly serviceAccount: string }[];
  readonly sourceIps: readonly Cidr[];
  readonly notSourceIps: readonly Cidr[];
  readonly destinationIps: readonly Cidr[];
  readonly notDestinationIps: readonly Cidr[];
  readonly destinationPorts: readonly number[];
  readonly notDestinationPorts: readonly number[];
}

export interface L4Policy {
  readonly key: PolicyKey;
  readonly name: string;
  readonly namespace: string;
  readonly scope: 'global' | 'namespace' | 'workload';
  readonly action: 'allow' | 'deny';
  readonly dryRun: boolean;
  /** rules OR, clauses AND, matches OR. */
  readonly rules: readonly (readonly (readonly PolicyMatch[])[])[];
}

/**
 * The policies in force for a workload: global, its namespace's, and those it names; in this order, without repetition.
 * One object for all workloads to which the same apply, and the same one after a change: its lists are replaced then.
 */
export interface PoliciesInForce {
  readonly policies: readonly L4Policy[];
  /** Named but unknown. */
  readonly missing: readonly PolicyKey[];
}

/** A change of the mesh as plain data: what xDS, a folder or a test hands to the store. */
export interface MeshChange {
  readonly workloads: readonly Workload[];
  readonly services: readonly Service[];
  readonly policies: readonly L4Policy[];
  readonly removedWorkloads: readonly string[];
  readonly removedServices: readonly ServiceKey[];
  readonly removedPolicies: readonly PolicyKey[];
}
