/**
 * Rates that a service counts for all waypoints: each limit is a question to it. All are asked side by side. What has no
 * answer in time, or one that cannot be read, is refused unless the limit fails open.
 */

import { withHeader } from '../../http/header-list.ts';
import type { GlobalRateLimit, RequestFacts, TrafficProtection } from '../../route/traffic-protection.ts';
import { callGrpc } from '../../upstream/grpc-call.ts';
import type { RequestRecord } from '../request-record.ts';
import { triesOf } from '../service-tries.ts';
import { go, type StageAnswer } from '../stages/stage.ts';
import { applies } from './applies.ts';
import { rateLimitHeaders } from './rate-limit-headers.ts';
import { type RateAnswer, rateLimitRequest, readRateLimitResponse } from './rate-limit-message.ts';
import { rateReply } from './rate-reply.ts';

const method = 'envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit';
/** An answer is a few numbers and headers. */
const mostAnswerBytes = 64 * 1024;

type Outcome = RateAnswer | { readonly kind: 'failed'; readonly reason: string };

export async function askGlobal(
  record: RequestRecord,
  facts: RequestFacts,
  protections: readonly TrafficProtection[],
): Promise<StageAnswer> {
  const questions = protections.flatMap((protection) =>
    protection.global.flatMap((limit) => {
      const message = applies(limit, facts) ? rateLimitRequest(limit, facts) : undefined;
      return message === undefined ? [] : [{ protection, limit, message }];
    }),
  );
  const outcomes = await Promise.all(questions.map(({ limit, message }) => ask(record, limit, message)));
  for (const [i, { protection, limit }] of questions.entries()) {
    const answer = settle(record, protection, limit, outcomes[i] as Outcome);
    if (answer.kind === 'reply') return answer;
  }
  return go;
}

function settle(
  record: RequestRecord,
  protection: TrafficProtection,
  limit: GlobalRateLimit,
  outcome: Outcome,
): StageAnswer {
  const { protections: counts, logger } = record.services;
  const enforced = !protection.dryRun;
  if (outcome.kind === 'failed') {
    counts.count(limit.name, 'rate_limit_service', enforced && !limit.failOpen);
    logger.warn('a rate limit service did not answer', { limit: limit.name, reason: outcome.reason });
    if (limit.failOpen || !enforced) return go;
    const details = `rate_limiter_error{${limit.name}}`;
    return { kind: 'reply', status: limit.statusOnError, body: '', flags: 'RLSE', details };
  }
  const standard = protection.rateLimitHeaders ? rateLimitHeaders(outcome.statuses) : [];
  const headers = [...outcome.responseHeaders, ...standard];
  if (outcome.kind === 'over') {
    counts.count(limit.name, 'global_rate_limit', enforced);
    if (enforced) {
      const words = { body: outcome.body, details: `request_rate_limited{${limit.name}}` };
      const used = outcome.statuses.filter(({ remaining }) => remaining === 0);
      const waitSeconds = Math.max(0, ...used.map(({ resetSeconds }) => resetSeconds));
      return rateReply(protection, words, waitSeconds, ['x-envoy-ratelimited', 'true', ...headers]);
    }
    record.audit([`TrafficProtection ${limit.name}`]);
  }
  const { requestHeaders } = outcome;
  if (requestHeaders.length > 0) record.keepJudged();
  for (let i = 0; i < requestHeaders.length; i += 2) {
    record.headers = withHeader(record.headers, requestHeaders[i] as string, requestHeaders[i + 1] as string);
  }
  if (headers.length > 0) record.changeResponse((list) => [...list, ...headers]);
  return go;
}

async function ask(record: RequestRecord, limit: GlobalRateLimit, message: Uint8Array): Promise<Outcome> {
  const { services, tunnel, gone } = record;
  const { mesh, protections: counts } = services;
  const service = mesh.service(limit.service);
  if (service === undefined) return { kind: 'failed', reason: `unknown service ${limit.service}` };
  if (!counts.beginQuestion(limit)) return { kind: 'failed', reason: 'too many questions under way' };
  const outcome = await callGrpc(
    {
      nextTry: triesOf(services, tunnel, service, limit.port, 'h2c'),
      authority: `${service.hostname}:${limit.port}`,
      timeoutMs: limit.timeoutMs,
      maxBytes: mostAnswerBytes,
      method,
      message,
    },
    services,
    gone,
  );
  counts.endQuestion(limit);
  if (outcome.kind === 'failed') return outcome;
  return readRateLimitResponse(outcome.message) ?? { kind: 'failed', reason: 'an answer that cannot be read' };
}
