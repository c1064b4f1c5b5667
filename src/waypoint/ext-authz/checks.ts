/** What a waypoint knows of all its questions to external authorization services: how they ended, and what they hold. */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { Counter, MetricsRegistry } from '../../base/metrics.ts';
import { HeldMemory } from '../../http/held-memory.ts';

/** All bodies that are held while providers are asked. */
const mostHeldBytes = 64 * 1024 * 1024;

const tellEveryMs = 10_000;
const mostTold = 1_000;

const outcomes = ['allowed', 'denied', 'error', 'failed-open'] as const;
export type CheckOutcome = (typeof outcomes)[number];

export class Checks {
  /** Of bodies, while providers are asked. */
  readonly held = new HeldMemory(mostHeldBytes);
  readonly #counters: Readonly<Record<CheckOutcome, Counter>>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #toldMs = new Map<string, number>();

  constructor({
    metrics,
    clock,
    logger,
  }: { readonly metrics: MetricsRegistry; readonly clock: Clock; readonly logger: Logger }) {
    const help = 'Questions to external authorization services, by outcome.';
    const counter = (outcome: CheckOutcome) =>
      [outcome, metrics.counter('ambit_ext_authz_checks_total', help, { outcome })] as const;
    this.#counters = Object.fromEntries(outcomes.map(counter)) as Record<CheckOutcome, Counter>;
    this.#clock = clock;
    this.#logger = logger;
  }

  count(outcome: CheckOutcome): void {
    this.#counters[outcome].value++;
  }

  /** Not each: whoever asks a provider that is down asks it for every request. */
  failed(provider: string, reason: string, failOpen: boolean): void {
    this.count(failOpen ? 'failed-open' : 'error');
    const nowMs = this.#clock.nowMs();
    if (nowMs - (this.#toldMs.get(provider) ?? Number.NEGATIVE_INFINITY) < tellEveryMs) return;
    if (this.#toldMs.size >= mostTold) this.#toldMs.clear();
    this.#toldMs.set(provider, nowMs);
    const effect = failOpen ? 'requests pass, as failOpen asks for' : 'requests are refused';
    this.#logger.warn(`external authorization fails; ${effect}`, { provider, reason });
  }
}
