/**
 * Request authentication: which tokens a request carries, whether each is good, and what the request looks like
 * afterwards. Verified tokens are found again at once; others are verified in the crypto threads while the request waits.
 *
 * I1: without a token a request passes, as nobody. I2: every token found must be accepted by a rule that looks where it
 * stands; otherwise the request is refused. I3: headers that tell of a token come from a verified one or are not there.
 */
import type { Clock } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { type HeaderList, headerValue } from '../../http/header-list.ts';
import {
  claimValue,
  type JwtRule,
  type RequestAuthentication,
  type TokenClaims,
} from '../../route/request-authentication.ts';
import type { FetchText } from './fetch-text.ts';
import { KeyStore } from './key-store.ts';
import { type FoundToken, findTokens, type TokenPlaces, withoutOutputs, withoutToken } from './locations.ts';
import { VerifiedTokens } from './verified-tokens.ts';
import {
  claimedIssuer,
  invalid,
  type TokenFailure,
  type TokenOutcome,
  tokenFailures,
  verifyToken,
} from './verify-token.ts';

export const mostTokensPerRequest = 4;
/** Requests that wait for their token; more are refused with 503. */
export const mostWaiting = 1_000;

export interface AuthenticatedRequest extends TokenPlaces {
  readonly kind: 'pass';
  /** Undefined: nobody. */
  readonly claims: TokenClaims | undefined;
  /** The query without what may be tokens. */
  readonly loggedQuery: string;
}

export type Authentication =
  | AuthenticatedRequest
  | {
      readonly kind: 'refuse';
      readonly status: 401 | 403 | 503;
      readonly body: string;
      readonly details: string;
      readonly loggedQuery: string;
    };

export interface TokenRequest extends TokenPlaces {
  readonly method: string;
}

export interface AuthenticatorDependencies {
  readonly fetchText: FetchText;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Accepted {
  readonly found: FoundToken;
  readonly rule: JwtRule;
  readonly claims: Readonly<Record<string, unknown>>;
}

type Judged = { readonly kind: 'accepted'; readonly accepted: Accepted } | Extract<TokenOutcome, { kind: 'invalid' }>;

export class Authenticator {
  readonly #dependencies: AuthenticatorDependencies;
  readonly #keys: KeyStore;
  readonly #verified: VerifiedTokens;
  #waiting = 0;

  constructor(dependencies: AuthenticatorDependencies) {
    this.#dependencies = dependencies;
    this.#keys = new KeyStore(dependencies);
    this.#verified = new VerifiedTokens(dependencies.clock);
  }

  /** A promise only where something has to be verified or fetched; it never rejects. */
  authenticate(
    authentications: readonly RequestAuthentication[],
    request: TokenRequest,
  ): Authentication | Promise<Authentication> {
    const rules = authentications.flatMap((each) => each.rules);
    if (authentications.some(({ broken }) => broken)) return refuse('rules', request, rules);
    const headers = withoutOutputs(request.headers, rules);
    const { query } = request;
    const loggedQuery = withoutTokens(request, rules);
    const nobody: Authentication = { kind: 'pass', claims: undefined, headers, query, loggedQuery };
    if (isPreflight(request)) return nobody;
    const tokens = findTokens(rules, request);
    if (tokens.length === 0) return nobody;
    if (tokens.length > mostTokensPerRequest) return refuse('many', request, rules);
    const known = tokens.map((found) => this.#judgeKnown(found, rules));
    if (known.every((judged) => judged !== undefined)) return conclude(known, request, rules);
    if (this.#waiting >= mostWaiting) return overloaded(request, rules);
    this.#waiting++;
    return this.#judgeAll(tokens, rules)
      .then((judged) => conclude(judged, request, rules))
      .finally(() => {
        this.#waiting--;
      });
  }

  /** What can be said without waiting; undefined: nothing. */
  #judgeKnown(found: FoundToken, rules: readonly JwtRule[]): Judged | undefined {
    const issuer = claimedIssuer(found.token);
    if (typeof issuer !== 'string') return issuer.kind === 'invalid' ? issuer : undefined;
    const own = rulesFor(found, rules, issuer);
    if (own.length === 0) return { kind: 'invalid', failure: 'issuer' };
    for (const rule of own) {
      const keys = this.#keys.current(rule);
      const valid = keys === undefined ? undefined : this.#verified.find(found.token, rule, keys);
      if (valid !== undefined) return { kind: 'accepted', accepted: { found, rule, claims: valid.claims } };
    }
    return undefined;
  }

  async #judgeAll(tokens: readonly FoundToken[], rules: readonly JwtRule[]): Promise<readonly Judged[]> {
    const judged: Judged[] = [];
    for (const found of tokens) judged.push(this.#judgeKnown(found, rules) ?? (await this.#judge(found, rules)));
    return judged;
  }

  async #judge(found: FoundToken, rules: readonly JwtRule[]): Promise<Judged> {
    const issuer = claimedIssuer(found.token);
    let failure: TokenFailure | undefined;
    for (const rule of typeof issuer === 'string' ? rulesFor(found, rules, issuer) : []) {
      const outcome = await this.#verify(found.token, rule);
      if (outcome.kind === 'valid') return { kind: 'accepted', accepted: { found, rule, claims: outcome.claims } };
      failure ??= outcome.failure;
    }
    return { kind: 'invalid', failure: failure ?? 'issuer' };
  }

