/**
 * `istio_dns_*` with ztunnel's names and labels (ztunnel.md §8.1), and our own for what it has not. Cells are found once
 * for each client, type and transport.
 *
 * I1: labels are bounded: a type that is not among the usual ones is `other`.
 */
import type { Counter, Histogram, MetricsRegistry } from '../base/metrics.ts';
import type { Workload } from '../mesh/model.ts';
import type { Transport } from './forwarder.ts';

const durationBuckets = [0.0005, 0.001, 0.01, 0.1, 1, 5];

const typeNames: ReadonlyMap<number, string> = new Map([
  [1, 'a'],
  [2, 'ns'],
  [5, 'cname'],
  [6, 'soa'],
  [12, 'ptr'],
  [15, 'mx'],
  [16, 'txt'],
  [28, 'aaaa'],
  [33, 'srv'],
  [35, 'naptr'],
  [43, 'ds'],
  [48, 'dnskey'],
  [64, 'svcb'],
  [65, 'https'],
  [255, 'any'],
  [257, 'caa'],
]);

export function typeName(type: number): string {
  return typeNames.get(type) ?? 'other';
}

export interface DnsCells {
  readonly requests: Counter;
  readonly upstreamRequests: Counter;
  readonly upstreamFailures: Counter;
  readonly upstreamSeconds: Histogram;
}

/** Why a query got no answer, or one of ours in place of the true one. */
export type DnsRefusal = 'waiting' | 'rate' | 'malformed';

export class DnsMetrics {
  readonly #registry: MetricsRegistry;
  readonly #known = new WeakMap<Workload, Map<string, DnsCells>>();
  readonly #unknown = new Map<string, DnsCells>();

  constructor(registry: MetricsRegistry) {
    this.#registry = registry;
  }

  cells(client: Workload | undefined, type: number, transport: Transport): DnsCells {
    const cells = client === undefined ? this.#unknown : this.#known.getOrInsertComputed(client, newCells);
    const name = typeName(type);
    return cells.getOrInsertComputed(`${name}/${transport}`, () => this.#make(client, name, transport));
  }

  /** Looked up each time: these are rare, or meant to be. */
  refused(reason: DnsRefusal): void {
    const help = 'DNS queries dropped or refused: too many waiting, too many a second, or no DNS.';
    this.#registry.counter('ambit_dns_refused_total', help, { reason }).value++;
  }

  #make(client: Workload | undefined, type: string, transport: Transport): DnsCells {
    const registry = this.#registry;
    const labels = {
      request_query_type: type,
      request_protocol: transport,
      source_canonical_service: client?.canonicalName || 'unknown',
      source_canonical_revision: client?.canonicalRevision || 'unknown',
    };
    const counter = (name: string, help: string) => registry.counter(name, help, labels);
    return {
      requests: counter('istio_dns_requests_total', 'DNS requests.'),
      upstreamRequests: counter('istio_dns_upstream_requests_total', 'DNS requests that were forwarded.'),
      upstreamFailures: counter('istio_dns_upstream_failures_total', 'DNS requests that no upstream server answered.'),
      upstreamSeconds: registry.histogram(
        'istio_dns_upstream_request_duration_seconds',
        'Time until the answer to a forwarded DNS request.',
        durationBuckets,
        labels,
      ),
    };
  }
}

function newCells(): Map<string, DnsCells> {
  return new Map();
}
