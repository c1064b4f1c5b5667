/**
 * Which addresses a waypoint may call. It stands inside the cluster: whoever answers for a name must not lead it to itself, to
 * the cloud's metadata or to pods (DNS rebinding), and whoever may write a ServiceEntry or an EndpointSlice in one namespace
 * must not reach the admin port of a waypoint that serves many.
 */
import { type Cidr, cidrContains, ipToBytes, type SocketAddress } from '../base/address.ts';
import type { Workload } from '../mesh/model.ts';
import { isLocalAddress, isPublicAddress } from '../net/public-address.ts';

/**
 * Who chose the address: the node, for a pod of the mesh; whoever wrote the ServiceEntry, WorkloadEntry or EndpointSlice; who
 * answers for a name inside the mesh, or outside of it; or the client, who named it (DYNAMIC_DNS).
 */
export type AddressOrigin = 'pod' | 'written' | 'internal-name' | 'external-name' | 'named-by-client';

export interface EgressGuard {
  /** Why the address may not be called; undefined: it may. */
  refusal(address: SocketAddress, origin: AddressOrigin): string | undefined;
}

export interface EgressGuardFacts {
  /** What the operator named, whatever it is. */
  readonly allowed: readonly Cidr[];
  /** A pod or a service has the address. */
  readonly isOfMesh: (ip: string) => boolean;
  /** The waypoint itself listens there. */
  readonly isOwn: (address: SocketAddress) => boolean;
}

export function createEgressGuard({ allowed, isOfMesh, isOwn }: EgressGuardFacts): EgressGuard {
  return {
    refusal(address, origin) {
      const { ip } = address;
      if (allowed.length > 0 && isAllowed(allowed, ip)) return undefined;
      if (isOwn(address)) return `${ip} is this waypoint`;
      if (origin === 'pod') return undefined;
      if (isLocalAddress(ip)) return `${ip} is this machine or its link`;
      if (origin === 'written' || origin === 'internal-name') return undefined;
      if (isOfMesh(ip)) return `${ip} belongs to the mesh`;
      if (origin === 'named-by-client' && !isPublicAddress(ip)) return `${ip} is no public address`;
      return undefined;
    },
  };
}

/**
 * Who chose the workload's addresses, by the kind of object that its uid names (`cluster/group/kind/…`, as istiod makes them):
 * those of a Pod, the only kind of Kubernetes' own group, are its status, which no user writes. Anybody may have written others.
 */
export function addressOrigin({ uid }: Workload): 'pod' | 'written' {
  return /^[^/]*\/\/Pod\//.test(uid) ? 'pod' : 'written';
}

function isAllowed(allowed: readonly Cidr[], ip: string): boolean {
  const bytes = ipToBytes(ip);
  return allowed.some((cidr) => cidrContains(cidr, bytes));
}
