/**
 * One token against one rule and its keys: signature, issuer, audience, and time with a minute of tolerance (RFC 7519,
 * RFC 8725). Failures are worded as Envoy words them, since people search for these texts.
 */
import { decodeJwt, decodeProtectedHeader, errors, jwtVerify } from 'jose';
import type { JwtRule } from '../../route/request-authentication.ts';
import { isAlgorithm, type KeySet } from './key-set.ts';

export const clockSkewMs = 60_000;
/** Longer ones are not looked at: no header carries them, and each would be decoded in one go. */
export const longestToken = 16 * 1024;

export const tokenFailures = {
  form: 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  header: 'Jwt header is an invalid JSON',
  payload: 'Jwt payload is an invalid JSON',
  algorithm: 'Jwt header [alg] is not supported',
  issuer: 'Jwt issuer is not configured',
  audience: 'Audiences in Jwt are not allowed',
  expired: 'Jwt is expired',
  early: 'Jwt not yet valid',
  key: "Jwks doesn't have key to match kid or alg from Jwt",
  fetch: 'Jwks remote fetch is failed',
  signature: 'Jwt verification fails',
  many: 'Jwt: too many tokens in one request',
  rules: 'Jwt rules cannot be read',
} as const;

export type TokenFailure = keyof typeof tokenFailures;

export type TokenOutcome =
  | {
      readonly kind: 'valid';
      readonly claims: Readonly<Record<string, unknown>>;
      /** Wall clock; undefined: never. Tolerance is included. */
      readonly expiresMs: number | undefined;
    }
  | { readonly kind: 'invalid'; readonly failure: TokenFailure };

/** The issuer a token claims, to find the rule by: nothing is proven yet. */
export function claimedIssuer(token: string): string | TokenOutcome {
  if (token.length > longestToken || token.split('.').length !== 3) return invalid('form');
  try {
    const { iss } = decodeJwt(token);
    return typeof iss === 'string' ? iss : invalid('issuer');
  } catch {
    // The library says by an exception that a token cannot be decoded.
    return invalid('payload');
  }
}

/** Never rejects. */
export async function verifyToken(token: string, rule: JwtRule, keys: KeySet, wallMs: number): Promise<TokenOutcome> {
  let header: ReturnType<typeof decodeProtectedHeader>;
  try {
    header = decodeProtectedHeader(token);
  } catch {
    // As above.
    return invalid('header');
  }
  const { alg, kid } = header;
  if (typeof alg !== 'string' || !isAlgorithm(alg)) return invalid('algorithm');
  const candidates = await keys.candidates(alg, typeof kid === 'string' ? kid : undefined);
  if (candidates.length === 0) return invalid('key');
  let outcome = invalid('signature');
  for (const key of candidates) {
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: [alg],
        issuer: rule.issuer,
        ...(rule.audiences.length > 0 && { audience: [...rule.audiences] }),
        clockTolerance: clockSkewMs / 1000,
        currentDate: new Date(wallMs),
      });
      const expiresMs = payload.exp === undefined ? undefined : payload.exp * 1000 + clockSkewMs;
      return { kind: 'valid', claims: payload, expiresMs };
    } catch (error) {
      outcome = invalid(failureOf(error));
      // The signature was this key's: another one cannot do better.
      if (error instanceof errors.JWTExpired || error instanceof errors.JWTClaimValidationFailed) break;
    }
  }
  return outcome;
}

export function invalid(failure: TokenFailure): TokenOutcome {
  return { kind: 'invalid', failure };
}

function failureOf(error: unknown): TokenFailure {
  if (error instanceof errors.JWTExpired) return 'expired';
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'aud') return 'audience';
    if (error.claim === 'iss') return 'issuer';
    if (error.claim === 'nbf' && error.reason === 'check_failed') return 'early';
  }
  return 'signature';
}
