/**
 * Ejection of the endpoints of one cluster: who is sent away, how many may be, and when they come back.
 *
 * I1: one timer for a cluster, and only while something waits to be forgiven. I2: what is kept is kept on the hosts, so it
 * is bounded by their number and goes with them.
 */
import type { Clock, Timer } from '../../base/clock.ts';
import type { OutlierPolicy } from '../../route/destination.ts';
import { isOneClientsMatter, trace } from './client-trace.ts';
import type { Host } from './host.ts';
import { eject, mayEject, type OutlierEvent, type OutlierReason, observe, readmit, sweep } from './outlier.ts';

export interface OutlierListener {
  ejected(host: Host, reason: OutlierReason): void;
  /** Not sent away, though it had enough errors: too many are, or they were one client's matter. */
  spared(host: Host, reason: OutlierReason, why: 'too-many' | 'one-client'): void;
  returned(host: Host): void;
}

export class OutlierDetector {
  readonly #clock: Clock;
  readonly #hosts: () => readonly Host[];
  readonly #listener: OutlierListener;
  #policy: OutlierPolicy | undefined;
  #timer: Timer | undefined;
  #ejected = 0;

  /** `hosts`: all of the cluster, of the moment. */
  constructor(clock: Clock, hosts: () => readonly Host[], listener: OutlierListener) {
    this.#clock = clock;
    this.#hosts = hosts;
    this.#listener = listener;
  }

  get ejected(): number {
    return this.#ejected;
  }

  /** Ejections stand when settings change; without any, everybody is back. */
  follow(policy: OutlierPolicy | undefined): void {
    if (policy === this.#policy) return;
    const interval = this.#policy?.intervalMs;
    this.#policy = policy;
    if (policy === undefined) this.#forgive();
    else if (this.#timer !== undefined && interval !== policy.intervalMs) {
      this.#stop();
      this.#watch(policy);
    }
  }

  /** A try to the host has ended so. `client`: whose it was, where that can have to do with it. */
  observe(host: Host, event: OutlierEvent, client?: string): void {
    const policy = this.#policy;
    if (policy === undefined || !host.present) return;
    const nowMs = this.#clock.nowMs();
    if (client !== undefined) trace(host.clients, client, event, nowMs);
    const reason = observe(host.outlier, policy, event);
    // Answers to what was sent before it went say nothing new.
    if (reason === undefined || host.outlier.ejected !== undefined) return;
    // That nobody is there no request brings about.
    if (event.kind !== 'connect-failure' && client !== undefined) {
      if (isOneClientsMatter(host.clients, policy.intervalMs, nowMs)) {
        this.#listener.spared(host, reason, 'one-client');
        return;
      }
    }
    if (!mayEject(this.#ejected, this.#hosts().length, policy)) {
      this.#listener.spared(host, reason, 'too-many');
      return;
    }
    eject(host.outlier, policy, reason, nowMs);
    this.#ejected++;
    this.#watch(policy);
    this.#listener.ejected(host, reason);
  }

  /** The host has left the cluster. */
  left(host: Host): void {
    if (host.ejected !== undefined) this.#ejected--;
  }

  close(): void {
    this.#stop();
  }

  #watch(policy: OutlierPolicy): void {
    this.#timer ??= this.#clock.after(policy.intervalMs, () => this.#sweep());
  }

  #sweep(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.nowMs();
    let waiting = false;
    for (const host of this.#hosts()) {
      if (!host.watched) continue;
      if (sweep(host.outlier, nowMs)) {
        this.#ejected--;
        this.#listener.returned(host);
      }
      waiting ||= host.outlier.ejected !== undefined || host.outlier.backoff > 0;
    }
    if (waiting && this.#policy !== undefined) this.#watch(this.#policy);
  }

  #forgive(): void {
    this.#stop();
    for (const host of this.#hosts()) {
      if (!host.watched) continue;
      const gone = host.outlier.ejected !== undefined;
      readmit(host.outlier);
      host.outlier.backoff = 0;
      if (gone) this.#listener.returned(host);
    }
    this.#ejected = 0;
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
