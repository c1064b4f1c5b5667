/**
 * The policies of the pod that was chosen: they are about what the pod gets, as at a proxy beside it, and so see the request as
 * routes have rewritten it. Nobody can reach behind a rewrite what the pod's owner closes.
 *
 * I1: a DENY that matches the request as it was asked denies as well: no rewrite leads around it. What an ALLOW has to name is
 * what the pod gets.
 */
import type { HeaderList } from '../http/header-list.ts';
import type { L7Evaluation } from '../policy/l7.ts';
import type { L7Request } from '../policy/l7-conditions.ts';
import type { L7Model } from '../route/model.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { RequestRecord } from './request-record.ts';

/** What the pod gets, where that is another request than the record's; undefined: it is the same. */
export function rewrittenRequest(
  record: RequestRecord,
  { path, authority, headers }: { readonly path: string; readonly authority: string; readonly headers: HeaderList },
): L7Request | undefined {
  if (path === record.path && authority === record.authority && headers === record.headers) return undefined;
  const queryAt = path.indexOf('?');
  return {
    method: record.method,
    path: queryAt < 0 ? path : path.slice(0, queryAt),
    host: authority,
    headers,
    claims: record.claims,
  };
}

export function judgePod(record: RequestRecord, endpoint: UpstreamEndpoint, model: L7Model): L7Evaluation {
  const { authorizer, rewritten } = record;
  const asked = authorizer.pod(endpoint, model, record.judged());
  if (rewritten === undefined || isDeny(asked)) return asked;
  return authorizer.pod(endpoint, model, { ...rewritten, claims: record.claims });
}

/** Not for want of an ALLOW. */
function isDeny({ verdict }: L7Evaluation): boolean {
  return verdict.kind === 'deny' && verdict.policy !== undefined;
}
