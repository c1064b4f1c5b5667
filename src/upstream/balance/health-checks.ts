/**
 * Active health checks of one cluster's endpoints, each once in an interval, spread over it. Who is not known yet counts as well:
 * an endpoint becomes unwell by failures in a row, and well again by successes.
 *
 * I1: so many checks at once at most; with more endpoints than that allows, each has its turn later. I2: a cluster that nobody
 * has asked for in a while is left alone: checks cost whoever answers them.
 */
import type { Clock, Timer } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import type { HealthCheckPolicy } from '../../route/destination.ts';
import type { Host } from './host.ts';

/** `unknown`: nothing was found out, through no fault of the endpoint. */
export type ProbeResult = 'well' | 'unwell' | 'unknown';

export interface HealthChecksOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly hosts: () => readonly Host[];
  /** Never rejects; is over within the time. */
  readonly probe: (host: Host, timeoutMs: number) => Promise<ProbeResult>;
  readonly changed: (host: Host, failing: boolean) => void;
}

export const mostChecksAtOnce = 16;
/** Without requests for so long, checks stop (Envoy: no_traffic_interval). */
export const unusedMs = 60_000;
const longestPauseMs = 1_000;

export class HealthChecks {
  readonly #options: HealthChecksOptions;
  #policy: HealthCheckPolicy | undefined;
  #timer: Timer | undefined;
  #usedMs = 0;
  #running = 0;
  /** Whose turn it is. */
  #next = 0;
  /** Turns that are due, with what a pause left over. */
  #due = 0;
  #closed = false;

  constructor(options: HealthChecksOptions) {
    this.#options = options;
  }

  /** A request asks for the cluster. */
  used(policy: HealthCheckPolicy): void {
    this.#policy = policy;
    this.#usedMs = this.#options.clock.nowMs();
    if (this.#timer !== undefined || this.#closed) return;
    // The first round begins at once, and not for all waypoints with the same endpoint.
    this.#next = Math.floor(this.#options.random.next() * this.#options.hosts().length);
    this.#due = 1;
    this.#turn();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #turn(): void {
    this.#timer = undefined;
    const policy = this.#policy;
    const { clock } = this.#options;
    if (policy === undefined || this.#closed || clock.nowMs() - this.#usedMs > unusedMs) return;
    const hosts = this.#options.hosts();
    for (; this.#due >= 1 && this.#running < mostChecksAtOnce && hosts.length > 0; this.#due--) {
      const host = hosts[this.#next++ % hosts.length] as Host;
      if (!host.checked) this.#check(host, policy);
    }
    // What could not be done in time is not made up for.
    this.#due = Math.min(this.#due, 1);
    const pauseMs = Math.min(longestPauseMs, Math.max(10, policy.intervalMs / Math.max(1, hosts.length)));
    this.#due += (pauseMs * hosts.length) / policy.intervalMs;
    this.#timer = clock.after(pauseMs, () => this.#turn());
  }

  #check(host: Host, policy: HealthCheckPolicy): void {
    host.checked = true;
    this.#running++;
    void this.#options.probe(host, policy.timeoutMs).then((result) => {
      host.checked = false;
      this.#running--;
      if (!this.#closed && host.present) this.#learn(host, policy, result);
    });
  }

  #learn(host: Host, policy: HealthCheckPolicy, result: ProbeResult): void {
    if (result === 'unknown') return;
    const asBefore = (result === 'unwell') === host.failing;
    host.checks = asBefore ? 0 : host.checks + 1;
    if (host.checks < (host.failing ? policy.healthyThreshold : policy.unhealthyThreshold)) return;
    host.checks = 0;
    this.#options.changed(host, !host.failing);
  }
}
