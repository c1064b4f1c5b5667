/** What becomes of a call, as a value: the gRPC code by name, and whether the same call may succeed later as it is. */
import { type ServiceError, status } from '@grpc/grpc-js';
import { errorText } from '../base/errors.ts';

export type RpcCode = keyof typeof status;

export interface RpcFailure {
  readonly kind: 'error';
  readonly code: RpcCode;
  readonly message: string;
  /** False when somebody has to change something first. */
  readonly retryable: boolean;
}

export type RpcResult<T> = { readonly kind: 'ok'; readonly message: T } | RpcFailure;

/** istiod reports what is passing as UNKNOWN ("server is not ready"). */
const retryableCodes: ReadonlySet<RpcCode> = new Set([
  'CANCELLED',
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'RESOURCE_EXHAUSTED',
  'ABORTED',
  'INTERNAL',
  'UNAVAILABLE',
]);

export function rpcFailure(code: RpcCode, message: string): RpcFailure {
  return { kind: 'error', code, message, retryable: retryableCodes.has(code) };
}

/** The failure in an error of grpc-js; any other error is INTERNAL. */
export function failureFromError(error: unknown): RpcFailure {
  const { code, details } = error as Partial<ServiceError>;
  const name = typeof code === 'number' ? (status[code] as RpcCode | undefined) : undefined;
  return rpcFailure(name ?? 'INTERNAL', details ?? errorText(error));
}
