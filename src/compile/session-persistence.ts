/** `sessionPersistence` of a route's rule or of an XBackendTrafficPolicy (GEP-1619). */
import { createHash } from 'node:crypto';
import * as z from 'zod';
import { cookiePath, type SessionPersistence } from '../route/session.ts';
import { durationSchema } from './values.ts';

/** A cookie's name is a token (RFC 6265 §4.1.1), as is a header's. */
const nameSchema = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'not a name of a cookie or header');

export const sessionSchema = z
  .strictObject({
    sessionName: nameSchema.nullish(),
    type: z.enum(['Cookie', 'Header']).default('Cookie'),
    absoluteTimeout: durationSchema.nullish(),
    idleTimeout: durationSchema.nullish(),
    cookieConfig: z.strictObject({ lifetimeType: z.enum(['Session', 'Permanent']).default('Session') }).nullish(),
  })
  .refine(
    ({ cookieConfig, absoluteTimeout }) => cookieConfig?.lifetimeType !== 'Permanent' || absoluteTimeout != null,
    'a Permanent cookie needs an absoluteTimeout',
  )
  .refine(({ type, cookieConfig }) => type === 'Cookie' || cookieConfig == null, 'cookieConfig is for cookies')
  .refine(
    ({ type, sessionName }) => type === 'Cookie' || !isReserved(sessionName?.toLowerCase() ?? ''),
    'this header is not free',
  );

export type SessionSpec = z.output<typeof sessionSchema>;

/** What the protocol or the waypoint itself needs of a message. */
function isReserved(name: string): boolean {
  return (
    [
      'host',
      'cookie',
      'set-cookie',
      'content-length',
      'transfer-encoding',
      'connection',
      'upgrade',
      'te',
      'trailer',
    ].includes(name) || name.startsWith('x-envoy-')
  );
}

/** `scope`: see `SessionPersistence`. `match`: of the route, for the cookie's path; `none` leaves it unset. */
export function sessionOf(
  spec: SessionSpec,
  scope: string,
  match: Parameters<typeof cookiePath>[0] | 'none',
): SessionPersistence {
  const carrier = spec.type === 'Cookie' ? 'cookie' : 'header';
  const given = spec.sessionName ?? `ambit-session-${createHash('sha256').update(scope).digest('hex').slice(0, 8)}`;
  return {
    carrier,
    name: carrier === 'header' ? given.toLowerCase() : given,
    scope,
    absoluteMs: spec.absoluteTimeout || undefined,
    idleMs: spec.idleTimeout || undefined,
    permanent: spec.cookieConfig?.lifetimeType === 'Permanent',
    path: match === 'none' ? undefined : cookiePath(match),
  };
}
