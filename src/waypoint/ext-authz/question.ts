/**
 * What a provider is asked about: a request as it stands after the client's own claims about itself were removed, or a
 * connection. Plain data, so that both forms of asking read the same. With the client's identity, which Envoy's waypoints
 * do not have to tell.
 */
import type { SocketAddress } from '../../base/address.ts';
import type { SpiffeId } from '../../base/spiffe.ts';
import { type HeaderList, headerValue } from '../../http/header-list.ts';
import type { RequestRecord } from '../request-record.ts';

export interface Question {
  readonly source: { readonly address: SocketAddress; readonly principal: SpiffeId };
  /** As the client addressed it. */
  readonly destination: { readonly address: SocketAddress; readonly principal: SpiffeId };
  /** Undefined: a connection that is no HTTP. */
  readonly http: HttpQuestion | undefined;
}

export interface HttpQuestion {
  readonly id: string;
  readonly wallMs: number;
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly host: string;
  readonly headers: HeaderList;
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2';
  /** The request has no body. */
  readonly bodyless: boolean;
  /** Undefined: not asked for, or there is none. */
  readonly body: { readonly bytes: Buffer; readonly complete: boolean } | undefined;
}

/** Tells the provider that what it sees of the body is not all. */
export const partialBodyHeader = 'x-envoy-auth-partial-body';

export function questionOf(record: RequestRecord, body: HttpQuestion['body']): Question {
  const { tunnel, services, exchange } = record;
  return {
    ...peersOf(tunnel),
    http: {
      id: record.requestId,
      wallMs: services.clock.wallMs(),
      method: record.method,
      path: `${record.path}${record.query}`,
      host: record.authority,
      headers: withProxyHeaders(record.headers, record.requestId),
      protocol: exchange.request.version === '2' ? 'HTTP/2' : `HTTP/${exchange.request.version}`,
      bodyless: exchange.request.body === undefined,
      body,
    },
  };
}

export function peersOf({
  client,
  clientIdentity,
  destination,
  localIdentity,
}: RequestRecord['tunnel']): Pick<Question, 'source' | 'destination'> {
  return {
    source: { address: client, principal: clientIdentity },
    destination: { address: destination.address, principal: localIdentity },
  };
}

/** As they are forwarded. */
function withProxyHeaders(headers: HeaderList, requestId: string): HeaderList {
  const out = [...headers];
  if (headerValue(headers, 'x-request-id') === undefined) out.push('x-request-id', requestId);
  if (headerValue(headers, 'x-forwarded-proto') === undefined) out.push('x-forwarded-proto', 'http');
  return out;
}
