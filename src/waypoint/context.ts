/** What later stages know of a tunnel, captured where it was terminated (R34), and what all stages share. */
import type { SocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { Preset } from '../config/preset.ts';
import type { Extensions } from '../extensions/extensions.ts';
import type { Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { L7Model } from '../route/model.ts';
import type { AccessLog, AccessLogFields, TrafficMetrics } from '../telemetry/traffic.ts';
import type { Clusters } from '../upstream/balance/clusters.ts';
import type { Connector } from '../upstream/connector.ts';
import type { UpstreamPools } from '../upstream/pools.ts';
import type { Destination } from './authority.ts';
import type { Checks } from './ext-authz/checks.ts';
import type { OwnGateway } from './gateway.ts';
import type { Authenticator } from './jwt/authenticate.ts';
import type { Mirrors } from './mirrors.ts';
import type { ClientNamedEndpoints } from './named-endpoints.ts';
import type { StageNames } from './names.ts';
import type { OpenRequests } from './open-requests.ts';
import type { Overload } from './protection/overload.ts';
import type { Protections } from './protection/protections.ts';
import type { SessionKeys } from './session-token.ts';
import type { WaypointSettings } from './settings.ts';
import type { TcpConnections } from './tcp-connections.ts';
import type { WaypointTelemetry } from './telemetry/waypoint-telemetry.ts';
import type { UpstreamProfiles } from './upstream-profiles.ts';

export interface Tunnel {
  readonly destination: Destination;
  readonly authority: string;
  /** Proven by mTLS at termination. */
  readonly clientIdentity: SpiffeId;
  /** Address of the tunnel's peer: the client's own, in both presets. */
  readonly client: SocketAddress;
  /** Where the tunnel arrived. */
  readonly local: SocketAddress;
  readonly localIdentity: SpiffeId;
  readonly clientWorkload: Workload | undefined;
  readonly openedMs: number;
  /** Of the CONNECT; believed to be a number. */
  readonly traceparent?: string | undefined;
  /**
   * Made when first asked for, by `log-fields.ts` and `client-facts.ts`. Kept here: a young value of a WeakMap outlives its key
   * (docs/performance.md).
   */
  fields?: TunnelFields;
  facts?: ClientFacts;
}

/** What the lines of its access log say again and again. */
export interface TunnelFields {
  readonly client: AccessLogFields;
  /** The line of the CONNECT itself. */
  readonly connect: AccessLogFields;
  /** Stage of the service, or straight to a pod, and the cluster it leads to. */
  stage(listener: string, cluster: string | undefined): AccessLogFields;
}

/** Who its client is, for routes that ask. */
export interface ClientFacts {
  readonly namespace: string | undefined;
  /** Undefined: not known, or somebody else's. */
  readonly labels: Readonly<Record<string, string>> | undefined;
}

export interface WaypointServices {
  readonly preset: Preset;
  readonly settings: WaypointSettings;
  readonly names: StageNames;
  readonly mesh: MeshView;
  /** The model of the moment: a request keeps what it was decided on. */
  readonly model: () => L7Model;
  readonly own: () => OwnGateway | undefined;
  /** The waypoint's own identity. */
  readonly identity: SpiffeId;
  /** Beside those of the mesh configuration. */
  readonly trustDomainAliases: readonly string[];
  readonly pools: UpstreamPools;
  readonly clusters: Clusters;
  readonly connector: Connector;
  readonly upstreams: UpstreamProfiles;
  readonly clientNames: ClientNamedEndpoints;
  readonly mirrors: Mirrors;
  readonly tcpConnections: TcpConnections;
  readonly openRequests: OpenRequests;
  readonly authenticator: Authenticator;
  readonly sessionKeys: SessionKeys;
  readonly extensions: Extensions;
  readonly admission: Overload;
  readonly protections: Protections;
  readonly checks: Checks;
  readonly telemetry: WaypointTelemetry;
  readonly traffic: TrafficMetrics;
  readonly accessLog: AccessLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}
