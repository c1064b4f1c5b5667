/**
 * Session persistence (GEP-1619): a client goes on to the endpoint that answered it first, for as long as its token says and
 * that endpoint is there. The token itself is sealed by `../waypoint/session-token.ts`.
 */
import type { ServiceKey } from '../mesh/model.ts';

export interface SessionPersistence {
  readonly carrier: 'cookie' | 'header';
  /** Of the cookie, or of the header in lower case. */
  readonly name: string;
  /** What a token is good for: one rule of a route, or one service. Another's token is none (GEP-1619, "Must Not Share Sessions"). */
  readonly scope: string;
  /** From the first answer on; undefined: no end. */
  readonly absoluteMs: number | undefined;
  /** From one request to the next. */
  readonly idleMs: number | undefined;
  /** The cookie outlives the browser, until `absoluteMs` are over. */
  readonly permanent: boolean;
  /** Of the cookie; undefined: the client's own rule. */
  readonly path: string | undefined;
}

/** What a token says. */
export interface Session {
  readonly service: ServiceKey;
  readonly port: number;
  /** Of the workload: an address may be somebody else's tomorrow. */
  readonly uid: string;
  /** Milliseconds since the epoch. */
  readonly createdMs: number;
  readonly seenMs: number;
}

/** What a request has to do with sessions. */
export interface RequestSession {
  readonly persistence: SessionPersistence;
  /** Undefined: the client has none that is alive. */
  readonly found: Session | undefined;
}

/** Clocks of replicas differ; a token from further ahead was not made by one of them. */
const toleratedMs = 60_000;

export function isAlive({ absoluteMs, idleMs }: SessionPersistence, session: Session, nowMs: number): boolean {
  if (session.createdMs > nowMs + toleratedMs || session.seenMs < session.createdMs) return false;
  if (absoluteMs !== undefined && nowMs - session.createdMs >= absoluteMs) return false;
  return idleMs === undefined || nowMs - session.seenMs < idleMs;
}

/** The backend of the route that a session is with, whatever its weight (GEP-1619, "Traffic Splitting"). */
export function backendOf<Backend extends { readonly service: ServiceKey | undefined; readonly port: number }>(
  backends: readonly Backend[],
  session: Session,
): Backend | undefined {
  return backends.find(({ service, port }) => service === session.service && port === session.port);
}

/** `Path` of a cookie for a route: what is certain of the paths it matches. */
export function cookiePath(
  match: { readonly kind: string; readonly value?: string; readonly source?: string } | undefined,
): string {
  if (match?.kind !== 'regex') return safePath(match?.value ?? '/');
  const plain = /^[^\\.*+?()[\]{}|^$]*/.exec(match.source ?? '')?.[0] ?? '';
  return safePath(plain.slice(0, plain.lastIndexOf('/')) || '/');
}

/** RFC 6265 §4.1.1, path-value: nothing that ends it may stand in it. */
function safePath(path: string): string {
  return path.startsWith('/') && /^[\x20-\x3a\x3c-\x7e]*$/.test(path) ? path : '/';
}
