/** Fault injection: which requests are delayed or aborted. Delay and abort are drawn apart, and the delay comes first. */
import type { Random } from '../base/random.ts';
import type { FaultAbort, FaultPolicy } from './model.ts';

export interface FaultDraw {
  /** Zero: not delayed. */
  readonly delayMs: number;
  readonly abort: FaultAbort | undefined;
}

export function drawFault({ delay, abort }: FaultPolicy, random: Random): FaultDraw {
  return {
    delayMs: delay !== undefined && random.next() < delay.share ? delay.delayMs : 0,
    abort: abort !== undefined && random.next() < abort.share ? abort.answer : undefined,
  };
}

/** The HTTP status for a client that does not speak gRPC (google.rpc.Code). */
export function httpStatusOfGrpc(grpcStatus: number): number {
  return httpStatuses[grpcStatus] ?? 500;
}

const httpStatuses = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];

/** Names in the order of their numbers. */
export const grpcStatusNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;
