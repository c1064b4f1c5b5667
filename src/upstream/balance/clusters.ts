/**
 * The clusters of a waypoint: one for each port of a service, and of each subset, that was ever asked for and still is there.
 *
 * I1: bounded by what is configured: a cluster goes with its service and with its subset.
 */
import type { Clock } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { Counter, Gauge, MetricsRegistry } from '../../base/metrics.ts';
import type { Random } from '../../base/random.ts';
import type { Service, ServiceKey, Workload } from '../../mesh/model.ts';
import type { MeshView } from '../../mesh/view.ts';
import { type Destination, policyFor } from '../../route/destination.ts';
import type { TryWatch } from '../try-watch.ts';
import { Cluster } from './cluster.ts';
import { HealthChecks, type ProbeResult } from './health-checks.ts';
import type { Host } from './host.ts';
import type { OutlierEvent, OutlierReason } from './outlier.ts';

export interface ClustersOptions {
  readonly mesh: MeshView;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  /** The waypoint's own network. */
  readonly network: string;
  /** Its own workload, which says where it is; undefined: not known. */
  readonly self: () => Workload | undefined;
}

export interface NamedCluster {
  readonly service: ServiceKey;
  readonly port: number;
  readonly subset: string | undefined;
  readonly cluster: Cluster;
  /** The objects that say how it is used. */
  sources: Destination['sources'];
  /** While it has any. */
  checks: HealthChecks | undefined;
}

export class Clusters {
  readonly #options: ClustersOptions;
  readonly #metrics: BalanceMetrics;
  readonly #byKey = new Map<string, NamedCluster>();
  /** The same by record, so that a request builds no key. */
  #byService = new WeakMap<Service, NamedCluster[]>();
  readonly #stop: () => void;
  #probe: Probe = nothingIsKnown;
  #working: Promise<void> = Promise.resolve();
  #self: Workload | undefined;

  constructor(options: ClustersOptions) {
    this.#options = options;
    this.#metrics = new BalanceMetrics(options.metrics);
    this.#self = options.self();
    this.#stop = options.mesh.onChange((change) => {
      this.#self = options.self();
      for (const key of change.removedServices) this.#drop((named) => named.service === key);
    });
  }

  /**
   * The cluster of a port, brought up to date. The subset, if there is one, is one of the destination's; where it is not,
   * the answer is undefined.
   */
  of(
    service: Service,
    port: number,
    destination: Destination | undefined,
    subset: string | undefined,
  ): NamedCluster | undefined {
    const part = subset === undefined ? undefined : destination?.subsets.get(subset);
    if (subset !== undefined && part === undefined) return undefined;
    const named = this.#named(service, port, subset);
    const policy = policyFor(destination, port, subset);
    const { mesh, network, random } = this.#options;
    named.sources = destination?.sources ?? none;
    named.cluster.follow({
      query: {
        service,
        endpoints: mesh.endpoints(service.key),
        servicePort: port,
        source: this.#self,
        network,
        resolution: 'service',
        random,
      },
      subset: part,
      loadBalancer: policy?.loadBalancer,
      outlierDetection: policy?.outlierDetection,
      healthCheck: destination?.healthCheck,
    });
    if (destination?.healthCheck !== undefined || named.checks !== undefined) this.#check(named);
    return named;
  }

  /** The model has changed: subsets that are no more go. */
  prune(hasSubset: (service: ServiceKey, subset: string) => boolean): void {
    this.#drop(({ service, subset }) => subset !== undefined && !hasSubset(service, subset));
  }

  /** Makes what first requests would wait for, for a service whose requests are hashed. */
  prepare(service: Service, port: number, destination: Destination, subset: string | undefined): void {
    this.of(service, port, destination, subset)?.cluster.prepare();
  }

  /** What becomes of one try to the host, for the client of that identity. */
  watch({ cluster }: NamedCluster, host: Host, client?: string): TryWatch {
    return new HostWatch(cluster, host, client);
  }

  /** How endpoints are asked; until then nothing is found out. */
  probeBy(probe: Probe): void {
    this.#probe = probe;
  }

  /** A choice was made although too few endpoints are well. */
  panicked(): void {
    this.#metrics.panics.value++;
  }

  all(): Iterable<NamedCluster> {
    return this.#byKey.values();
  }

  close(): void {
    this.#stop();
    this.#drop(() => true);
  }

  #named(service: Service, port: number, subset: string | undefined): NamedCluster {
    let ofService = this.#byService.get(service);
    if (ofService === undefined) {
      ofService = [];
      this.#byService.set(service, ofService);
    }
    for (const known of ofService) if (known.port === port && known.subset === subset) return known;
    const key = `${service.key}|${port}|${subset ?? ''}`;
    let named = this.#byKey.get(key);
    if (named === undefined) {
      named = this.#make(service.key, port, subset);
      this.#byKey.set(key, named);
    }
    ofService.push(named);
    return named;
  }

  #make(service: ServiceKey, port: number, subset: string | undefined): NamedCluster {
    const { clock, random, logger } = this.#options;
    const metrics = this.#metrics;
    const where = { service, port, ...(subset === undefined ? {} : { subset }) };
    const cluster = new Cluster({
      clock,
      random,
      outliers: {
        ejected: (host, reason) => {
          metrics.ejected(reason);
          const { ejected } = host;
          const seconds = Math.round(((ejected?.untilMs ?? 0) - (ejected?.atMs ?? 0)) / 1000);
          logger.warn('ejected an endpoint', { ...where, endpoint: host.key, workload: host.uid, reason, seconds });
        },
        spared: (_host, _reason, why) => void metrics.spared[why].value++,
        returned: (host) => logger.info('an endpoint is back', { ...where, endpoint: host.key, workload: host.uid }),
      },
      background: (work) => this.#background(work),
    });
    return { service, port, subset, cluster, sources: none, checks: undefined };
  }

  #check(named: NamedCluster): void {
    const { clock, random, logger } = this.#options;
    const { service, port, subset, cluster } = named;
    const policy = cluster.inputs?.healthCheck;
    if (policy === undefined) {
      named.checks?.close();
      named.checks = undefined;
      for (const host of cluster.hosts) cluster.setFailing(host, false);
      return;
    }
    named.checks ??= new HealthChecks({
      clock,
      random,
      hosts: () => cluster.hosts,
      probe: (host, timeoutMs) => this.#probe(named, host, timeoutMs),
      changed: (host, failing) => {
        cluster.setFailing(host, failing);
        const where = { service, port, ...(subset === undefined ? {} : { subset }) };
        const message = failing ? 'an endpoint fails its health checks' : 'an endpoint passes its health checks again';
        logger.warn(message, { ...where, endpoint: host.key, workload: host.uid });
      },
    });
    named.checks.used(policy);
  }

  /** One after the other: a turn of the loop has one slice of all this, however many clusters there are. */
  #background(work: () => Promise<void>): void {
    this.#working = this.#working.then(work).catch((error: unknown) => {
      this.#options.logger.error('internal error while building a hash table', { error: errorText(error) });
    });
  }

  #drop(which: (named: NamedCluster) => boolean): void {
    let dropped = false;
    for (const [key, named] of this.#byKey) {
      if (!which(named)) continue;
      named.cluster.close();
      named.checks?.close();
      this.#byKey.delete(key);
      dropped = true;
    }
    if (dropped) this.#byService = new WeakMap();
  }

  /** Brings the gauges up to date. */
  flush(): void {
    let ejected = 0;
    let failing = 0;
    for (const { cluster, checks } of this.#byKey.values()) {
      ejected += cluster.detector.ejected;
      if (checks !== undefined) for (const host of cluster.hosts) failing += Number(host.failing);
    }
    this.#metrics.now.value = ejected;
    this.#metrics.failing.value = failing;
  }
}

