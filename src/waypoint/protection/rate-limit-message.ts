/** Messages of the rate limit service: what is asked, and what an answer means. Pure. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { RateLimitRequestSchema, RateLimitResponseSchema } from '../../proto/gen/ratelimit_pb.js';
import { sourceValue } from '../../route/request-source.ts';
import type { GlobalRateLimit, RequestFacts } from '../../route/traffic-protection.ts';

/** What a service says about the limits that apply, for `x-ratelimit-*`. */
export interface RateStatus {
  readonly limit: number;
  readonly windowSeconds: number;
  readonly name: string;
  readonly remaining: number;
  readonly resetSeconds: number;
}

export interface RateAnswer {
  readonly kind: 'ok' | 'over';
  readonly statuses: readonly RateStatus[];
  readonly requestHeaders: readonly string[];
  readonly responseHeaders: readonly string[];
  readonly body: string;
}

/** Undefined: no descriptor applies to the request, and so nothing is asked (as Envoy). */
export function rateLimitRequest(limit: GlobalRateLimit, facts: RequestFacts): Uint8Array | undefined {
  const descriptors = limit.descriptors.flatMap((descriptor) => {
    const entries: { key: string; value: string }[] = [];
    for (const { key, value: from, otherwise } of descriptor.entries) {
      const value = typeof from === 'string' ? from : (sourceValue(from, facts) ?? otherwise);
      // A service refuses empty values: so does Envoy, by leaving the descriptor out.
      if (value === undefined || value === '') return [];
      entries.push({ key, value });
    }
    return [descriptor.limit === undefined ? { entries } : { entries, limit: descriptor.limit }];
  });
  if (descriptors.length === 0) return undefined;
  const { domain, hitsAddend } = limit;
  return toBinary(RateLimitRequestSchema, create(RateLimitRequestSchema, { domain, descriptors, hitsAddend }));
}

/** Undefined: not an answer. */
export function readRateLimitResponse(bytes: Uint8Array): RateAnswer | undefined {
  let message: ReturnType<typeof decode>;
  try {
    message = decode(bytes);
  } catch {
    // The library throws on what is no message, and there is no way to ask first.
    return undefined;
  }
  const { overallCode, statuses, requestHeadersToAdd, responseHeadersToAdd, rawBody } = message;
  if (overallCode !== 1 && overallCode !== 2) return undefined;
  return {
    kind: overallCode === 1 ? 'ok' : 'over',
    statuses: statuses.flatMap(({ currentLimit, limitRemaining, durationUntilReset }) => {
      if (currentLimit === undefined) return [];
      const { requestsPerUnit, unit, name } = currentLimit;
      const resetSeconds = Number(durationUntilReset?.seconds ?? 0n);
      return [
        {
          limit: requestsPerUnit,
          windowSeconds: unitSeconds[unit] ?? 0,
          name,
          remaining: limitRemaining,
          resetSeconds,
        },
      ];
    }),
    requestHeaders: fields(requestHeadersToAdd),
    responseHeaders: fields(responseHeadersToAdd),
    body: Buffer.from(rawBody).toString('utf8', 0, longestBody),
  };
}

const unitSeconds: Readonly<Record<number, number>> = {
  1: 1,
  2: 60,
  3: 3600,
  4: 86_400,
  5: 30 * 86_400,
  6: 365 * 86_400,
  7: 7 * 86_400,
};

const longestBody = 4096;
const mostHeaders = 32;
const longestHeader = 4096;
/** What frames or addresses a message, or speaks for proxies, is not for a rate limit service to set. */
const notTheirs =
  /^(?:host|content-length|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|proxy-.*|x-envoy-.*|x-istio-.*|x-forwarded-client-cert|authorization|cookie)$/;

function fields(list: readonly { key: string; value: string; rawValue: Uint8Array }[]): readonly string[] {
  const out: string[] = [];
  for (const { key, value, rawValue } of list.slice(0, mostHeaders)) {
    const name = key.toLowerCase();
    const text = value === '' ? Buffer.from(rawValue).toString('latin1') : value;
    const fit = /^[!#$%&'*+.^_`|~0-9a-z-]{1,128}$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(text);
    if (fit && text.length <= longestHeader && !notTheirs.test(name)) out.push(name, text);
  }
  return out;
}

function decode(bytes: Uint8Array) {
  return fromBinary(RateLimitResponseSchema, bytes);
}
