/**
 * One hop of one connection as logs, metrics and the registry see it: opened before the upstream is dialled, closed
 * exactly once, with the fields of ztunnel.md §8.2 and the labels of §8.1.
 *
 * I1: `opened` and `closed` come in pairs, and one `complete` line is written, whatever the relay reports and when.
 */
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { errorText, type ResponseFlag } from '../base/errors.ts';
import { parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import type { ByteCounts, End, Established, Join, JoinObserver } from '../hbone/seam.ts';
import type { Service, Workload } from '../mesh/model.ts';
import type { AccessLog, AccessLogFields, ConnectionMetrics, TrafficMetrics } from '../telemetry/traffic.ts';
import { unknownWorkload, type WorkloadLabels } from '../telemetry/traffic-labels.ts';

export interface HopParty {
  readonly address: SocketAddress;
  readonly workload: Workload | undefined;
  /** Proven, or required of the peer, by mTLS; undefined in clear. */
  readonly identity: SpiffeId | undefined;
}

export interface HopFacts {
  readonly direction: 'inbound' | 'outbound';
  readonly source: HopParty;
  /** `address`: what is dialled (outbound) or was reached (inbound). */
  readonly destination: HopParty;
  /** CONNECT authority. */
  readonly authority: string | undefined;
  readonly service: Service | undefined;
  /** The article's closing words; undefined: not written. */
  readonly hop: string | undefined;
}

export interface HopDependencies {
  readonly traffic: TrafficMetrics;
  readonly accessLog: AccessLog;
  readonly clock: Clock;
}

const noBytes: Readonly<ByteCounts> = { toUpstream: 0, toDownstream: 0 };

export class Hop implements JoinObserver {
  readonly facts: HopFacts;
  readonly #dependencies: HopDependencies;
  readonly #metrics: ConnectionMetrics;
  readonly #startedMs: number;
  readonly #onEnd: (() => void)[] = [];
  #counts = noBytes;
  #reported: ByteCounts = { toUpstream: 0, toDownstream: 0 };
  #established: Established | undefined;
  #over = false;

  constructor(facts: HopFacts, dependencies: HopDependencies) {
    this.facts = facts;
    this.#dependencies = dependencies;
    this.#startedMs = dependencies.clock.nowMs();
    this.#metrics = dependencies.traffic.connection(hopLabels(facts));
    this.#metrics.opened();
    const { accessLog } = dependencies;
    if (accessLog.verbose) accessLog.write('opened', this.#fields(undefined));
  }

  /** The running join, whose counts are read from now on. */
  attach(join: Join): void {
    if (!this.#over) this.#counts = join.counts;
  }

  /** Calls back once at the end; at once when it is over already. */
  onEnd(callback: () => void): void {
    if (this.#over) callback();
    else this.#onEnd.push(callback);
  }

  get over(): boolean {
    return this.#over;
  }

  /** Where the other end was really reached, once it stands. */
  get dialled(): SocketAddress | undefined {
    return this.#established?.peer;
  }

  established(facts: Established): void {
    this.#established = facts;
  }

  /** Adds what flowed since the last call to the metrics: called before a scrape. */
  flush(): void {
    const received = this.#counts.toUpstream;
    const sent = this.#counts.toDownstream;
    this.#metrics.transferred(received - this.#reported.toUpstream, sent - this.#reported.toDownstream);
    this.#reported = { toUpstream: received, toDownstream: sent };
  }

  ended(end: End): void {
    this.#established = end.established ?? this.#established;
    this.#counts = end.counts;
    this.#finish(endError(end), end.error?.flag ?? (end.kind === 'refused' || end.kind === 'failed' ? 'CONNECT' : '-'));
  }

  /** It was decided against before anything was dialled. */
  refused(reason: string, flag: ResponseFlag): void {
    this.#finish(reason, flag);
  }

  #finish(error: string | undefined, flag: ResponseFlag): void {
    if (this.#over) return;
    this.flush();
    this.#over = true;
    this.#metrics.closed(flag);
    this.#dependencies.accessLog.write('complete', this.#fields(error));
    for (const callback of this.#onEnd.splice(0)) callback();
  }

  #fields(error: string | undefined): AccessLogFields {
    const { direction, source, destination, authority, service, hop } = this.facts;
    const { toUpstream, toDownstream } = this.#counts;
    const dialled = direction === 'outbound' ? (this.#established?.peer ?? destination.address) : destination.address;
    return [
      ['src.addr', formatSocketAddress(source.address)],
      ['src.workload', displayName(source.workload)],
      ['src.namespace', source.workload?.namespace ?? namespaceOf(source.identity)],
      ['src.identity', source.identity],
      ['src.cluster', source.workload?.clusterId],
      ['dst.addr', formatSocketAddress(dialled)],
      ['dst.hbone_addr', authority],
      ['dst.service', service?.hostname],
      ['dst.workload', displayName(destination.workload)],
      ['dst.namespace', destination.workload?.namespace],
      ['dst.identity', destination.identity],
      ['dst.cluster', destination.workload?.clusterId],
      ['direction', direction],
      ['bytes_sent', direction === 'outbound' ? toUpstream : toDownstream],
      ['bytes_recv', direction === 'outbound' ? toDownstream : toUpstream],
      ['duration', `${Math.round(this.#dependencies.clock.nowMs() - this.#startedMs)}ms`],
      ['hop', hop],
      ['error', error],
    ];
  }
}

/** What never became a connection: a log line, and no metric. */
export function logDenied(
  accessLog: AccessLog,
  direction: 'inbound' | 'outbound',
  source: SocketAddress,
  destination: SocketAddress,
  reason: string,
  hop?: string,
): void {
  accessLog.write('denied', [
    ['src.addr', formatSocketAddress(source)],
    ['dst.addr', formatSocketAddress(destination)],
    ['direction', direction],
    ['hop', hop],
    ['error', reason],
  ]);
}

function hopLabels(facts: HopFacts) {
  const { direction, source, destination, service } = facts;
  const { workload } = destination;
  return {
    reporter: direction === 'outbound' ? ('source' as const) : ('destination' as const),
    source: workloadLabels(source.workload, source.identity),
    // A destination's principal is known from the mesh, also in clear; a source's must be proven.
    destination: workloadLabels(workload, destination.identity ?? workload?.identity),
    destinationService: service?.hostname ?? 'unknown',
    destinationServiceName: service?.name ?? 'unknown',
    destinationServiceNamespace: service?.namespace ?? 'unknown',
    connectionSecurityPolicy: source.identity === undefined ? ('unknown' as const) : ('mutual_tls' as const),
  };
}

function workloadLabels(workload: Workload | undefined, principal: SpiffeId | undefined): WorkloadLabels {
  if (workload === undefined) {
    return { ...unknownWorkload, principal: principal ?? 'unknown', namespace: namespaceOf(principal) ?? 'unknown' };
  }
  return {
    workload: workload.workloadName || 'unknown',
    canonicalService: workload.canonicalName || 'unknown',
    canonicalRevision: workload.canonicalRevision || 'unknown',
    namespace: workload.namespace,
    principal: principal ?? 'unknown',
    app: workload.canonicalName || 'unknown',
    version: workload.canonicalRevision || 'unknown',
    cluster: workload.clusterId || 'unknown',
    region: workload.locality?.region || 'unknown',
    zone: workload.locality?.zone || 'unknown',
  };
}

/** A reset that was passed on is no failure of ours. */
function endError(end: End): string | undefined {
  switch (end.kind) {
    case 'closed':
    case 'reset':
      return undefined;
    case 'refused':
      return end.error === undefined ? `http status: ${end.status}` : errorText(end.error);
    case 'failed':
    case 'stopped':
      return end.error === undefined ? `connection ${end.kind}` : errorText(end.error);
  }
}

function displayName(workload: Workload | undefined): string | undefined {
  return workload === undefined ? undefined : workload.name || workload.canonicalName;
}

function namespaceOf(identity: SpiffeId | undefined): string | undefined {
  return identity === undefined ? undefined : parseSpiffeId(identity)?.namespace;
}
