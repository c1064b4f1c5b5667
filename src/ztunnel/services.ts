/**
 * Puts the parts of a ztunnel together around a mesh, a relay and secrets: one matcher, one registry, one of each for the
 * whole process, however many places it serves.
 *
 * I1: on a change of the mesh the grace of missing policies is brought up to date before anything is decided again.
 */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Gauge, MetricsRegistry } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { Preset } from '../config/preset.ts';
import type { DnsProxy } from '../dns/proxy.ts';
import type { Relay } from '../hbone/seam.ts';
import type { PeerRevocation } from '../identity/revocation.ts';
import type { SecretStore } from '../identity/secret.ts';
import type { AddressDemand } from '../mesh/demand.ts';
import type { PolicyKey, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import { type DescriptorLimits, descriptorLimits } from '../net/descriptors.ts';
import type { Tracing } from '../telemetry/tracing/span.ts';
import type { AccessLog, TrafficMetrics } from '../telemetry/traffic.ts';
import { UnknownPolicyGrace } from './authorization.ts';
import { watchBuffers } from './buffer-watch.ts';
import { ConnectionRegistry } from './connection-registry.ts';
import type { Place, ZtunnelServices } from './context.ts';
import { DecisionWaiter } from './decision-waiter.ts';
import { FilterChainMatcher } from './matcher.ts';
import { namesOf } from './names.ts';
import { DemandWaits } from './on-demand-wait.ts';
import { PeerMemory } from './peer-memory.ts';
import { BelievedNames } from './peer-names.ts';
import { PodBudgets } from './pod-budgets.ts';
import { PolicyReport } from './policy-report.ts';
import type { ZtunnelSettings } from './settings.ts';

export interface ZtunnelOptions {
  readonly preset: Preset;
  readonly settings: ZtunnelSettings;
  readonly mesh: MeshView;
  readonly relay: Relay;
  readonly secrets: SecretStore;
  readonly revocation?: PeerRevocation | undefined;
  readonly traffic: TrafficMetrics;
  readonly accessLog: AccessLog;
  readonly metrics: MetricsRegistry;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly tracing?: Tracing | undefined;
  readonly resolve: ZtunnelServices['resolve'];
  /** Asks for what of the mesh is not known; absent: all of it is. */
  readonly demand?: AddressDemand | undefined;
  readonly placeOf: (workload: Workload) => Place | undefined;
  readonly dns?: DnsProxy | undefined;
  /** Of the process, as it is now unless told. */
  readonly descriptors?: DescriptorLimits;
}

export interface Ztunnel {
  readonly services: ZtunnelServices;
  /** Brings counters and gauges up to date: to be gone through before a scrape, in slices. */
  flushing(): Iterable<unknown>;
  /** Stops listening to the mesh. Connections are the relay's to end. */
  close(): void;
}

export function createZtunnel(options: ZtunnelOptions): Ztunnel {
  const { preset, settings, mesh, relay, secrets, clock, metrics, logger, placeOf, demand } = options;
  const grace = new UnknownPolicyGrace(mesh, clock, settings.unknownPolicyGraceMs);
  const peers = new PeerMemory(relay);
  const policyReport = new PolicyReport(metrics, logger, settings.policyInfoLogging);
  // The first to listen: those that decide again upon a change come after it.
  const stopMesh = mesh.onChange((change) => {
    grace.changed(change);
    peers.changed(change);
    policyReport.removed(change.removedPolicies);
  });
  const stopSecrets = secrets.onChange((identity, state) => {
    // A new session is to carry the new certificate; streams on the old one go on.
    if (state.kind === 'available') relay.forgetIdentity(identity);
  });
  const names = namesOf(preset);
  const deliversLocally = (workload: Workload) => !workload.nativeTunnel && placeOf(workload) !== undefined;
  const matcher = new FilterChainMatcher({ mesh, names, preset, settings, deliversLocally });
  const registry = new ConnectionRegistry(mesh, clock);
  const budgets = new PodBudgets({
    limits: settings.podLimits,
    descriptors: options.descriptors ?? descriptorLimits(),
    connectionsOf: (uid) => registry.countOf(uid),
    clock,
    logger: logger.topic('limits'),
    metrics,
  });
  const stopBuffers = watchBuffers({
    registry,
    clock,
    limitBytes: settings.podLimits.bufferedBytes,
    onReached: (workload) => budgets.reached(workload, 'buffered_bytes'),
  });
  const waiter = new DecisionWaiter(mesh, clock);
  // Sessions are the relay's; what is delivered in process has none.
  const stopRevocation = options.revocation?.onChange(() => {
    registry.stopRevoked((identity) => revokedReason(identity, secrets, options.revocation));
  });
  const services: ZtunnelServices = {
    ...options,
    names,
    matcher,
    registry,
    budgets,
    waiter,
    demandWaits: demand === undefined ? undefined : new DemandWaits({ mesh, demand, clock }),
    grace,
    peers,
    deliversLocally,
    dns: options.dns,
    endpointRetries: metrics.counter(
      'ambit_endpoint_retries_total',
      'Connections that went to another endpoint because the one chosen first could not be reached.',
    ),
    emptyMatches: new EmptyMatches(metrics, logger),
    policyReport,
    believedNames: new BelievedNames(clock, settings.responseBaggage),
  };
  const open = metrics.gauge('ambit_connections_live', 'Connections that are open now.');
  const waiting = metrics.gauge('ambit_connections_undecided', 'Connections that wait for the mesh to know more.');
  return {
    services,
    *flushing() {
      yield* registry.flushing();
      open.value = registry.size;
      waiting.value = waiter.waiting;
      flushRelay(relay, registry, metrics);
    },
    close() {
      stopMesh();
      stopSecrets();
      stopRevocation?.();
      stopBuffers();
      registry.close();
    },
  };
}

function revokedReason(
  identity: SpiffeId,
  secrets: SecretStore,
  revocation: PeerRevocation | undefined,
): string | undefined {
  const secret = secrets.current(identity);
  const examined = secret === undefined ? undefined : revocation?.examineOwn(secret, 'source');
  return examined?.kind === 'revoked' ? `${identity}: ${examined.reason}` : undefined;
}

/** Warns once a policy, counts every time. */
class EmptyMatches {
  readonly #metrics: MetricsRegistry;
  readonly #logger: Logger;
  readonly #warned = new Set<PolicyKey>();

  constructor(metrics: MetricsRegistry, logger: Logger) {
    this.#metrics = metrics;
    this.#logger = logger;
  }

  warn(policy: PolicyKey): void {
    const help = 'Connections denied because a DENY policy lost its conditions on the way here.';
    this.#metrics.counter('ambit_empty_deny_matches_total', help).value++;
    if (this.#warned.has(policy) || this.#warned.size >= 1024) return;
    this.#warned.add(policy);
    this.#logger.warn('a DENY policy has an empty match, which counts as matching (AMBIT_EMPTY_DENY_MATCH)', {
      policy,
    });
  }
}

function flushRelay(relay: Relay, registry: ConnectionRegistry, metrics: MetricsRegistry): void {
  const stats = relay.stats();
  const sockets = registry.sockets();
  const open = (reporter: string): Gauge =>
    metrics.gauge('istio_tcp_sockets_open', 'The current number of open TCP sockets (unstable).', { reporter });
  open('source').value = sockets.outbound;
  open('destination').value = sockets.inbound + stats.servedSessions;
  const gauge = (name: string, help: string): Gauge => metrics.gauge(name, help);
  gauge('ambit_hbone_sessions', 'HBONE sessions, both roles.').value = stats.sessions;
  gauge('ambit_hbone_streams', 'HBONE streams, both roles.').value = stats.streams;
  gauge('ambit_captured_connections', 'Captured connections.').value = stats.captured;
}
