/**
 * Asking over HTTP: the request's own method and path with chosen headers, and reading the answer. 200 allows, a 5xx is no
 * decision, every other status is the client's answer.
 */
import { type HeaderList, headerValue, headerValues, joinedHeader } from '../../http/header-list.ts';
import type { HttpExtAuthz, NameMatch } from '../../route/mesh-config.ts';
import type { OwnCallOutcome } from '../../upstream/own-call.ts';
import { type CheckDecision, type HeaderOperation, isHeader, isProvidersMatter } from './decision.ts';
import { type HttpQuestion, partialBodyHeader } from './question.ts';

export interface CheckCall {
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  readonly headers: HeaderList;
  readonly body: Buffer | undefined;
}

export function checkCall(provider: HttpExtAuthz, http: HttpQuestion): CheckCall {
  const { method, path, host: authority, body } = http;
  const headers: string[] = ['content-length', String(body?.bytes.length ?? 0)];
  const additional = new Map(provider.additionalHeaders.map(([name, value]) => [name.toLowerCase(), value]));
  for (let i = 0; i < http.headers.length; i += 2) {
    const name = (http.headers[i] as string).toLowerCase();
    if (!isProvidersMatter(name) || additional.has(name)) continue;
    if (name === 'authorization' || matches(provider.includeRequestHeaders, name)) {
      headers.push(name, http.headers[i + 1] as string);
    }
  }
  if (body !== undefined) headers.push(partialBodyHeader, String(!body.complete));
  for (const [name, value] of additional) if (isProvidersMatter(name)) headers.push(name, value);
  const bytes = body === undefined || body.bytes.length === 0 ? undefined : body.bytes;
  return { method, path: `${provider.pathPrefix}${path}`, authority, headers, body: bytes };
}

export function readCheckAnswer(provider: HttpExtAuthz, outcome: OwnCallOutcome): CheckDecision {
  if (outcome.kind === 'failed') return { kind: 'error', reason: outcome.reason };
  const { status, headers, body } = outcome;
  if (status >= 500 || status < 200) return { kind: 'error', reason: `the provider answered ${status}` };
  if (status === 200) {
    const removed = (joinedHeader(headers, removeHeader) ?? '').split(',').map((name) => name.trim().toLowerCase());
    return {
      kind: 'allow',
      request: operations(headers, (name) => matches(provider.headersToUpstreamOnAllow, name)),
      removed: removed.filter((name) => name !== '' && isProvidersMatter(name)),
      response: operations(headers, (name) => matches(provider.headersToDownstreamOnAllow, name)),
      querySet: [],
      queryRemoved: [],
    };
  }
  const chosen = provider.headersToDownstreamOnDeny;
  const told = operations(
    headers,
    (name) => chosen.length === 0 || name === 'www-authenticate' || name === 'location' || matches(chosen, name),
  );
  // A text without its type would be shown as another.
  const type = headerValue(headers, 'content-type');
  const typed: HeaderOperation[] =
    type === undefined || told.some(({ name }) => name === 'content-type')
      ? []
      : [{ name: 'content-type', value: type, action: 'set' }];
  return { kind: 'deny', status, headers: [...told, ...typed], body: body.toString() };
}

const removeHeader = 'x-envoy-auth-headers-to-remove';

/** Several values of one header stay several; what was there before goes, but for cookies. */
function operations(headers: HeaderList, chosen: (name: string) => boolean): readonly HeaderOperation[] {
  const out: HeaderOperation[] = [];
  const seen = new Set<string>();
  for (let i = 0; i < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase();
    if (seen.has(name) || !isProvidersMatter(name) || name === removeHeader || ownMatters.has(name)) continue;
    seen.add(name);
    if (!chosen(name)) continue;
    for (const [at, value] of headerValues(headers, name).entries()) {
      if (!isHeader(name, value)) continue;
      out.push({ name, value, action: at === 0 && name !== 'set-cookie' ? 'set' : 'add' });
    }
  }
  return out;
}

/** Of the answer of the provider itself, as a server. */
const ownMatters = new Set(['server', 'date']);

function matches(list: readonly NameMatch[], name: string): boolean {
  return list.some(({ kind, value }) =>
    kind === 'exact' ? name === value : kind === 'prefix' ? name.startsWith(value) : name.endsWith(value),
  );
}
