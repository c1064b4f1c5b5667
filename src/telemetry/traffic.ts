/**
 * What proxies call to report traffic. A proxy asks for the cells of a label set once per connection (or per route and
 * response class) and then only adds numbers. `traffic-metrics.ts` implements it; label sets are interned and bounded.
 */
import type { RequestLabels, TrafficLabels } from './traffic-labels.ts';

/** Cells of one connection's label set; `received`: bytes client → server, `sent`: server → client, as Istio names them. */
export interface ConnectionMetrics {
  opened(): void;
  /** Adds to the live byte counters. */
  transferred(received: number, sent: number): void;
  /** `flag`: ztunnel's, or Envoy's at a waypoint; `-` for none. */
  closed(flag: string): void;
}

export interface TrafficMetrics {
  /** Labels that are the same object are looked up once: keep them where connections repeat. */
  connection(labels: TrafficLabels): ConnectionMetrics;
  /** One finished request at a waypoint; labels as for `connection`. Sizes in bytes, heads included. */
  request(
    labels: TrafficLabels,
    request: RequestLabels,
    durationMs: number,
    requestBytes: number,
    responseBytes: number,
  ): void;
  /** gRPC messages from the client and to it since the last call. */
  messages(labels: TrafficLabels, received: number, sent: number): void;
}

/** One line per connection or request. Undefined fields are left out; order of keys is the order printed. */
export type AccessLogFields = readonly (readonly [key: string, value: string | number | undefined])[];

export interface AccessLog {
  /**
   * `complete`: info, or error when `fields` has one. `denied`: warn, for what never became a connection. `repeated`: what
   * many lines say; it comes first, and a list that is the same object is put into text once.
   */
  write(
    event: 'opened' | 'complete' | 'denied',
    fields: AccessLogFields,
    ...repeated: readonly AccessLogFields[]
  ): void;
  /** Whether `opened` lines are wanted. */
  readonly verbose: boolean;
}
