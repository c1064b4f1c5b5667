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
  readonly statusCodes: ReadonlySet<number>;
  readonly backoffMs: number;
  /** Another try may go to an endpoint that failed before (`retryIgnorePreviousHosts: false`). */
  readonly mayRepeatHosts?: boolean | undefined;
}