  async #verify(token: string, rule: JwtRule): Promise<TokenOutcome> {
    const { clock, logger } = this.#dependencies;
    try {
      let keys = await this.#keys.get(rule);
      if (keys === undefined) return invalid('fetch');
      let outcome = await verifyToken(token, rule, keys, clock.wallMs());
      if (outcome.kind === 'invalid' && outcome.failure === 'key') {
        const renewed = await this.#keys.renewed(rule);
        if (renewed !== undefined && renewed !== keys) {
          keys = renewed;
          outcome = await verifyToken(token, rule, keys, clock.wallMs());
        }
      }
      if (outcome.kind === 'valid') this.#verified.keep(token, rule, keys, outcome);
      return outcome;
    } catch (error) {
      logger.error('cannot verify a token', { issuer: rule.issuer, error: errorText(error) });
      return invalid('signature');
    }
  }
}

/** In the order of the rules. */
function rulesFor(found: FoundToken, rules: readonly JwtRule[], issuer: string): readonly JwtRule[] {
  return rules.filter((rule) => rule.issuer === issuer && found.places.has(rule));
}

function conclude(judged: readonly Judged[], request: TokenRequest, rules: readonly JwtRule[]): Authentication {
  const accepted: Accepted[] = [];
  for (const each of judged) {
    if (each.kind === 'invalid') return refuse(each.failure, request, rules);
    accepted.push(each.accepted);
  }
  // The token of the first rule speaks for the request, wherever it stands.
  accepted.sort((a, b) => rules.indexOf(a.rule) - rules.indexOf(b.rule));
  let places: TokenPlaces = request;
  for (const { found, rule } of accepted) {
    if (rule.forwardOriginalToken) continue;
    for (const location of found.places.get(rule) ?? []) places = withoutToken(places, location);
  }
  const headers = [...withoutOutputs(places.headers, rules), ...accepted.flatMap(outputsOf)];
  const [first] = accepted;
  const claims = first && { values: first.claims, spaceDelimited: first.rule.spaceDelimitedClaims };
  return { kind: 'pass', claims, headers, query: places.query, loggedQuery: withoutTokens(request, rules) };
}

function outputsOf({ found, rule, claims }: Accepted): HeaderList {
  const out: string[] = [];
  if (rule.payloadHeader !== undefined) out.push(rule.payloadHeader, found.token.split('.')[1] ?? '');
  const all = { values: claims, spaceDelimited: rule.spaceDelimitedClaims };
  for (const { header, claim } of rule.claimHeaders) {
    const value = headerText(claimValue(all, claim));
    if (value !== undefined) out.push(header, value);
  }
  return out;
}

/** Lists and objects as base64url of their JSON. Undefined: absent, or a text that is no header value. */
function headerText(value: unknown): string | undefined {
  if (typeof value === 'object' && value !== null) return Buffer.from(JSON.stringify(value)).toString('base64url');
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return typeof value === 'string' && /^[\x20-\x7e]{1,8192}$/.test(value) ? value.trim() : undefined;
}

/** The browser asks before it sends a token (Fetch standard, CORS preflight). */
function isPreflight({ method, headers }: TokenRequest): boolean {
  if (method !== 'OPTIONS') return false;
  const asks = headerValue(headers, 'access-control-request-method') !== undefined;
  return asks && headerValue(headers, 'origin') !== undefined;
}

function refuse(failure: TokenFailure, request: TokenPlaces, rules: readonly JwtRule[]): Authentication {
  const body = tokenFailures[failure];
  // As Envoy: who it is is known, but the token is for another service.
  const status = failure === 'audience' ? 403 : 401;
  const details = `jwt_authn_access_denied{${body.replaceAll(' ', '_')}}`;
  return { kind: 'refuse', status, body, details, loggedQuery: withoutTokens(request, rules) };
}

function overloaded(request: TokenPlaces, rules: readonly JwtRule[]): Authentication {
  const loggedQuery = withoutTokens(request, rules);
  return { kind: 'refuse', status: 503, body: 'too many tokens to verify', details: 'jwt_authn_overload', loggedQuery };
}

function withoutTokens(request: TokenPlaces, rules: readonly JwtRule[]): string {
  if (request.query === '') return '';
  const params = rules.flatMap((rule) => rule.locations.filter(({ kind }) => kind === 'param'));
  return params.reduce<TokenPlaces>(withoutToken, { headers: [], query: request.query }).query;
}
