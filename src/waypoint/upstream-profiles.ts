/**
 * For each port of a service (or of a subset) what its endpoints are spoken to with, and what it may have under way: from
 * DestinationRule, BackendTLSPolicy, XBackendTrafficPolicy and ServiceEntry. Found by three look-ups for a request.
 *
 * I1: an answer is kept as long as the model stands; after a change a profile that says the same is the same object, so that
 *     connections go on being used.
 * I2: what is under way stays counted when limits change.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Counter, Gauge, MetricsRegistry } from '../base/metrics.ts';
import type { Service, ServicePort } from '../mesh/model.ts';
import { type ConnectionPoolPolicy, type DestinationPolicy, destinationOf, policyFor } from '../route/destination.ts';
import type { L7Model } from '../route/model.ts';
import { Circuit, type CircuitLimits, type CircuitResource, circuitResources, noLimits } from '../upstream/circuit.ts';
import { plainConnections, type UpstreamProfile } from '../upstream/profile.ts';
import { type TlsSources, upstreamTls } from './upstream-tls-settings.ts';

export interface Upstream {
  readonly circuit: Circuit;
  /** Undefined: nothing is configured. */
  readonly profile: UpstreamProfile | undefined;
  readonly pool: ConnectionPoolPolicy | undefined;
}

export interface UpstreamProfilesDependencies {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
}

interface Known {
  readonly service: string;
  readonly circuit: Circuit;
  model: L7Model | undefined;
  upstream: Upstream;
  /** Of a circuit with limits. */
  gauges: Readonly<Record<CircuitResource, Gauge>> | undefined;
}

/** Destinations that are remembered; beyond it those that are not in use are forgotten when the model changes. */
const mostKept = 20_000;

export class UpstreamProfiles {
  readonly #dependencies: UpstreamProfilesDependencies;
  readonly #byPort = new WeakMap<ServicePort, Map<string, Known>>();
  readonly #known = new Map<string, Known>();
  readonly #overflows = new Map<string, Counter>();

  constructor(dependencies: UpstreamProfilesDependencies) {
    this.#dependencies = dependencies;
  }

  /** `namespace`: the waypoint's own, whose rules go first. */
  of(model: L7Model, namespace: string, service: Service, port: number, subset: string | undefined): Upstream {
    const record = service.ports.get(port);
    const known =
      record === undefined
        ? this.#find(service, port, subset)
        : this.#byPort
            .getOrInsertComputed(record, newMap)
            .getOrInsertComputed(subset ?? '', () => this.#find(service, port, subset));
    if (known.model === model) return known.upstream;
    known.model = model;
    known.upstream = this.#make(known, model, namespace, service, port, subset);
    return known.upstream;
  }

  /** Brings the gauges of destinations with limits up to date. */
  flush(): void {
    for (const { gauges, circuit } of this.#known.values()) {
      if (gauges === undefined) continue;
      for (const resource of circuitResources) gauges[resource].value = circuit[resource];
    }
  }

  #find(service: Service, port: number, subset: string | undefined): Known {
    const key = `${service.key}|${port}|${subset ?? ''}`;
    let known = this.#known.get(key);
    if (known === undefined) {
      if (this.#known.size >= mostKept) this.#forgetUnused();
      const { hostname } = service;
      const circuit = new Circuit(noLimits, (resource) => this.#overflow(hostname, resource));
      const upstream = { circuit, profile: undefined, pool: undefined };
      known = { service: hostname, circuit, model: undefined, upstream, gauges: undefined };
      this.#known.set(key, known);
    }
    return known;
  }

  #forgetUnused(): void {
    for (const [key, { circuit }] of this.#known)
      if (circuit.requests + circuit.connections === 0) this.#known.delete(key);
  }

  #make(
    known: Known,
    model: L7Model,
    namespace: string,
    service: Service,
    port: number,
    subset: string | undefined,
  ): Upstream {
    const policy = policyFor(destinationOf(model.destinations, namespace, service.key), port, subset);
    const { backends } = model;
    const budget = policy?.retryBudget ?? backends.retryBudgets.get(service.key);
    const { circuit } = known;
    circuit.limits = limitsOf(policy?.connectionPool, budget);
    const limited = circuit.limits !== noLimits;
    if (limited) known.gauges ??= this.#gauges(known.service);
    const egress = model.egress.get(service.key);
    const ofService = backends.tls.get(service.key);
    const backendTls = ofService?.ports.get(port) ?? ofService?.otherwise;
    const sources: TlsSources = {
      ...this.#dependencies,
      policy: policy?.tls,
      backendTls,
      namespace,
      serverNames: egress?.serverNames ?? [],
    };
    const name = egress?.host ?? service.hostname;
    const tls = upstreamTls(sources, model, name);
    const pool = policy?.connectionPool;
    if (policy === undefined && tls === undefined && egress === undefined) return { circuit, profile: undefined, pool };
    const profile = profileOf(circuit, policy, tls, egress);
    const before = known.upstream.profile;
    return { circuit, profile: before?.key === profile.key ? before : profile, pool };
  }

  #overflow(service: string, resource: CircuitResource): Counter {
    return this.#overflows.getOrInsertComputed(`${service} ${resource}`, () =>
      this.#dependencies.metrics.counter(
        'ambit_upstream_overflows_total',
        'Requests, connections and retries that a limit of their destination refused.',
        { destination_service: service, resource },
      ),
    );
  }

  #gauges(service: string): Readonly<Record<CircuitResource, Gauge>> {
    const help = 'What destinations with limits have under way, by resource.';
    const gauge = (resource: CircuitResource) =>
      this.#dependencies.metrics.gauge('ambit_upstream_under_way', help, { destination_service: service, resource });
    return {
      connections: gauge('connections'),
      pending: gauge('pending'),
      requests: gauge('requests'),
      retries: gauge('retries'),
    };
  }
}

