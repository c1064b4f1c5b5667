/**
 * What each pod of this node may take of the process, so that none of them starves the others (docs/limits.md). Sockets
 * wait in the kernel's queue where waiting helps (rates, handshakes, descriptors) and are refused where it does not.
 *
 * I1: every limit is per workload, and reaching it changes nothing for any other workload.
 * I2: the last quarter of the descriptors goes to pods that hold fewer than their equal part of it.
 * I3: reaching a limit is counted, shown in the dump, and logged once a minute for each pod and limit.
 */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import { TokenBucket } from '../base/token-bucket.ts';
import type { SessionAdmission, SessionShare } from '../hbone/seam.ts';
import type { Workload } from '../mesh/model.ts';
import type { AcceptGate } from '../net/acceptor.ts';
import { type DescriptorLimits, descriptorUse } from '../net/descriptors.ts';

export interface PodLimits {
  /** Live connections, both directions; each CONNECT is one. */
  readonly connections: number;
  /** New ones a second, each direction for itself; twice as many at once after a rest. */
  readonly connectionsPerSecond: number;
  /** Tunnel sessions into the pod. */
  readonly sessions: number;
  /** TLS handshakes into the pod: not finished, and begun a second. */
  readonly handshakes: number;
  readonly handshakesPerSecond: number;
  /** Held in our queues for the pod's connections. */
  readonly bufferedBytes: number;
}

export const defaultPodLimits: PodLimits = {
  connections: 16_384,
  connectionsPerSecond: 5000,
  sessions: 4096,
  handshakes: 256,
  handshakesPerSecond: 1000,
  bufferedBytes: 256 * 1024 * 1024,
};

export type LimitName =
  | 'connections'
  | 'connection_rate'
  | 'sessions'
  | 'handshakes'
  | 'handshake_rate'
  | 'buffered_bytes'
  | 'descriptors';

export type Direction = 'inbound' | 'outbound';

export interface PodBudgetDump {
  readonly connections: number;
  readonly sessions: number;
  readonly handshakes: number;
  /** Times each limit was reached; those never reached are left out. */
  readonly reached: Readonly<Partial<Record<LimitName, number>>>;
}

export interface PodBudgetsOptions {
  readonly limits: PodLimits;
  readonly descriptors: DescriptorLimits;
  /** Live connections of a workload. */
  readonly connectionsOf: (uid: string) => number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
}

/** How soon a listener looks again when nothing tells it that there is room. */
const fullWaitMs = 20;
const logEveryMs = 60_000;
/** Idle budgets are forgotten beyond so many. */
const mostIdle = 1024;
const unknown = '';

const settingOf: Readonly<Record<LimitName, string>> = {
  connections: 'AMBIT_MAX_CONNECTIONS_PER_POD',
  connection_rate: 'AMBIT_CONNECTION_RATE_PER_POD',
  sessions: 'AMBIT_MAX_SESSIONS_PER_POD',
  handshakes: 'AMBIT_MAX_HANDSHAKES_PER_POD',
  handshake_rate: 'AMBIT_HANDSHAKE_RATE_PER_POD',
  buffered_bytes: 'AMBIT_MAX_BUFFERED_BYTES_PER_POD',
  descriptors: 'AMBIT_MAX_DESCRIPTORS',
};

export class PodBudgets {
  readonly #options: PodBudgetsOptions;
  readonly #pods = new Map<string, PodBudget>();

  constructor(options: PodBudgetsOptions) {
    this.#options = options;
  }

  get limits(): PodLimits {
    return this.#options.limits;
  }

  /** Takes one new connection of the workload; why not, for log and answer, when it may have none. */
  admit(workload: Workload | undefined, direction: Direction): string | undefined {
    const budget = this.#of(workload);
    const limit = this.#full(budget) ?? (budget.rates[direction].take(this.#nowMs()) ? undefined : 'connection_rate');
    if (limit === undefined) return undefined;
    this.reached(workload, limit);
    return `too many connections of ${budget.name}: limit ${limit} (${settingOf[limit]})`;
  }

