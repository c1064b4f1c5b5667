/**
 * `x-ratelimit-*` as Envoy writes them (draft-ietf-httpapi-ratelimit-headers-03): the limit nearest to its end first, then
 * the policies of all.
 */
import type { HeaderList } from '../../http/header-list.ts';
import type { RateStatus } from './rate-limit-message.ts';

export function rateLimitHeaders(statuses: readonly RateStatus[]): HeaderList {
  let nearest: RateStatus | undefined;
  for (const status of statuses) if (nearest === undefined || status.remaining < nearest.remaining) nearest = status;
  if (nearest === undefined) return [];
  const policies = statuses.map(({ limit, windowSeconds, name }) => {
    const named = name === '' ? '' : `;name="${name.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, '')}"`;
    return `, ${limit};w=${windowSeconds}${named}`;
  });
  return [
    'x-ratelimit-limit',
    `${nearest.limit}${policies.join('')}`,
    'x-ratelimit-remaining',
    String(nearest.remaining),
    'x-ratelimit-reset',
    String(nearest.resetSeconds),
  ];
}
