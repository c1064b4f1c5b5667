/**
 * Whether a failed try is tried again (Envoy's retry conditions as Istio exposes them). Pure: who calls it knows the
 * deadline, the buffered body and the endpoints.
 */
import type { Random } from '../base/random.ts';
import type { RetryPolicy } from './model.ts';

export type TryResult =
  /** No connection: nothing was sent. */
  | { readonly kind: 'connect-failure' }
  /** The peer said it did not process the request. */
  | { readonly kind: 'refused-stream' }
  /** The connection broke before a response. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'per-try-timeout' }
  | { readonly kind: 'status'; readonly status: number };

/** Mesh default: only what is safe for any request, because nothing of it was processed. */
export const defaultRetryPolicy: RetryPolicy = {
  attempts: 2,
  perTryTimeoutMs: undefined,
  onConnectFailure: true,
  onRefusedStream: true,
  onReset: false,
  on5xx: false,
  onGatewayError: false,
  onRetriable4xx: false,
  statusCodes: new Set(),
  backoffMs: 25,
};

/** Longest wait between two tries, as Envoy: ten times the base. */
const capFactor = 10;

export function shouldRetry(policy: RetryPolicy, retriesDone: number, result: TryResult): boolean {
  return retriesDone < policy.attempts && isRetriable(policy, result);
}

/** Whether the policy could ask for a retry after the request's body was sent: only then is it worth keeping. */
export function mayResendBody(policy: RetryPolicy): boolean {
  return policy.attempts > 0;
}

/** Full jitter, exponential, capped. `retriesDone` counts those before this one. */
export function retryDelayMs(policy: RetryPolicy, retriesDone: number, random: Random): number {
  const ceiling = Math.min(policy.backoffMs * 2 ** retriesDone, policy.backoffMs * capFactor);
  return random.next() * ceiling;
}

function isRetriable(policy: RetryPolicy, result: TryResult): boolean {
  switch (result.kind) {
    case 'connect-failure':
      return policy.onConnectFailure || policy.onGatewayError || policy.on5xx;
    case 'refused-stream':
      return policy.onRefusedStream || policy.onReset || policy.on5xx;
    case 'per-try-timeout':
      return true;
    case 'reset':
      return policy.onReset || policy.on5xx || policy.onGatewayError;
    case 'status':
      return isRetriableStatus(policy, result.status);
  }
}

function isRetriableStatus(policy: RetryPolicy, status: number): boolean {
  if (policy.statusCodes.has(status)) return true;
  if (policy.on5xx && status >= 500 && status <= 599) return true;
  if (policy.onGatewayError && status >= 502 && status <= 504) return true;
  return policy.onRetriable4xx && status === 409;
}
