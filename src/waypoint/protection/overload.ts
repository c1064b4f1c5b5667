/**
 * The waypoint's own limits: requests and tunnels at a time, shares of clients in them, and pressure on the process. What is
 * refused is counted by its reason.
 */
import type { Counter, MetricsRegistry } from '../../base/metrics.ts';
import type { Random } from '../../base/random.ts';
import { type AdmissionVerdict, decidePressure, type Pressure, type PressureLimits } from './admission.ts';
import { Shares } from './shares.ts';

export interface OverloadSettings extends PressureLimits {
  readonly maxRequests: number;
  readonly maxTunnels: number;
  /** Paths whose requests are let through under pressure, while there is room: health checks. */
  readonly priorityPaths: readonly string[];
}

export const defaultOverloadSettings: OverloadSettings = {
  maxRequests: 50_000,
  maxTunnels: 50_000,
  eventLoopDelayMs: 0,
  memoryShare: 0,
  priorityPaths: ['/grpc.health.v1.Health/Check', '/healthz', '/readyz', '/livez'],
};

/** Of a limit, from which on clients are held to their share of it. */
const fairFrom = 0.8;

const reasons = ['too_many', 'client_share', 'event_loop_delay', 'memory'] as const;

export class Overload {
  readonly #settings: OverloadSettings;
  readonly #pressure: () => Pressure;
  readonly #random: Random;
  readonly #priority: ReadonlySet<string>;
  readonly #requests: Shares;
  readonly #tunnels: Shares;
  readonly #shed: Readonly<Record<string, Counter>>;

  constructor(
    settings: OverloadSettings,
    pressure: () => Pressure,
    { random, metrics }: { readonly random: Random; readonly metrics: MetricsRegistry },
  ) {
    this.#settings = settings;
    this.#pressure = pressure;
    this.#random = random;
    this.#priority = new Set(settings.priorityPaths);
    this.#requests = new Shares({ most: settings.maxRequests, fairFrom });
    this.#tunnels = new Shares({ most: settings.maxTunnels, fairFrom });
    const help = 'Requests and tunnels refused because the waypoint was near its limits.';
    this.#shed = Object.fromEntries(
      reasons.map((reason) => [reason, metrics.counter('ambit_shed_total', help, { reason })]),
    );
  }

  get requests(): number {
    return this.#requests.all;
  }

  get tunnels(): number {
    return this.#tunnels.all;
  }

  /** `requestEnded` once for each that was admitted. */
  request(client: string, path: string): AdmissionVerdict {
    const verdict = this.#decide(this.#requests, client, this.#priority.has(path));
    if (verdict.kind === 'admit') this.#requests.begin(client);
    return verdict;
  }

  requestEnded(client: string): void {
    this.#requests.end(client);
  }

  /** Whether one may be opened; `tunnelBegan` says that it was. */
  tunnel(client: string): AdmissionVerdict {
    return this.#decide(this.#tunnels, client, false);
  }

  /** `tunnelEnded` once for each. */
  tunnelBegan(client: string): void {
    this.#tunnels.begin(client);
  }

  tunnelEnded(client: string): void {
    this.#tunnels.end(client);
  }

  #decide(shares: Shares, client: string, priority: boolean): AdmissionVerdict {
    let verdict = shares.decide(client);
    const { eventLoopDelayMs, memoryShare } = this.#settings;
    if (verdict.kind === 'admit' && !priority && (eventLoopDelayMs > 0 || memoryShare > 0)) {
      verdict = decidePressure(this.#settings, this.#pressure(), this.#random.next());
    }
    if (verdict.kind === 'refuse') (this.#shed[verdict.reason] as Counter).value++;
    return verdict;
  }
}
