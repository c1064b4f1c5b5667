/** Where a request can go: one workload at one address, and how it is reached. Plain data. */
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { TunnelRequest } from '../hbone/seam.ts';
import type { Workload } from '../mesh/model.ts';
import type { SocketProfile } from '../net/socket-spec.ts';

export type UpstreamProtocol = 'h1' | 'h2c';

export interface UpstreamEndpoint {
  readonly workload: Workload;
  /** The application's address: what the tunnel's authority names, or what is dialled. */
  readonly address: SocketAddress;
  readonly transport:
    | { readonly kind: 'tunnel'; readonly request: TunnelRequest }
    /** Not in the mesh: plain TCP. */
    | { readonly kind: 'plain'; readonly socket: SocketProfile };
}

/** Requests of equal key may share connections: same address, same identities at both ends, same protocol. */
export function poolKey(endpoint: UpstreamEndpoint, protocol: UpstreamProtocol): string {
  const address = formatSocketAddress(endpoint.address);
  if (endpoint.transport.kind === 'plain') return `${protocol}|plain|${address}`;
  const { target, authority } = endpoint.transport.request;
  const peer = formatSocketAddress(target.peer);
  return `${protocol}|tunnel|${authority}|${peer}|${target.sourceIdentity}|${target.expectedIdentities.join(',')}`;
}
