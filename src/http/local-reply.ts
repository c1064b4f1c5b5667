/**
 * Answers of our own making. A gRPC client gets the same news as a trailers-only response, because it takes an HTTP
 * status for a broken transport (gRPC over HTTP/2, "Responses"; the mapping is gRPC's http-grpc-status-mapping).
 */
import { type Exchange, respond } from './exchange.ts';
import { type HeaderList, headerValue, withoutHeaders } from './header-list.ts';

const server = ['server', 'ambit'] as const;

const grpcStatusOf: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  429: 14,
  502: 14,
  503: 14,
  504: 14,
};

/**
 * Ends the exchange with a status and a text. Returns the gRPC status that was sent, if any: `grpc`, or what stands for
 * the HTTP status.
 */
export function localReply(
  exchange: Exchange,
  status: number,
  body: string,
  headers: HeaderList = [],
  grpc: number = grpcStatusOf[status] ?? 2,
): string | undefined {
  if (!isGrpc(exchange.request.headers)) {
    respond(exchange, status, [...withoutHeaders(headers, isOwn), ...server], body);
    return undefined;
  }
  const grpcStatus = String(grpc);
  const head = ['content-type', 'application/grpc', 'grpc-status', grpcStatus, 'grpc-message', percentEncoded(body)];
  exchange.start(200, [...head, ...withoutHeaders(headers, isOwnOfGrpc), ...server], true);
  exchange.end();
  return grpcStatus;
}

/** What a reply says itself, whatever those say who had it sent. */
function isOwn(name: string): boolean {
  return name === 'server' || name === 'content-length';
}

function isOwnOfGrpc(name: string): boolean {
  return isOwn(name) || name === 'content-type' || name.startsWith('grpc-');
}

export function isGrpc(headers: HeaderList): boolean {
  const type = headerValue(headers, 'content-type');
  return type !== undefined && /^application\/grpc(?:[+;]|$)/i.test(type);
}

/** `grpc-message`: printable ASCII but for the percent sign goes as it is. */
function percentEncoded(text: string): string {
  return text.replace(/[^\x20-\x24\x26-\x7e]+/gu, (part) =>
    Array.from(Buffer.from(part), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}
