/** `retryOn` of a VirtualService: Envoy's words for the conditions of a retry, with status codes among them. */
import type { RetryPolicy } from '../route/retry-policy.ts';
import type { ConfigObject } from './object.ts';

export type RetryConditions = Pick<
  RetryPolicy,
  | 'onConnectFailure'
  | 'onRefusedStream'
  | 'onReset'
  | 'onBeforeRequest'
  | 'on5xx'
  | 'onGatewayError'
  | 'onRetriable4xx'
  | 'onRateLimited'
  | 'statusCodes'
  | 'grpcStatuses'
>;

/** Istio's default for a VirtualService that says `attempts` alone. */
const defaultWords = 'connect-failure,refused-stream,unavailable,cancelled';

const grpcWords: Readonly<Record<string, number>> = {
  cancelled: 1,
  'deadline-exceeded': 4,
  'resource-exhausted': 8,
  internal: 13,
  unavailable: 14,
};

const words: ReadonlySet<string> = new Set([
  'connect-failure',
  'refused-stream',
  'reset',
  'reset-before-request',
  '5xx',
  'gateway-error',
  'retriable-4xx',
  'envoy-ratelimited',
  // The codes themselves stand beside it.
  'retriable-status-codes',
  ...Object.keys(grpcWords),
]);

/** What Istio adds to the retries of a Gateway API route. */
export const defaultGrpcStatuses: ReadonlySet<number> = new Set([1, 14]);

/** On a route's object: requests that may have had an effect are tried again like others. */
const nonIdempotent = 'ambit.io/retry-non-idempotent';

export function mayRepeatAll({ metadata }: ConfigObject): boolean {
  return metadata.annotations[nonIdempotent] === 'true';
}

/** `unknown`: words that say nothing here; those of headers that a client would have to send are among them. */
export function readRetryOn(text: string | undefined): {
  readonly conditions: RetryConditions;
  readonly unknown: readonly string[];
} {
  const given = (text || defaultWords).split(',').map((word) => word.trim());
  const has = (word: string) => given.includes(word);
  const codes = given.filter((word) => /^[1-5][0-9][0-9]$/.test(word));
  return {
    conditions: {
      onConnectFailure: has('connect-failure'),
      onRefusedStream: has('refused-stream'),
      onReset: has('reset'),
      onBeforeRequest: has('reset-before-request'),
      on5xx: has('5xx'),
      onGatewayError: has('gateway-error'),
      onRetriable4xx: has('retriable-4xx'),
      onRateLimited: has('envoy-ratelimited'),
      statusCodes: new Set(codes.map(Number)),
      grpcStatuses: new Set(given.flatMap((word) => grpcWords[word] ?? [])),
    },
    unknown: given.filter((word) => word !== '' && !words.has(word) && !codes.includes(word)),
  };
}