function newMap(): Map<string, Known> {
  return new Map();
}

const unlimited = Number.POSITIVE_INFINITY;

function limitsOf(pool: ConnectionPoolPolicy | undefined, budget: CircuitLimits['budget']): CircuitLimits {
  const { maxConnections, maxPendingRequests, maxRequests, maxRetries } = pool ?? {};
  const set = maxConnections ?? maxPendingRequests ?? maxRequests ?? maxRetries;
  if (set === undefined && budget === undefined) return noLimits;
  return {
    maxConnections: maxConnections ?? unlimited,
    maxPending: maxPendingRequests ?? unlimited,
    maxRequests: maxRequests ?? unlimited,
    maxRetries: maxRetries ?? unlimited,
    budget,
  };
}

function profileOf(
  circuit: Circuit,
  policy: DestinationPolicy | undefined,
  tls: UpstreamProfile['tls'],
  egress: L7Model['egress'] extends ReadonlyMap<string, infer E> ? E | undefined : never,
): UpstreamProfile {
  const pool = policy?.connectionPool;
  const keepalive = pool?.keepalive;
  const fields = {
    queues: pool?.maxConnections !== undefined || pool?.maxPendingRequests !== undefined,
    connectTimeoutMs: pool?.connectTimeoutMs,
    tcp:
      keepalive === undefined
        ? undefined
        : {
            keepAlive: {
              idleSec: secondsOf(keepalive.timeMs, 180),
              intervalSec: secondsOf(keepalive.intervalMs, 180),
              count: keepalive.probes ?? 9,
            },
            userTimeoutMs: undefined,
          },
    proxyProtocol: policy?.proxyProtocol,
    origin: egress === undefined ? undefined : originOf(egress),
    everywhere: egress?.resolution !== 'dns-round-robin',
    connections:
      pool === undefined
        ? plainConnections
        : {
            maxPerEndpoint: pool.maxConnections,
            maxRequests: pool.maxRequestsPerConnection,
            maxDurationMs: pool.maxConnectionDurationMs,
            idleMs: pool.httpIdleTimeoutMs === 0 ? unlimited : pool.httpIdleTimeoutMs,
            maxStreams: pool.maxConcurrentStreams,
          },
    refusal:
      policy?.tunnel === undefined ? undefined : 'the DestinationRule asks for a tunnel, which waypoints do not make',
  } as const;
  const digest = createHash('sha256')
    .update(JSON.stringify(fields))
    .update(tls?.key ?? '')
    .digest('base64url');
  return { key: digest.slice(0, 22), circuit, tls, ...fields };
}

function originOf({ resolution, external }: { readonly resolution: string; readonly external: boolean }) {
  if (resolution === 'dynamic-dns') return 'named-by-client';
  if (resolution === 'static') return 'written';
  return external ? 'external-name' : 'internal-name';
}

/** The kernel counts whole seconds. */
function secondsOf(ms: number | undefined, otherwise: number): number {
  return ms === undefined ? otherwise : Math.max(1, Math.round(ms / 1000));
}
