/**
 * What one destination (a service's port, or a subset of it) has under way at this waypoint, against the limits its
 * DestinationRule sets: connections, requests that wait for one, requests, retries (Envoy's circuit breakers). Plain counters;
 * who refuses says so with 503 and the flag UO.
 *
 * I1: what is entered is left exactly once, by whoever entered it.
 * I2: retries are bounded even where nobody set a limit: those of requests that may have reached the application are never
 *     more than a share of what is under way, so that they cannot multiply an outage.
 */
import type { Counter } from '../base/metrics.ts';
import type { RetryBudgetPolicy } from '../route/destination.ts';

export const circuitResources = ['connections', 'pending', 'requests', 'retries'] as const;
export type CircuitResource = (typeof circuitResources)[number];

export interface CircuitLimits {
  readonly maxConnections: number;
  /** Requests that wait for a connection. */
  readonly maxPending: number;
  readonly maxRequests: number;
  readonly maxRetries: number;
  /** Undefined: `defaultBudget`, for retries that cost the application something. */
  readonly budget: RetryBudgetPolicy | undefined;
}

export const noLimits: CircuitLimits = {
  maxConnections: Number.POSITIVE_INFINITY,
  maxPending: Number.POSITIVE_INFINITY,
  maxRequests: Number.POSITIVE_INFINITY,
  maxRetries: Number.POSITIVE_INFINITY,
  budget: undefined,
};

/** Envoy's share where a budget is set; more at the least, so that few requests can all be tried again. */
export const defaultBudget: RetryBudgetPolicy = { percent: 20, minRetryConcurrency: 10 };

export class Circuit {
  /** Replaced when the rule changes; what is under way stays counted. */
  limits: CircuitLimits;
  connections = 0;
  pending = 0;
  requests = 0;
  retries = 0;
  readonly #overflows: (resource: CircuitResource) => Counter | undefined;

  /** `overflows`: where refusals are counted. */
  constructor(
    limits: CircuitLimits = noLimits,
    overflows: (resource: CircuitResource) => Counter | undefined = nowhere,
  ) {
    this.limits = limits;
    this.#overflows = overflows;
  }

  /** False: there are as many as may be. Otherwise `leaveRequest` follows. */
  enterRequest(): boolean {
    if (this.requests >= this.limits.maxRequests) return this.refuse('requests');
    this.requests++;
    return true;
  }

  leaveRequest(): void {
    this.requests--;
  }

  /** `unsent`: the try before did certainly not reach the application. If true, `leaveRetry` follows. */
  enterRetry(unsent: boolean): boolean {
    const { maxRetries, budget } = this.limits;
    const { percent, minRetryConcurrency } = budget ?? defaultBudget;
    const share = Math.max(minRetryConcurrency, Math.floor((this.requests * percent) / 100));
    // A budget that was set stands in place of the plain limit, and counts every retry.
    const most = budget !== undefined ? share : unsent ? maxRetries : Math.min(share, maxRetries);
    if (this.retries >= most) return this.refuse('retries');
    this.retries++;
    return true;
  }

  leaveRetry(): void {
    this.retries--;
  }

  /** Counts a refusal. */
  refuse(resource: CircuitResource): false {
    const counter = this.#overflows(resource);
    if (counter !== undefined) counter.value++;
    return false;
  }
}

function nowhere(): undefined {}
