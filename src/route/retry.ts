/**
 * Whether a failed try is tried again: Envoy's retry conditions as Istio exposes them, and one rule more. Pure: who calls it
 * knows the deadline, the buffered body, the endpoints and the budget.
 *
 * I1: a request that may change something each time it is sent (RFC 9110 §9.2.2) goes out again only when it certainly was
 *     not acted upon, or when the user or its client says that it may (GEP-1731: not by default where it may have been processed).
 *     gRPC knows no methods that are safe: there the status that the policy names decides.
 */
import type { Random } from '../base/random.ts';
import { type HeaderList, headerValue } from '../http/header-list.ts';
import type { RetryPolicy } from './retry-policy.ts';

export type TryResult =
  /** No connection: nothing was sent. */
  | { readonly kind: 'connect-failure' }
  /** The peer said it did not process the request. */
  | { readonly kind: 'refused-stream' }
  /**
   * The connection broke before a response. `stale`: it had been used before, and nothing came back: most probably the server
   * was just closing it and never read the request.
   */
  | { readonly kind: 'reset'; readonly stale?: boolean }
  | { readonly kind: 'per-try-timeout' }
  /** A limit of ours: never tried again, or it would be none. */
  | { readonly kind: 'overflow' }
  | {
      readonly kind: 'status';
      readonly status: number;
      /** Of a response without a body: gRPC's trailers-only. */
      readonly grpcStatus?: number | undefined;
      /** A rate limit said no. */
      readonly rateLimited?: boolean;
    };

const grpcCancelled = 1;
const grpcUnavailable = 14;

/** Mesh default, as Istio's: only what is safe for any request, because nothing of it was processed. */
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
  grpcStatuses: new Set([grpcCancelled, grpcUnavailable]),
  backoffMs: 25,
};

/** Longest wait between two tries, as Envoy: ten times the base. */
const capFactor = 10;

const idempotentMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/** Whether sending it twice may have another effect than sending it once. A client may say that it has not. */
export function mayRepeat(method: string, headers: HeaderList): boolean {
  return (
    idempotentMethods.has(method) ||
    headerValue(headers, 'idempotency-key') !== undefined ||
    headerValue(headers, 'x-idempotency-key') !== undefined
  );
}

/**
 * Of answers by which a server says that it did not act upon the request: another one is asked for (421, RFC 9110 §15.5.20), it
 * came too early (425, RFC 8470 §5.2), there were too many (429, RFC 6585 §4).
 */
const unprocessed: ReadonlySet<number> = new Set([421, 425, 429]);

/** What of a response's head counts. */
export function statusResult(status: number, headers: HeaderList): Extract<TryResult, { kind: 'status' }> {
  const grpc = headerValue(headers, 'grpc-status');
  return {
    kind: 'status',
    status,
    grpcStatus: grpc === undefined ? undefined : Number(grpc),
    rateLimited: headerValue(headers, 'x-envoy-ratelimited') !== undefined,
  };
}

/** `repeatable`: see `mayRepeat`. */
export function shouldRetry(policy: RetryPolicy, retriesDone: number, result: TryResult, repeatable = true): boolean {
  return retriesDone < policy.attempts && isRetriable(policy, result, repeatable || policy.nonIdempotent === true);
}

/** Whether the policy could ask for a retry after the request's body was sent: only then is it worth keeping. */
export function mayResendBody(policy: RetryPolicy): boolean {
  return policy.attempts > 0;
}

/** The request cost the application nothing, or, on a connection that was closed meanwhile, almost certainly nothing. */
export function wasUnsent(result: TryResult): boolean {
  if (result.kind === 'reset') return result.stale === true;
  return result.kind === 'connect-failure' || result.kind === 'refused-stream';
}

/** Full jitter, exponential, capped. `retriesDone` counts those before this one. */
export function retryDelayMs(policy: RetryPolicy, retriesDone: number, random: Random): number {
  const ceiling = Math.min(policy.backoffMs * 2 ** retriesDone, policy.backoffMs * capFactor);
  return random.next() * ceiling;
}

function isRetriable(policy: RetryPolicy, result: TryResult, repeatable: boolean): boolean {
  switch (result.kind) {
    case 'overflow':
      return false;
    case 'connect-failure':
      return policy.onConnectFailure || policy.onReset || policy.onBeforeRequest === true || anyFailure(policy);
    case 'refused-stream':
      return policy.onRefusedStream || policy.onReset || policy.onBeforeRequest === true || anyFailure(policy);
    case 'per-try-timeout':
      return repeatable;
    case 'reset':
      // RFC 9112 §9.3.1: what has no effect when it is repeated may be tried again on another connection.
      return repeatable && (policy.onReset || anyFailure(policy) || (result.stale === true && policy.onConnectFailure));
    case 'status':
      return isRetriableStatus(policy, result, repeatable);
  }
}

/** Those that count no answer as a bad one. */
function anyFailure(policy: RetryPolicy): boolean {
  return policy.on5xx || policy.onGatewayError;
}

function isRetriableStatus(
  policy: RetryPolicy,
  { status, grpcStatus, rateLimited }: Extract<TryResult, { kind: 'status' }>,
  repeatable: boolean,
): boolean {
  // Trying again at once is what a rate limit is against.
  if (rateLimited === true) return policy.onRateLimited === true;
  if (grpcStatus !== undefined && policy.grpcStatuses?.has(grpcStatus) === true) return true;
  if (policy.statusCodes.has(status) && (repeatable || unprocessed.has(status))) return true;
  if (!repeatable) return false;
  if (policy.on5xx && status >= 500 && status <= 599) return true;
  if (policy.onGatewayError && status >= 502 && status <= 504) return true;
  return policy.onRetriable4xx && status === 409;
}
