/** Where a request can go: one workload at one address, how it is reached, and what is spoken there. Plain data. */
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { TunnelRequest } from '../hbone/seam.ts';
import type { Workload } from '../mesh/model.ts';
import type { SocketProfile } from '../net/socket-spec.ts';
import type { UpstreamProfile } from './profile.ts';
import type { UpstreamProtocol } from './protocol.ts';

export type { UpstreamProtocol } from './protocol.ts';

export interface UpstreamEndpoint {
  readonly workload: Workload;
  /** The application's address: what the tunnel's authority names, or what is dialled. `ip` is the name of one known by name. */
  readonly address: SocketAddress;
  readonly transport:
    | { readonly kind: 'tunnel'; readonly request: TunnelRequest }
    /** Not in the mesh: plain TCP. */
    | { readonly kind: 'plain'; readonly socket: SocketProfile }
    /** The same, looked up as connections are made. `everywhere`: they are spread over all addresses it has. */
    | {
        readonly kind: 'name';
        readonly hostname: string;
        readonly everywhere: boolean;
        readonly socket: SocketProfile;
      };
  /** Undefined: nothing but HTTP, with the limits of any pool. */
  readonly profile?: UpstreamProfile | undefined;
  /** PROXY protocol, written before anything else: the connection is then one client's alone. */
  readonly preface?: { readonly key: string; readonly bytes: Uint8Array } | undefined;
}

/** Requests of equal key may share connections: same address, same identities at both ends, same protocol. */
export function poolKey(endpoint: UpstreamEndpoint, protocol: UpstreamProtocol): string {
  const { transport, profile, preface } = endpoint;
  const address = formatSocketAddress(endpoint.address);
  const spoken = profile === undefined ? '' : `|${profile.key}|${preface?.key ?? ''}`;
  if (transport.kind !== 'tunnel') return `${protocol}|${transport.kind}|${address}${spoken}`;
  const { target, authority } = transport.request;
  const peer = formatSocketAddress(target.peer);
  return `${protocol}|tunnel|${authority}|${peer}|${target.sourceIdentity}|${target.expectedIdentities.join(',')}${spoken}`;
}
