/**
 * One hop of one connection as logs, metrics and the registry see it: opened before the upstream is dialled, closed
 * exactly once, with the fields of ztunnel.md §8.2 and the labels of §8.1.
 *
 * I1: `opened` and `closed` come in pairs, and one `complete` line is written, whatever the relay reports and when.
 */
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { errorText, type ResponseFlag } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { ByteCounts, End, Established, Join, JoinObserver } from '../hbone/seam.ts';
import type { Span, Tracing } from '../telemetry/tracing/span.ts';
import type { AccessLog, AccessLogFields, ConnectionMetrics, TrafficMetrics } from '../telemetry/traffic.ts';
import type { HopFacts, HopParty } from './hop-facts.ts';
import { hopLabels, namespaceOf } from './hop-labels.ts';
import { hopAttributes, startHopSpan } from './hop-span.ts';

export interface HopDependencies {
  readonly traffic: TrafficMetrics;
  readonly accessLog: AccessLog;
  readonly clock: Clock;
  readonly random: Random;
  /** Undefined: nothing is traced. */
  readonly tracing?: Tracing | undefined;
}

const noBytes: Readonly<ByteCounts> = { toUpstream: 0, toDownstream: 0 };

export class Hop implements JoinObserver {
  readonly #dependencies: HopDependencies;
  #facts: HopFacts;
  /** Undefined while it is unknown who the destination is. */
  #metrics: ConnectionMetrics | undefined;
  readonly #startedMs: number;
  readonly #span: Span | undefined;
  readonly #onEnd: (() => void)[] = [];
  #counts = noBytes;
  #reported: ByteCounts = { toUpstream: 0, toDownstream: 0 };
  #established: Established | undefined;
  #over = false;

  constructor(facts: HopFacts, dependencies: HopDependencies) {
    this.#facts = facts;
    this.#dependencies = dependencies;
    this.#startedMs = dependencies.clock.nowMs();
    if (facts.behindGateway === undefined) this.#opened();
    const { accessLog, tracing, random } = dependencies;
    this.#span = tracing === undefined ? undefined : startHopSpan(facts, tracing, random);
    if (accessLog.verbose) accessLog.write('opened', this.#fields(undefined));
  }

  get facts(): HopFacts {
    return this.#facts;
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
    const { behindGateway } = this.#facts;
    if (behindGateway === undefined) return;
    const { address } = this.#facts.destination;
    const identity = facts.peerIdentity;
    const baggage = facts.headers.find(([name]) => name === 'baggage')?.[1];
    const names = behindGateway.of(baggage, identity);
    this.#facts = { ...this.#facts, destination: { address, workload: undefined, identity, names } };
    this.#opened();
  }

  /** Adds what flowed since the last call to the metrics: called before a scrape. */
  flush(): void {
    const received = this.#counts.toUpstream;
    const sent = this.#counts.toDownstream;
    this.#metrics?.transferred(received - this.#reported.toUpstream, sent - this.#reported.toDownstream);
    this.#reported = { toUpstream: received, toDownstream: sent };
  }

  ended(end: End): void {
    if (end.established !== undefined && this.#metrics === undefined) this.established(end.established);
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
    const metrics = this.#metrics ?? this.#opened();
    this.flush();
    this.#over = true;
    metrics.closed(flag);
    this.#dependencies.accessLog.write('complete', this.#fields(error));
    this.#span?.end(hopAttributes(this.facts, { flag, ...this.#counts }), error);
    for (const callback of this.#onEnd.splice(0)) callback();
  }

  #opened(): ConnectionMetrics {
    const metrics = this.#dependencies.traffic.connection(hopLabels(this.#facts));
    this.#metrics = metrics;
    metrics.opened();
    return metrics;
  }

  #fields(error: string | undefined): AccessLogFields {
    const { direction, source, destination, authority, service, hop } = this.#facts;
    const { toUpstream, toDownstream } = this.#counts;
    const dialled = direction === 'outbound' ? (this.#established?.peer ?? destination.address) : destination.address;
    return [
      ['src.addr', formatSocketAddress(source.address)],
      ['src.workload', displayName(source)],
      ['src.namespace', source.workload?.namespace ?? namespaceOf(source.identity)],
      ['src.identity', source.identity],
      ['src.cluster', (source.workload ?? source.names)?.clusterId || undefined],
      ['dst.addr', formatSocketAddress(dialled)],
      ['dst.hbone_addr', authority],
      ['dst.service', service?.hostname],
      ['dst.workload', displayName(destination)],
      ['dst.namespace', destination.workload?.namespace ?? namespaceOf(destination.identity)],
      ['dst.identity', destination.identity],
      ['dst.cluster', (destination.workload ?? destination.names)?.clusterId || undefined],
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

function displayName({ workload, names }: HopParty): string | undefined {
  if (workload !== undefined) return workload.name || workload.canonicalName || undefined;
  return names?.workloadName || names?.canonicalName || undefined;
}
