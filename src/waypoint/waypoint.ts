/**
 * A waypoint around a mesh, a model, a relay and secrets: listeners, tunnels, pools, and what has to follow a change.
 *
 * I1: a workload that changed or left gets no new request over connections made to what it was.
 */
import type { SocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import { parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import type { Preset } from '../config/preset.ts';
import { Extensions } from '../extensions/extensions.ts';
import type { Relay, RunningListener } from '../hbone/seam.ts';
import type { SecretStore } from '../identity/secret.ts';
import type { Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { NameSource } from '../net/name-resolver.ts';
import { hasSubset } from '../route/destination.ts';
import type { L7Model } from '../route/model.ts';
import type { AccessLog, TrafficMetrics } from '../telemetry/traffic.ts';
import { Clusters } from '../upstream/balance/clusters.ts';
import { createConnector } from '../upstream/connector.ts';
import { createUpstreamPools } from '../upstream/pools.ts';
import type { WaypointServices } from './context.ts';
import { Checks } from './ext-authz/checks.ts';
import type { OwnGateway } from './gateway.ts';
import { Authenticator } from './jwt/authenticate.ts';
import { createFetchText } from './jwt/fetch-text.ts';
import { Mirrors } from './mirrors.ts';
import { ClientNamedEndpoints } from './named-endpoints.ts';
import { stageNames } from './names.ts';
import { OpenRequests } from './open-requests.ts';
import { createOutside } from './outside.ts';
import { prepareDestinations } from './prepare-destinations.ts';
import { probeEndpoint } from './probe-endpoint.ts';
import { memoryShare } from './protection/memory-share.ts';
import { Overload } from './protection/overload.ts';
import { PressureGauge } from './protection/pressure-gauge.ts';
import { Protections } from './protection/protections.ts';
import { ownSessionKeys, type SessionKeys } from './session-token.ts';
import type { WaypointSettings } from './settings.ts';
import { TcpConnections } from './tcp-connections.ts';
import { collectorEndpoint } from './telemetry/collector-endpoint.ts';
import { type TelemetryOutputs, WaypointTelemetry } from './telemetry/waypoint-telemetry.ts';
import { Tunnels } from './terminate.ts';
import { UpstreamProfiles } from './upstream-profiles.ts';

export interface WaypointOptions {
  readonly preset: Preset;
  readonly settings: WaypointSettings;
  readonly identity: SpiffeId;
  /** Trust domains whose clients are let in, beside the waypoint's own. */
  readonly trustDomainAliases: readonly string[];
  readonly mesh: MeshView;
  /** The model of the moment. */
  readonly model: () => L7Model;
  /** Undefined until it is known who this gateway is: everything is refused. */
  readonly own: () => OwnGateway | undefined;
  /** The workload this process is, which says where it is: for locality. */
  readonly self?: () => Workload | undefined;
  /** This process itself listens there: never an endpoint. */
  readonly isOwn?: (address: SocketAddress) => boolean;
  readonly relay: Relay;
  readonly secrets: SecretStore;
  /** Where names outside the mesh are looked up, in place of the system's servers. */
  readonly nameSource?: NameSource;
  readonly traffic: TrafficMetrics;
  readonly accessLog: AccessLog;
  readonly metrics: MetricsRegistry;
  readonly clock: Clock;
  readonly random: Random;
  /** Shared by replicas; undefined: sessions are this process's own. */
  readonly sessionKeys?: SessionKeys | undefined;
  readonly logger: Logger;
  /** Where configured logs and spans go; without it, nowhere. */
  readonly outputs?: TelemetryOutputs;
}

export interface Waypoint {
  readonly services: WaypointServices;
  /** Accepts tunnels. Rejects when the socket cannot be made (AmbitError). */
  listen(ip: string, port: number): Promise<RunningListener>;
  /** Policies and extensions may have changed: what is open is decided again. */
  modelChanged(): void;
  /** Stops accepting, tells clients to go elsewhere, resolves when the last tunnel has closed. */
  drain(): Promise<void>;
  /** Tunnels that are open now. */
  tunnels(): number;
  /** Brings gauges up to date: call before a scrape. */
  flush(): void;
  /** Ends what is left. The relay is the caller's to close. */
  close(): Promise<void>;
}

export function createWaypoint(options: WaypointOptions): Waypoint {
  const { preset, identity, mesh, relay, secrets, clock, metrics } = options;
  const logger = options.logger.topic('waypoint');
  const clientNames = new ClientNamedEndpoints({
    onWorkloadGone: (uid) => pools.forget(uid),
    onHostGone: (hostname) => outside.clientNames.forget(hostname),
  });
  const outside = createOutside({
    ...options,
    logger,
    isNamed: (hostname) => clientNames.has(hostname),
    onGone: (hostname) => pools.forgetName(hostname),
  });
  const connector = createConnector(relay, clock, outside);
  const pools = createUpstreamPools(connector, clock);
  const tcpConnections = new TcpConnections();
  const openRequests = new OpenRequests(clock);
  const { overload } = options.settings;
  const watched = overload.eventLoopDelayMs > 0 || overload.memoryShare > 0;
  const pressure = watched ? new PressureGauge(clock, memoryShare) : undefined;
  const calm = { eventLoopDelayMs: 0, memoryShare: 0 };
  const clusters = new Clusters({
    ...options,
    logger,
    network: options.settings.network,
    self: options.self ?? nobody,
  });
  const services: WaypointServices = {
    ...options,
    logger,
    names: stageNames(preset),
    connector,
    upstreams: new UpstreamProfiles({ clock, logger, metrics }),
    clientNames,
    pools,
    clusters,
    extensions: new Extensions({ ...options, directory: options.settings.extensionsDirectory }),
    mirrors: new Mirrors({ ...options, pools }),
    tcpConnections,
    openRequests,
    admission: new Overload(overload, () => pressure?.now ?? calm, options),
    protections: new Protections(options),
    checks: new Checks({ ...options, logger }),
    telemetry: new WaypointTelemetry(options.outputs ?? {}, {
      ...options,
      logger,
      pools,
      endpointOf: (target, tried) => collectorEndpoint(services, target, tried),
    }),
    sessionKeys: options.sessionKeys ?? ownSessionKeys(),
    authenticator: new Authenticator({
      fetchText: createFetchText(new Set(options.settings.jwksOrigins)),
      clock,
      logger,
    }),
  };
  const applyExtensions = () => {
    const gateway = options.own();
    const attached = gateway === undefined ? undefined : options.model().extensions?.byGateway.get(gateway.key);
    services.extensions.apply(attached ?? []);
  };
  applyExtensions();
  clusters.probeBy((named, host, timeoutMs) => probeEndpoint(services, named, host, timeoutMs));
  const tunnels = new Tunnels(services);
  const trusted = new Set([parseSpiffeId(identity)?.trustDomain, ...options.trustDomainAliases]);
  const listeners: RunningListener[] = [];
  secrets.want(identity);
  const stopMesh = mesh.onChange((change) => {
    for (const uid of change.removedWorkloads) pools.forget(uid);
    for (const workload of change.workloads) {
      pools.forget(workload.uid);
      for (const ip of workload.addresses) relay.forgetPeer(ip);
    }
  });
  const stopSecrets = secrets.onChange((changed, state) => {
    if (changed === identity && state.kind === 'available') relay.forgetIdentity(identity);
  });
  const open = metrics.gauge('ambit_tunnels_live', 'CONNECT tunnels that are open now.');
  const inFlight = metrics.gauge('ambit_requests_in_flight', 'HTTP requests under way.');
  const poolCount = metrics.gauge('ambit_upstream_pools', 'Pools of HTTP connections to endpoints.');
  return {
    services,
    async listen(ip, port) {
      const { reusePort } = options.settings;
      void prepareDestinations(services);
      const listener = await relay.serve(
        { ip, port, transparent: false, mark: undefined, namespace: undefined, reusePort, redirected: false },
        {
          secretFor: () => secrets.current(identity),
          trusts: (trustDomain) =>
            trusted.has(trustDomain) || options.model().meshConfig.trustDomainAliases.includes(trustDomain),
          onConnect: (request) => tunnels.accept(request),
          onDenied: (peer, _local, error) =>
            logger.info('denied a connection', { peer: peer.ip, error: error.message }),
          maxStreamsPerSession: options.settings.maxStreamsPerSession,
        },
      );
      listeners.push(listener);
      return listener;
    },
    modelChanged() {
      applyExtensions();
      const { destinations } = options.model();
      clusters.prune((service, subset) => hasSubset(destinations, service, subset));
      void prepareDestinations(services);
      tcpConnections.recheck();
      openRequests.recheck();
    },
    async drain() {
      tunnels.drain();
      await Promise.all(listeners.map((listener) => listener.close()));
      await tunnels.empty();
    },
    tunnels: () => tunnels.open,
    flush() {
      open.value = tunnels.open;
      poolCount.value = pools.size;
      services.upstreams.flush();
      inFlight.value = services.admission.requests;
      clusters.flush();
    },
    async close() {
      stopMesh();
      stopSecrets();
      pressure?.close();
      for (const listener of listeners) listener.destroy();
      await services.telemetry.collectors.close();
      clusters.close();
      outside.close();
      await pools.close();
      services.extensions.close();
    },
  };
}

function nobody(): undefined {
  return undefined;
}
