/**
 * Request headers between client and application. What only proxies may say is removed from whatever the client sent,
 * since no client of a waypoint is entitled to say it (design rule 7); what the application may rely on is added.
 *
 * `forwarded`, `x-forwarded-for` and `baggage` inside the request are application data: passed on, never believed here.
 */
import { type HeaderList, headerValue, withoutHeaders } from '../http/header-list.ts';
import type { Tunnel } from './context.ts';

export function sanitised(headers: HeaderList): HeaderList {
  return withoutHeaders(
    headers,
    (name) => name === 'x-forwarded-client-cert' || name.startsWith('x-envoy-') || name.startsWith('x-istio-'),
  );
}

export interface Additions {
  readonly requestId: string;
  /** Tell the application who the client is (the article's world). */
  readonly clientCert: boolean;
}

export function withAdditions(headers: HeaderList, tunnel: Tunnel, additions: Additions): HeaderList {
  const out = [...headers];
  if (headerValue(headers, 'x-request-id') === undefined) out.push('x-request-id', additions.requestId);
  if (headerValue(headers, 'x-forwarded-proto') === undefined) out.push('x-forwarded-proto', 'http');
  if (additions.clientCert) {
    out.push('x-forwarded-client-cert', `By=${tunnel.localIdentity};URI=${tunnel.clientIdentity}`);
  }
  return out;
}