  /** For listeners that take plain connections of one workload; of many, only descriptors can make them wait. */
  gate(direction: Direction, workload: () => Workload | undefined): AcceptGate {
    return {
      waitMs: () => {
        const sole = workload();
        const budget = this.#of(sole);
        if (!this.#hasDescriptors(budget)) return this.#wait(sole, 'descriptors', fullWaitMs);
        if (sole === undefined) return 0;
        const waitMs = budget.rates[direction].waitMs(this.#nowMs());
        return waitMs === 0 ? 0 : this.#wait(sole, 'connection_rate', waitMs);
      },
    };
  }

  /** For listeners that take tunnels. */
  admission(workload: () => Workload | undefined): SessionAdmission {
    return {
      waitMs: () => {
        const sole = workload();
        const budget = this.#of(sole);
        if (!this.#hasDescriptors(budget)) return this.#wait(sole, 'descriptors', fullWaitMs);
        if (sole === undefined) return 0;
        const { sessions, handshakes } = this.limits;
        if (budget.sessions >= sessions) return this.#wait(sole, 'sessions', fullWaitMs);
        if (budget.handshakes >= handshakes) return this.#wait(sole, 'handshakes', fullWaitMs);
        const waitMs = budget.handshakeRate.waitMs(this.#nowMs());
        return waitMs === 0 ? 0 : this.#wait(sole, 'handshake_rate', waitMs);
      },
      entered: () => this.#of(workload()).enter(this.#nowMs()),
    };
  }

  /** Notes that a limit was reached, wherever that was found out. */
  reached(workload: Workload | undefined, limit: LimitName): void {
    const { clock, logger, metrics } = this.#options;
    const budget = this.#of(workload);
    const help = 'Times a pod was at one of its limits, by limit (docs/limits.md).';
    metrics.counter('ambit_limit_reached_total', help, { limit }).value++;
    const times = budget.reached.get(limit) ?? { count: 0, loggedMs: Number.NEGATIVE_INFINITY };
    budget.reached.set(limit, times);
    times.count++;
    if (clock.nowMs() - times.loggedMs < logEveryMs) return;
    times.loggedMs = clock.nowMs();
    logger.warn('a pod is at its limit', { pod: budget.name, limit, setting: settingOf[limit], times: times.count });
  }

  /** Limits, descriptors, and every pod that holds something or was at a limit. */
  dump(): Readonly<Record<string, unknown>> {
    const { limits, descriptors } = this.#options;
    const pods: Record<string, PodBudgetDump> = {};
    for (const budget of this.#pods.values()) {
      const connections = this.#options.connectionsOf(budget.uid);
      const reached = Object.fromEntries([...budget.reached].map(([limit, { count }]) => [limit, count]));
      const { name, sessions, handshakes } = budget;
      if (connections + sessions + budget.reached.size > 0) pods[name] = { connections, sessions, handshakes, reached };
    }
    return { limits, descriptors: { ...descriptors, ...descriptorUse(descriptors) }, pods };
  }

  #of(workload: Workload | undefined): PodBudget {
    const uid = workload?.uid ?? unknown;
    const known = this.#pods.get(uid);
    if (known !== undefined) return known;
    if (this.#pods.size >= mostIdle) this.#forgetIdle();
    const name = workload === undefined ? 'unknown workloads' : `${workload.namespace}/${workload.name}`;
    const budget = new PodBudget(uid, name, this.limits, this.#nowMs());
    this.#pods.set(uid, budget);
    return budget;
  }

  #full(budget: PodBudget): LimitName | undefined {
    if (this.#options.connectionsOf(budget.uid) >= this.limits.connections) return 'connections';
    return this.#hasDescriptors(budget) ? undefined : 'descriptors';
  }

  /** A connection takes two: its own, and the one it leads to. */
  #hasDescriptors(budget: PodBudget): boolean {
    const { used, available } = descriptorUse(this.#options.descriptors);
    if (used + 2 <= available * 0.75) return true;
    if (used + 2 > available) return false;
    const held = 2 * this.#options.connectionsOf(budget.uid) + budget.sessions;
    return held < (available * 0.25) / Math.max(1, this.#pods.size);
  }

  #wait(workload: Workload | undefined, limit: LimitName, waitMs: number): number {
    this.reached(workload, limit);
    return waitMs;
  }

  #forgetIdle(): void {
    for (const [uid, budget] of this.#pods) {
      if (budget.sessions === 0 && this.#options.connectionsOf(uid) === 0) this.#pods.delete(uid);
    }
  }

  #nowMs(): number {
    return this.#options.clock.nowMs();
  }
}

class PodBudget {
  readonly uid: string;
  readonly name: string;
  readonly rates: Readonly<Record<Direction, TokenBucket>>;
  readonly handshakeRate: TokenBucket;
  readonly reached = new Map<LimitName, { count: number; loggedMs: number }>();
  sessions = 0;
  handshakes = 0;

  constructor(uid: string, name: string, limits: PodLimits, nowMs: number) {
    this.uid = uid;
    this.name = name;
    const { connectionsPerSecond: rate, handshakesPerSecond } = limits;
    this.rates = { inbound: new TokenBucket(rate, 2 * rate, nowMs), outbound: new TokenBucket(rate, 2 * rate, nowMs) };
    this.handshakeRate = new TokenBucket(handshakesPerSecond, 2 * handshakesPerSecond, nowMs);
  }

  /** A connection of a tunnel listener, from accept to its end. */
  enter(nowMs: number): SessionShare {
    this.handshakeRate.take(nowMs);
    this.sessions++;
    this.handshakes++;
    let shaking = true;
    const secured = () => {
      if (shaking) this.handshakes--;
      shaking = false;
    };
    const left = () => {
      secured();
      this.sessions--;
    };
    return { secured, left };
  }
}
