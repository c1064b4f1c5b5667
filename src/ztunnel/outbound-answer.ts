/** The words of outbound decisions: what is asked, by what it is decided, and what the answer may be. */
import type { SocketAddress } from '../base/address.ts';
import type { ResponseFlag } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { TunnelRequest } from '../hbone/seam.ts';
import type { Service, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { SocketProfile } from '../net/socket-spec.ts';
import type { Sampler } from '../telemetry/tracing/sampler.ts';
import type { FilterChain } from './chains.ts';
import type { FilterChainMatcher } from './matcher.ts';
import type { ZtunnelSettings } from './settings.ts';
import type { SocketRules } from './socket-rules.ts';

export interface OutboundEvent {
  /** Undefined: nobody knows the client's address. */
  readonly source: Workload | undefined;
  readonly client: SocketAddress;
  readonly destination: SocketAddress;
  /** Endpoints that were tried before, by uid: they are not chosen again. */
  readonly tried?: ReadonlySet<string>;
}

export interface OutboundContext {
  readonly mesh: MeshView;
  readonly matcher: FilterChainMatcher;
  readonly settings: ZtunnelSettings;
  readonly sockets: SocketRules;
  readonly random: Random;
  /** Whose traces are kept; undefined: nobody's. */
  readonly sampler?: Sampler | undefined;
  readonly deliversLocally: (workload: Workload) => boolean;
}

export interface Decided {
  readonly chain: FilterChain;
  readonly reason: string;
  /** The service the client addressed. */
  readonly service: Service | undefined;
  /** The endpoint that was chosen of several, by uid: if it cannot be reached, another may be. */
  readonly chosen?: string;
}

export type OutboundDecision =
  /** Through a tunnel, to a waypoint or straight to the endpoint's own ztunnel. */
  | (Decided & { readonly kind: 'waypoint' | 'tunnel'; readonly endpoint: Workload; readonly request: TunnelRequest })
  /** To a server on another network: a tunnel inside one to that network's gateway, which is `endpoint`. */
  | (Decided & { readonly kind: 'nested'; readonly endpoint: Workload; readonly request: TunnelRequest })
  /** To a workload this process serves: in process. `request` is what would have gone over the network. */
  | (Decided & {
      readonly kind: 'local';
      readonly endpoint: Workload;
      readonly destination: SocketAddress;
      readonly request: TunnelRequest;
    })
  /** In clear to an endpoint outside the mesh. */
  | (Decided & {
      readonly kind: 'plain';
      readonly endpoint: Workload;
      readonly destination: SocketAddress;
      readonly socket: SocketProfile;
    })
  /** In clear to where it was going. */
  | (Decided & { readonly kind: 'passthrough'; readonly destination: SocketAddress; readonly socket: SocketProfile })
  /** The endpoint is known by name: resolve it, then ask again. */
  | (Decided & {
      readonly kind: 'resolve';
      readonly hostname: string;
      readonly resolved: (ip: string) => OutboundDecision;
    })
  | (Decided & { readonly kind: 'refuse'; readonly flag: ResponseFlag });