const none: Destination['sources'] = [];

/** Asks a host how it is, by what the cluster's policy says. Never rejects. */
export type Probe = (named: NamedCluster, host: Host, timeoutMs: number) => Promise<ProbeResult>;

function nothingIsKnown(): Promise<ProbeResult> {
  return Promise.resolve('unknown');
}

class HostWatch implements TryWatch {
  readonly #cluster: Cluster;
  readonly #host: Host;
  readonly #client: string | undefined;

  constructor(cluster: Cluster, host: Host, client: string | undefined) {
    this.#cluster = cluster;
    this.#host = host;
    this.#client = client;
  }

  get observing(): boolean {
    return this.#cluster.inputs?.outlierDetection !== undefined;
  }

  begin(): void {
    this.#host.active++;
  }

  observe(event: OutlierEvent): void {
    this.#cluster.detector.observe(this.#host, event, this.#client);
  }

  end(): void {
    this.#host.active--;
  }
}

class BalanceMetrics {
  readonly panics: Counter;
  readonly spared: Readonly<Record<'too-many' | 'one-client', Counter>>;
  readonly now: Gauge;
  readonly failing: Gauge;
  readonly #ejections: Readonly<Record<OutlierReason, Counter>>;

  constructor(metrics: MetricsRegistry) {
    const help = 'Endpoints ejected by outlier detection, by the detector that had enough.';
    const cell = (reason: OutlierReason) => metrics.counter('ambit_endpoint_ejections_total', help, { reason });
    this.#ejections = {
      'consecutive-5xx': cell('consecutive-5xx'),
      'consecutive-gateway-errors': cell('consecutive-gateway-errors'),
      'consecutive-local-origin-failures': cell('consecutive-local-origin-failures'),
    };
    const sparing = 'Endpoints not ejected: too many are already, or the errors were of one client alone.';
    const spare = (why: string) => metrics.counter('ambit_endpoint_ejections_spared_total', sparing, { why });
    this.spared = { 'too-many': spare('too-many'), 'one-client': spare('one-client') };
    this.panics = metrics.counter(
      'ambit_endpoint_panic_choices_total',
      'Choices without regard to health, because too few endpoints are healthy (minHealthPercent).',
    );
    this.failing = metrics.gauge('ambit_endpoints_failing', 'Endpoints that fail their health checks now.');
    this.now = metrics.gauge('ambit_endpoints_ejected', 'Endpoints that are ejected now.');
  }

  ejected(reason: OutlierReason): void {
    this.#ejections[reason].value++;
  }
}
