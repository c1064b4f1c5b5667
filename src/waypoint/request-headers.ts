/**
 * Request headers between client and application. What only proxies may say is removed from whatever the client sent,
 * since no client of a waypoint is entitled to say it (design rule 7); what the application may rely on is added.
 *
 * `forwarded`, `x-forwarded-for` and `baggage` inside the request are application data: passed on, never believed here.
 */
import { type HeaderList, headerValue, joinedHeader, withHeader, withoutHeaders } from '../http/header-list.ts';
import type { Tunnel } from './context.ts';
import type { ClientAddressHeader } from './settings.ts';

export function sanitised(headers: HeaderList): HeaderList {
  // Nearly always there is nothing to remove, and few names have to be put into lower case to tell.
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (mayBeAProxys(name)) return withoutHeaders(headers, isAProxys);
  }
  return headers;
}

function isAProxys(lowerName: string): boolean {
  return (
    lowerName === 'x-forwarded-client-cert' || lowerName.startsWith('x-envoy-') || lowerName.startsWith('x-istio-')
  );
}

/** `x-e`, `x-i`, or `x-f` and as long as the one that is meant. */
function mayBeAProxys(name: string): boolean {
  if (name.charCodeAt(1) !== 0x2d || (name.charCodeAt(0) | 0x20) !== 0x78) return false;
  const third = name.charCodeAt(2) | 0x20;
  return third === 0x65 || third === 0x69 || (third === 0x66 && name.length === 'x-forwarded-client-cert'.length);
}

export interface Additions {
  readonly requestId: string;
  /** Tell the application who the client is. */
  readonly clientCert: boolean;
  /** Tell the application the client's address, in these. */
  readonly clientAddressHeaders: readonly ClientAddressHeader[];
}

export function withAdditions(headers: HeaderList, tunnel: Tunnel, additions: Additions): HeaderList {
  const added = [...headers];
  if (headerValue(headers, 'x-request-id') === undefined) added.push('x-request-id', additions.requestId);
  if (headerValue(headers, 'x-forwarded-proto') === undefined) added.push('x-forwarded-proto', 'http');
  if (additions.clientCert) {
    added.push('x-forwarded-client-cert', `By=${tunnel.localIdentity};URI=${tunnel.clientIdentity}`);
  }
  let out: HeaderList = added;
  for (const name of additions.clientAddressHeaders) {
    const element = name === 'forwarded' ? forwardedElement(tunnel) : tunnel.client.ip;
    const said = joinedHeader(out, name);
    // What stands at the end is ours; what came before is what the client says.
    out = withHeader(out, name, said === undefined || said === '' ? element : `${said}, ${element}`);
  }
  return out;
}

/** RFC 7239 §4: a colon has to be quoted, and an IPv6 address stands in brackets. */
function forwardedElement({ client: { ip } }: Tunnel): string {
  return `for=${ip.includes(':') ? `"[${ip}]"` : ip};proto=http`;
}
