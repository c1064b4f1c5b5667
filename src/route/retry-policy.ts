/** When a try that failed is tried again: what a route, or the mesh for all that say nothing, asks for. */

export interface RetryPolicy {
  /** Retries, not tries. */
  readonly attempts: number;
  readonly perTryTimeoutMs: number | undefined;
  readonly onConnectFailure: boolean;
  readonly onRefusedStream: boolean;
  readonly onReset: boolean;
  readonly on5xx: boolean;
  readonly onGatewayError: boolean;
  readonly onRetriable4xx: boolean;
  /** Of answers, named one by one. */
  readonly statusCodes: ReadonlySet<number>;
  /** The same of gRPC, in answers without a message: there all requests are POST, and the status alone decides. */
  readonly grpcStatuses?: ReadonlySet<number>;
  /** The connection broke before the request was on it. */
  readonly onBeforeRequest?: boolean;
  /** Answers of a rate limit, which are otherwise never tried again. */
  readonly onRateLimited?: boolean;
  /** The user says that no request of the route does harm when it is sent twice. */
  readonly nonIdempotent?: boolean;
  readonly backoffMs: number;
  /** Another try may go to an endpoint that failed before (`retryIgnorePreviousHosts: false`). */
  readonly mayRepeatHosts?: boolean | undefined;
}
