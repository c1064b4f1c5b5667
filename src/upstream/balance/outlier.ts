/**
 * What one endpoint's answers say about it: Envoy's consecutive detectors as a state machine. Pure but for the state, which is
 * the caller's and changed in place: this runs for every request. Whether an endpoint may be ejected is for
 * `outlier-detector.ts`, who knows the others. Source: Envoy, "Outlier detection".
 */
import type { OutlierPolicy } from '../../route/destination.ts';

export type OutlierReason = 'consecutive-5xx' | 'consecutive-gateway-errors' | 'consecutive-local-origin-failures';

export interface OutlierState {
  consecutive5xx: number;
  consecutiveGatewayErrors: number;
  consecutiveLocalOrigin: number;
  /** Undefined: not ejected. */
  ejected: { readonly reason: OutlierReason; readonly atMs: number; untilMs: number } | undefined;
  /** Ejections are longer the more of them there were lately. */
  backoff: number;
  /** In all, for the view. */
  ejections: number;
}

export function newOutlierState(): OutlierState {
  return {
    consecutive5xx: 0,
    consecutiveGatewayErrors: 0,
    consecutiveLocalOrigin: 0,
    ejected: undefined,
    backoff: 0,
    ejections: 0,
  };
}

/** What became of a try. A status is HTTP's, or the one that stands for gRPC's. */
export type OutlierEvent =
  | { readonly kind: 'status'; readonly status: number }
  /** TCP: there is a connection. */
  | { readonly kind: 'connected' }
  | { readonly kind: 'connect-failure' | 'timeout' | 'reset' };

/** Longest ejection, or the base where that is longer (Envoy's default). */
export const maxEjectionMs = 300_000;

/** The detector that has had enough; its counter starts anew. */
export function observe(state: OutlierState, policy: OutlierPolicy, event: OutlierEvent): OutlierReason | undefined {
  if (policy.splitLocalOrigin) {
    if (event.kind === 'connect-failure' || event.kind === 'timeout') return localFailure(state, policy);
    // Whatever was answered, there was a connection.
    if (event.kind !== 'reset') state.consecutiveLocalOrigin = 0;
    if (event.kind === 'connected') return undefined;
  }
  return observeStatus(state, policy, statusOf(event));
}

/** Envoy's: a failure to connect counts as 503, no answer in time as 504, a broken connection as 500. */
function statusOf(event: OutlierEvent): number {
  switch (event.kind) {
    case 'status':
      return event.status;
    case 'connected':
      return 200;
    case 'connect-failure':
      return 503;
    case 'timeout':
      return 504;
    case 'reset':
      return 500;
  }
}

function observeStatus(state: OutlierState, policy: OutlierPolicy, status: number): OutlierReason | undefined {
  if (status < 500) {
    state.consecutive5xx = 0;
    state.consecutiveGatewayErrors = 0;
    return undefined;
  }
  let reason: OutlierReason | undefined;
  if (status < 502 || status > 504) state.consecutiveGatewayErrors = 0;
  else if (++state.consecutiveGatewayErrors === policy.consecutiveGatewayErrors) {
    state.consecutiveGatewayErrors = 0;
    reason = 'consecutive-gateway-errors';
  }
  if (++state.consecutive5xx === policy.consecutive5xx) {
    state.consecutive5xx = 0;
    reason ??= 'consecutive-5xx';
  }
  return reason;
}

function localFailure(state: OutlierState, policy: OutlierPolicy): OutlierReason | undefined {
  if (++state.consecutiveLocalOrigin !== policy.consecutiveLocalOrigin) return undefined;
  state.consecutiveLocalOrigin = 0;
  return 'consecutive-local-origin-failures';
}

export function eject(state: OutlierState, policy: OutlierPolicy, reason: OutlierReason, nowMs: number): void {
  const longestMs = Math.max(maxEjectionMs, policy.baseEjectionMs);
  if (policy.baseEjectionMs * state.backoff < longestMs) state.backoff++;
  state.ejections++;
  const forMs = Math.min(policy.baseEjectionMs * state.backoff, longestMs);
  state.ejected = { reason, atMs: nowMs, untilMs: nowMs + forMs };
}

/** Looked at every `intervalMs`. True: it is back. */
export function sweep(state: OutlierState, nowMs: number): boolean {
  if (state.ejected === undefined) {
    if (state.backoff > 0) state.backoff--;
    return false;
  }
  if (nowMs < state.ejected.untilMs) return false;
  readmit(state);
  return true;
}

/** Its counters start anew: one old error more would send it away at once. */
export function readmit(state: OutlierState): void {
  state.ejected = undefined;
  state.consecutive5xx = 0;
  state.consecutiveGatewayErrors = 0;
  state.consecutiveLocalOrigin = 0;
}

/** Whether another one of so many may go: within the limit, or the first one where others are left. */
export function mayEject(ejected: number, total: number, policy: OutlierPolicy): boolean {
  if (((ejected + 1) * 100) / total <= policy.maxEjectionPercent) return true;
  return ejected === 0 && total > 1;
}
