/**
 * Which addresses may be called in the name of a ServiceEntry. A waypoint stands inside the cluster: whoever answers for a
 * name must not lead it to itself, to the cloud's metadata or to pods (DNS rebinding), and whoever may write a ServiceEntry
 * in one namespace must not reach the admin port of a waypoint that serves many.
 */
import { type Cidr, cidrContains, ipToBytes } from '../base/address.ts';
import { isLocalAddress, isPublicAddress } from '../net/public-address.ts';

/**
 * Who chose the address: whoever wrote the ServiceEntry; who answers for a name inside the mesh, or outside of it; or the
 * client, who named it (DYNAMIC_DNS).
 */
export type AddressOrigin = 'written' | 'internal-name' | 'external-name' | 'named-by-client';

export interface EgressGuard {
  /** Why the address may not be called; undefined: it may. */
  refusal(ip: string, origin: AddressOrigin): string | undefined;
}

/** `allowed`: what the operator named, whatever it is. `isOfMesh`: a pod or a service has the address. */
export function createEgressGuard(allowed: readonly Cidr[], isOfMesh: (ip: string) => boolean): EgressGuard {
  return {
    refusal(ip, origin) {
      if (allowed.length > 0 && isAllowed(allowed, ip)) return undefined;
      if (isLocalAddress(ip)) return `${ip} is this machine or its link`;
      if (origin === 'written' || origin === 'internal-name') return undefined;
      if (isOfMesh(ip)) return `${ip} belongs to the mesh`;
      if (origin === 'named-by-client' && !isPublicAddress(ip)) return `${ip} is no public address`;
      return undefined;
    },
  };
}

function isAllowed(allowed: readonly Cidr[], ip: string): boolean {
  const bytes = ipToBytes(ip);
  return allowed.some((cidr) => cidrContains(cidr, bytes));
}
