/** `grpc-timeout`: how long a gRPC client waits (gRPC over HTTP/2, "Requests"). */

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 };

/** Milliseconds; undefined for what is no timeout. */
export function grpcTimeoutMs(value: string): number | undefined {
  const [, amount, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(value) ?? [];
  return amount === undefined ? undefined : Number(amount) * (unitMs[unit] as number);
}
