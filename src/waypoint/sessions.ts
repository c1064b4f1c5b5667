/**
 * The session of one request: found in what the client sent, followed when an endpoint is chosen, and told in the answer. Costs
 * a request nothing where nobody asked for sessions.
 *
 * I1: a session leads only to a backend of the route that was chosen, and to an endpoint of that backend's service as it is now:
 *     a token selects among those, it names nothing new.
 */
import { cookieValues } from '../http/cookies.ts';
import { type HeaderList, headerValues, withAddedHeader, withHeader } from '../http/header-list.ts';
import type { ServiceKey } from '../mesh/model.ts';
import type { RouteBackend } from '../route/model.ts';
import { backendOf, isAlive, type RequestSession, type Session, type SessionPersistence } from '../route/session.ts';
import type { RequestRecord } from './request-record.ts';
import { openSession, sealSession } from './session-token.ts';

/** Values of one name that are tried: a client may have cookies of several paths. */
const mostTokens = 4;

/** Of a route that asks for sessions, or of the service behind it. Undefined: none is asked for. */
export function findSession(
  record: RequestRecord,
  backends: readonly RouteBackend[],
): { readonly session: RequestSession; readonly backend: RouteBackend | undefined } | undefined {
  const ofRoute = record.route?.session;
  if (ofRoute !== undefined) {
    const found = readSession(record, ofRoute, (session) => backendOf(backends, session) !== undefined);
    const backend = found === undefined ? undefined : backendOf(backends, found);
    return { session: { persistence: ofRoute, found }, backend };
  }
  const { sessions } = record.model.backends;
  if (sessions.size === 0) return undefined;
  for (const backend of backends) {
    const persistence = backend.service === undefined ? undefined : sessionOfService(record, backend.service);
    if (persistence === undefined) continue;
    const found = readSession(record, persistence, (session) => backendOf([backend], session) !== undefined);
    if (found !== undefined) return { session: { persistence, found }, backend };
  }
  return undefined;
}

/** A session that begins with the request, for a service whose policy asks for them. */
export function newSession(record: RequestRecord, service: ServiceKey): RequestSession | undefined {
  const persistence = record.model.backends.sessions.size === 0 ? undefined : sessionOfService(record, service);
  return persistence === undefined ? undefined : { persistence, found: undefined };
}

/** Sessions of a service are those of one rule all the same (GEP-1619, "Must Not Share Sessions"). */
function sessionOfService({ model, route }: RequestRecord, service: ServiceKey): SessionPersistence | undefined {
  const persistence = model.backends.sessions.get(service);
  if (persistence === undefined || route === undefined) return persistence;
  return { ...persistence, scope: `${persistence.scope} ${route.name}` };
}

/** Without a route: of the service itself. */
export function plainSession(record: RequestRecord, service: ServiceKey, port: number): RequestSession | undefined {
  const persistence = record.model.backends.sessions.get(service);
  if (persistence === undefined) return undefined;
  const found = readSession(record, persistence, (session) => session.service === service && session.port === port);
  return { persistence, found };
}

function readSession(
  { headers, services }: RequestRecord,
  persistence: SessionPersistence,
  isMeant: (session: Session) => boolean,
): Session | undefined {
  const nowMs = services.clock.wallMs();
  for (const token of tokensOf(headers, persistence)) {
    const session = openSession(services.sessionKeys, persistence, token);
    if (session !== undefined && isAlive(persistence, session, nowMs) && isMeant(session)) return session;
  }
  return undefined;
}

function tokensOf(headers: HeaderList, { carrier, name }: SessionPersistence): readonly string[] {
  if (carrier === 'header') return headerValues(headers, name).slice(0, mostTokens);
  const tokens: string[] = [];
  for (const value of cookieValues(headers, name)) {
    if (tokens.push(value) === mostTokens) break;
  }
  return tokens;
}

/** The response with the token of the endpoint that gave it, where the client's does not say the same. */
export function withSession(
  record: RequestRecord,
  { persistence, found }: RequestSession,
  endpoint: Pick<Session, 'service' | 'port' | 'uid'>,
  headers: HeaderList,
): HeaderList {
  const { clock, sessionKeys } = record.services;
  const nowMs = clock.wallMs();
  const { service, port, uid } = endpoint;
  const isSame = found !== undefined && found.uid === uid && found.service === service && found.port === port;
  // Tokens count in seconds.
  const isFresh = persistence.idleMs === undefined || (found !== undefined && nowMs - found.seenMs < 1000);
  if (isSame && isFresh) return headers;
  const createdMs = isSame ? found.createdMs : nowMs;
  const token = sealSession(sessionKeys, persistence, { service, port, uid, createdMs, seenMs: nowMs });
  if (persistence.carrier === 'header') return withHeader(headers, persistence.name, token);
  return withAddedHeader(headers, 'set-cookie', cookieOf(record, persistence, token, createdMs - nowMs));
}

/** Strict and out of reach of scripts (GEP-1619); Secure only where the client came by https, for a mesh ends TLS before. */
function cookieOf(record: RequestRecord, persistence: SessionPersistence, token: string, agedMs: number): string {
  const { name, path, permanent, absoluteMs } = persistence;
  const parts = [`${name}=${token}`];
  if (path !== undefined) parts.push(`Path=${path}`);
  if (permanent && absoluteMs !== undefined)
    parts.push(`Max-Age=${Math.max(1, Math.ceil((absoluteMs + agedMs) / 1000))}`);
  parts.push('HttpOnly', 'SameSite=Strict');
  if (headerValues(record.headers, 'x-forwarded-proto').includes('https')) parts.push('Secure');
  return parts.join('; ');
}
