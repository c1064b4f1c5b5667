/**
 * Local rates: all of them are looked at before anything is taken, so that a request refused by one limit uses up nothing of
 * the others.
 */
import { keyOf } from '../../route/request-source.ts';
import type { LocalRateLimit, RequestFacts, TrafficProtection } from '../../route/traffic-protection.ts';
import type { RequestRecord } from '../request-record.ts';
import { go, type StageAnswer } from '../stages/stage.ts';
import { applies } from './applies.ts';
import type { BucketTable, BucketVerdict } from './bucket-table.ts';
import { rateLimitHeaders } from './rate-limit-headers.ts';
import type { RateStatus } from './rate-limit-message.ts';
import { rateReply } from './rate-reply.ts';

export function askLocal(
  record: RequestRecord,
  facts: RequestFacts,
  protections: readonly TrafficProtection[],
): StageAnswer {
  const { protections: counts, clock } = record.services;
  const nowMs = clock.nowMs();
  const taken: { readonly table: BucketTable; readonly key: string }[] = [];
  const told: RateStatus[] = [];
  for (const protection of protections) {
    for (const limit of protection.local) {
      if (!applies(limit, facts)) continue;
      const table = counts.buckets(limit);
      const key = keyOf(limit.key, facts);
      const verdict = table.look(key, nowMs);
      if (protection.rateLimitHeaders) told.push(statusOf(limit, verdict));
      if (verdict.kind === 'free') {
        taken.push({ table, key });
        continue;
      }
      counts.count(limit.name, 'local_rate_limit', !protection.dryRun);
      if (protection.dryRun) {
        record.audit([`TrafficProtection ${limit.name}`]);
        continue;
      }
      const waitMs = verdict.kind === 'over' ? verdict.waitMs : limit.intervalMs;
      const words = { body: 'local_rate_limited', details: `local_rate_limited{${limit.name}}` };
      return rateReply(protection, words, waitMs / 1000, rateLimitHeaders(told));
    }
  }
  for (const { table, key } of taken) table.take(key, nowMs);
  const headers = rateLimitHeaders(told);
  if (headers.length > 0) record.changeResponse((list) => [...list, ...headers]);
  return go;
}

/** As it stands once the request has passed. */
function statusOf(limit: LocalRateLimit, verdict: BucketVerdict): RateStatus {
  const { tokens, intervalMs, burst, name } = limit;
  const last = name.slice(name.lastIndexOf('/') + 1);
  const windowSeconds = Math.ceil((burst * intervalMs) / tokens / 1000);
  const resetMs = verdict.kind === 'no-room' ? intervalMs : verdict.resetMs;
  const remaining = verdict.kind === 'free' ? verdict.remaining - 1 : 0;
  return { limit: burst, windowSeconds, name: last, remaining, resetSeconds: Math.ceil(resetMs / 1000) };
}
