/** The answer to a request that is over a rate, as Envoy gives it. */
import type { TrafficProtection } from '../../route/traffic-protection.ts';
import type { StageReply } from '../stages/stage.ts';

/** `waitSeconds`: until it is worth to ask again. */
export function rateReply(
  { grpcStatus }: TrafficProtection,
  words: { readonly body: string; readonly details: string },
  waitSeconds: number,
  headers: readonly string[],
): StageReply {
  const retryAfter = ['retry-after', String(Math.max(1, Math.ceil(waitSeconds)))];
  return { kind: 'reply', status: 429, flags: 'RL', ...words, headers: [...retryAfter, ...headers], grpcStatus };
}
