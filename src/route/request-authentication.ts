/**
 * Rules for the JSON Web Tokens that requests carry, compiled from RequestAuthentication, and what a verified token says.
 * Semantics: Istio's RequestAuthentication; verification itself is the waypoint's (`waypoint/jwt/`).
 */
import type { ObjectRef } from './object-ref.ts';

/** A place in a request where a token may stand. */
export type TokenLocation =
  /** `name` in lower case. The value without the prefix is the token; a value without it is none. */
  | { readonly kind: 'header'; readonly name: string; readonly prefix: string; readonly ignoreCase: boolean }
  | { readonly kind: 'param' | 'cookie'; readonly name: string };

export type KeySource =
  /** A JWKS document, checked to be one. */
  | { readonly kind: 'inline'; readonly document: string }
  | { readonly kind: 'url'; readonly url: string }
  /** By OpenID Connect discovery below the issuer's URL. */
  | { readonly kind: 'discovery'; readonly url: string };

export interface JwtRule {
  readonly issuer: string;
  /** One of them must be in the token; empty: whatever it says. */
  readonly audiences: readonly string[];
  readonly keys: KeySource;
  /** For one fetch of the keys. */
  readonly timeoutMs: number;
  readonly locations: readonly TokenLocation[];
  readonly forwardOriginalToken: boolean;
  /** Lower-case name; its value is the payload as it stands in the token. */
  readonly payloadHeader: string | undefined;
  readonly claimHeaders: readonly { readonly header: string; readonly claim: readonly string[] }[];
  /** Text claims that are lists with spaces between their items. */
  readonly spaceDelimitedClaims: ReadonlySet<string>;
}

export interface RequestAuthentication {
  readonly source: ObjectRef;
  /** Some rule cannot be read, so nobody knows what it would have refused: every request is. */
  readonly broken: boolean;
  readonly rules: readonly JwtRule[];
}

/** What a verified token says. */
export interface TokenClaims {
  readonly values: Readonly<Record<string, unknown>>;
  readonly spaceDelimited: ReadonlySet<string>;
}

const noTexts: readonly string[] = [];

/** `issuer/subject`; undefined when the token lacks one of them. */
export function requestPrincipal({ values }: TokenClaims): string | undefined {
  const [issuer, subject] = [own(values, 'iss'), own(values, 'sub')];
  return typeof issuer === 'string' && typeof subject === 'string' ? `${issuer}/${subject}` : undefined;
}

/** Texts of a claim, one or a list; empty when it is absent or anything else, as at Istio. */
export function claimTexts(claims: TokenClaims, path: readonly string[]): readonly string[] {
  const value = claimValue(claims, path);
  if (typeof value === 'string') {
    const [name = ''] = path;
    return path.length === 1 && claims.spaceDelimited.has(name) ? value.split(' ').filter(Boolean) : [value];
  }
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : noTexts;
}

export function claimValue({ values }: TokenClaims, path: readonly string[]): unknown {
  let value: unknown = values;
  for (const name of path) value = own(value, name);
  return value;
}

/** Only what the token itself says: `constructor` is no claim. */
function own(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return;
  return (value as Readonly<Record<string, unknown>>)[name];
}
