/**
 * What all listeners share: the program's services, and the place whose traffic they serve (the node, or one pod). One set
 * of code for both; a place only says where sockets are made and whose they are.
 */
import type { IpFamily } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Counter } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { Preset } from '../config/preset.ts';
import type { DnsProxy } from '../dns/proxy.ts';
import type { Relay } from '../hbone/seam.ts';
import type { PeerRevocation } from '../identity/revocation.ts';
import type { SecretStore } from '../identity/secret.ts';
import type { PolicyKey, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { ListenSpec, NetworkNamespace } from '../net/socket-spec.ts';
import type { Tracing } from '../telemetry/tracing/span.ts';
import type { AccessLog, TrafficMetrics } from '../telemetry/traffic.ts';
import type { UnknownPolicyGrace } from './authorization.ts';
import type { ConnectionRegistry } from './connection-registry.ts';
import type { DecisionWaiter } from './decision-waiter.ts';
import type { InboundContext } from './inbound-decision.ts';
import type { FilterChainMatcher } from './matcher.ts';
import type { Names } from './names.ts';
import type { DemandWaits } from './on-demand-wait.ts';
import type { OutboundContext } from './outbound-decision.ts';
import type { PeerMemory } from './peer-memory.ts';
import type { BelievedNames } from './peer-names.ts';
import type { PodBudgets } from './pod-budgets.ts';
import type { PolicyReport } from './policy-report.ts';
import type { ZtunnelSettings } from './settings.ts';

export interface ZtunnelServices {
  readonly preset: Preset;
  readonly names: Names;
  readonly settings: ZtunnelSettings;
  readonly mesh: MeshView;
  readonly relay: Relay;
  readonly secrets: SecretStore;
  /** Undefined: nobody's certificate is revoked. */
  readonly revocation?: PeerRevocation | undefined;
  readonly registry: ConnectionRegistry;
  readonly budgets: PodBudgets;
  readonly waiter: DecisionWaiter;
  readonly grace: UnknownPolicyGrace;
  readonly peers: PeerMemory;
  readonly traffic: TrafficMetrics;
  readonly accessLog: AccessLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** One address of a name, of that family if it has one; undefined when there is none. Never rejects. */
  readonly resolve: (hostname: string, prefer: IpFamily, source: Workload | undefined) => Promise<string | undefined>;
  /** Connections that went to another endpoint because the one chosen first could not be reached. */
  readonly endpointRetries: Counter;
  /** Warned of, and counted, when a DENY matched by an empty match alone. */
  readonly emptyMatches: { warn(policy: PolicyKey): void };
  readonly policyReport: PolicyReport;
  /** Names of peers on other networks, from what they say of themselves. */
  readonly believedNames: BelievedNames;
  /** Undefined: nothing is traced. */
  readonly tracing?: Tracing | undefined;
  readonly matcher: FilterChainMatcher;
  /** For what of the mesh is not known; undefined: all of it is. */
  readonly demandWaits?: DemandWaits | undefined;
  /** Where a workload is served by this process, for delivery without a network in between. */
  readonly placeOf: (workload: Workload) => Place | undefined;
  readonly deliversLocally: (workload: Workload) => boolean;
  /** Undefined: DNS is left alone. */
  readonly dns: DnsProxy | undefined;
}

/** Whose traffic a set of listeners serves. */
export interface Place {
  /** For logs. */
  readonly name: string;
  readonly namespace: NetworkNamespace | undefined;
  /** What the listeners bind to. */
  readonly ip: string;
  /** The workload a captured client is; undefined while unknown. */
  readonly sourceAt: (ip: string) => Workload | undefined;
  /**
   * Where every address is that of one workload: it, or undefined while it is still to come, which is worth waiting for.
   * Absent where many are served.
   */
  readonly sole?: () => Workload | undefined;
  /** The workload served here that has the address. */
  readonly workloadAt: (ip: string) => Workload | undefined;
  /** As whom tunnels are answered; left out: as the workload that is addressed. */
  readonly identity?: SpiffeId;
  /** The only ports that a tunnel reaches here, from our own address; left out: any, and as the preset says. */
  readonly reachablePorts?: ReadonlySet<number>;
}

export function outboundContext(services: ZtunnelServices, place: Place): OutboundContext {
  const { mesh, matcher, settings, random } = services;
  return {
    sampler: services.tracing?.sampler,
    mesh,
    matcher,
    settings,
    random,
    sockets: socketRules(services, place),
    deliversLocally: services.deliversLocally,
  };
}

export function inboundContext(services: ZtunnelServices, place: Place): InboundContext {
  const { mesh, preset, settings, grace } = services;
  const { workloadAt, reachablePorts } = place;
  return { mesh, preset, settings, grace, sockets: socketRules(services, place), workloadAt, reachablePorts };
}

export function listenSpec(
  services: ZtunnelServices,
  place: Place,
  side: 'outbound' | 'inbound',
  port: number,
): ListenSpec {
  const { preset, settings } = services;
  const mark = side === 'outbound' ? preset.marks.outboundListener : preset.marks.inboundListener;
  // What is reached at our own address alone was neither redirected nor marked on its way.
  const plain = place.reachablePorts !== undefined;
  return {
    ip: place.ip,
    port,
    transparent: settings.transparentListeners && !plain,
    mark: settings.listenerMarks && !plain ? mark : undefined,
    namespace: place.namespace,
    reusePort: settings.reusePort,
    redirected: preset.originalDestination === 'redirect' && !plain,
    ...(settings.tcp === undefined ? {} : { tcp: settings.tcp }),
  };
}

/** The one workload of a place, or undefined: for budgets. */
export function soleWorkload(place: Place): () => Workload | undefined {
  return place.sole ?? (() => undefined);
}

/** Whose share of waits it is: a pod's; undefined where many are served. */
export function shareOf(place: Place): Place | undefined {
  return place.sole === undefined ? undefined : place;
}

function socketRules(services: ZtunnelServices, place: Place) {
  const { preset, settings } = services;
  const spoofing = settings.spoofing && place.reachablePorts === undefined;
  return { preset, namespace: place.namespace, spoofing, tcp: settings.tcp };
}
