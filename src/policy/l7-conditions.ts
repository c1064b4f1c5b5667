/**
 * Single conditions of L7 policies, in two kinds: those on a connection, which hold or not for all of its requests, and
 * those on a request.
 */
import { cidrContains, ipToBytes } from '../base/address.ts';
import { type Identity, parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import { type HeaderList, headerValues } from '../http/header-list.ts';
import type { StringMatch } from '../mesh/model.ts';
import { matchesText } from '../route/match-text.ts';
import type { L7Condition, TextMatch } from '../route/model.ts';
import { claimTexts, requestPrincipal, type TokenClaims } from '../route/request-authentication.ts';
import { matchesString } from './match-string.ts';

export interface L7Connection {
  /** Proven by mTLS. */
  readonly principal: SpiffeId | undefined;
  /** Ids that mean the same peer by aliases of its trust domain. */
  readonly otherPrincipals?: readonly SpiffeId[];
  /** Of a TLS client on a connection that is no HTTP; undefined: there is none. */
  readonly serverName?: string | undefined;
  readonly sourceIp: string;
  /** The original client behind trusted forwarders; the source itself where there is none. */
  readonly remoteIp: string;
  /** As the client addressed it: VIP and service port, or pod address and port. At a pod's own stage always the latter. */
  readonly destinationIp: string;
  readonly destinationPort: number;
}

export interface L7Request {
  readonly method: string;
  /** Exactly the path that is forwarded, without query. */
  readonly path: string;
  readonly host: string;
  readonly headers: HeaderList;
  /** Of its verified token; undefined: nobody has vouched for anything. */
  readonly claims?: TokenClaims | undefined;
}

type RequestKind = 'method' | 'path' | 'host' | 'header' | 'request-principal' | 'audience' | 'presenter' | 'claim';
export type RequestCondition = Extract<L7Condition, { readonly kind: RequestKind }>;
type ConnectionCondition = Exclude<L7Condition, RequestCondition>;

export function isRequestCondition(condition: L7Condition): condition is RequestCondition {
  return requestKinds.has(condition.kind);
}

const requestKinds: ReadonlySet<string> = new Set<RequestKind>([
  'method',
  'path',
  'host',
  'header',
  'request-principal',
  'audience',
  'presenter',
  'claim',
]);

/** Attributes of a connection in the forms that conditions ask for; made when the first one asks. */
export class ConnectionSubject {
  readonly #connection: L7Connection;
  readonly #bytes = new Map<string, Uint8Array>();
  #identity: Identity | undefined;

  constructor(connection: L7Connection) {
    this.#connection = connection;
  }

  /** As policies write it, without its scheme. */
  get principal(): string | undefined {
    const { principal } = this.#connection;
    return principal === undefined ? undefined : withoutScheme(principal);
  }

  /** It may be meant by more than one. */
  get ambiguous(): boolean {
    return (this.#connection.otherPrincipals?.length ?? 0) > 0;
  }

  holds(condition: ConnectionCondition): boolean {
    const { sourceIp, remoteIp, destinationIp, destinationPort } = this.#connection;
    switch (condition.kind) {
      case 'principal':
        return judge(this.#principals, condition, (match, ids) => ids.some((id) => matchesString(match, id)));
      case 'trust-domain':
        return judge(this.#trustDomains, condition, (match, ids) => ids.some((id) => matchesString(match, id)));
      case 'server-name':
        return judge(this.#connection.serverName, condition, matchesString);
      case 'namespace':
        return judge(this.#parts?.namespace, condition, matchesString);
      case 'service-account': {
        const parts = this.#parts;
        const name = parts === undefined ? undefined : `${parts.namespace}/${parts.serviceAccount}`;
        return judge(name, condition, (value, text) => value === text);
      }
      case 'source-ip':
        return judge(this.#address(sourceIp), condition, cidrContains);
      case 'remote-ip':
        return judge(this.#address(remoteIp), condition, cidrContains);
      case 'destination-ip':
        return judge(this.#address(destinationIp), condition, cidrContains);
      case 'destination-port':
        return judge(destinationPort, condition, (value, port) => value === port);
    }
  }

  get #principals(): readonly string[] | undefined {
    const { principal, otherPrincipals = [] } = this.#connection;
    return principal === undefined ? undefined : [principal, ...otherPrincipals].map(withoutScheme);
  }

  get #trustDomains(): readonly string[] | undefined {
    return this.#principals?.map((id) => id.slice(0, id.indexOf('/')));
  }

  get #parts(): Identity | undefined {
    const { principal } = this.#connection;
    if (principal !== undefined) this.#identity ??= parseSpiffeId(principal);
    return this.#identity;
  }

  #address(ip: string): Uint8Array {
    return this.#bytes.getOrInsertComputed(ip, ipToBytes);
  }
}

function withoutScheme(id: SpiffeId): string {
  return id.slice('spiffe://'.length);
}

/** `widen`: what cannot be judged counts as true (DENY, AUDIT), else as false (ALLOW). */
export function requestHolds(condition: RequestCondition, request: L7Request | undefined, widen: boolean): boolean {
  if (request === undefined) return widen;
  switch (condition.kind) {
    case 'method':
      return judge(request.method, condition, matchesText);
    case 'path':
      return judge(request.path, condition, matchesText);
    case 'host':
      return judgeHost(request.host, condition, widen);
    case 'header':
      return judgeHeader(headerValues(request.headers, condition.name), condition, widen);
    case 'request-principal': {
      const principal = request.claims === undefined ? undefined : requestPrincipal(request.claims);
      return judge(principal, condition, matchesString);
    }
    case 'audience':
      return judgeClaim(request.claims, ['aud'], condition);
    case 'presenter':
      return judgeClaim(request.claims, ['azp'], condition);
    case 'claim':
      return judgeClaim(request.claims, condition.path, condition);
  }
}

function judgeClaim(
  claims: TokenClaims | undefined,
  path: readonly string[],
  condition: { readonly values: readonly StringMatch[]; readonly notValues: readonly StringMatch[] },
): boolean {
  const texts = claims === undefined ? [] : claimTexts(claims, path);
  return judge(texts.length === 0 ? undefined : texts, condition, (match, list) =>
    list.some((text) => matchesString(match, text)),
  );
}

function judge<Value, Subject>(
  attribute: Subject | undefined,
  condition: { readonly values: readonly Value[]; readonly notValues: readonly Value[] },
  matches: (value: Value, attribute: Subject) => boolean,
): boolean {
  const { values, notValues } = condition;
  if (attribute === undefined) return values.length === 0;
  if (values.length > 0 && !someMatches(values, attribute, matches)) return false;
  return !someMatches(notValues, attribute, matches);
}

function someMatches<Value, Subject>(
  values: readonly Value[],
  attribute: Subject,
  matches: (value: Value, attribute: Subject) => boolean,
): boolean {
  for (const value of values) if (matches(value, attribute)) return true;
  return false;
}

/**
 * I1: a port or a final dot changes nothing about whose host it is: neither evades a DENY, or an exception of an ALLOW.
 * What admits must be written as it is sent, as at Istio.
 */
function judgeHost(
  host: string,
  condition: { readonly values: readonly TextMatch[]; readonly notValues: readonly TextMatch[] },
  widen: boolean,
): boolean {
  const bare = host.replace(/:[0-9]+$/, '').replace(/\.$/, '');
  const loosely = (match: TextMatch) => matchesText(match, host) || matchesText(match, bare);
  const strictly = (match: TextMatch) => matchesText(match, host);
  const { values, notValues } = condition;
  if (values.length > 0 && !values.some(widen ? loosely : strictly)) return false;
  return !notValues.some(widen ? strictly : loosely);
}

/**
 * I1: a header that is sent several times evades no DENY, and gets past no exception of an ALLOW, whichever of its values
 * the application takes (CVE-2026-26308 of Envoy). A DENY holds by any value, an ALLOW by all of them, or by exactly their list.
 */
function judgeHeader(
  sent: readonly string[],
  { values, notValues }: { readonly values: readonly TextMatch[]; readonly notValues: readonly TextMatch[] },
  widen: boolean,
): boolean {
  if (sent.length < 2) return judge(sent[0], { values, notValues }, matchesText);
  const list = sent.join(',');
  const holds = (matches: readonly TextMatch[], text: string) => matches.some((match) => matchesText(match, text));
  const any = (matches: readonly TextMatch[]) => holds(matches, list) || sent.some((one) => holds(matches, one));
  const all = (matches: readonly TextMatch[]) =>
    sent.every((one) => holds(matches, one)) ||
    matches.some((match) => match.kind === 'exact' && matchesText(match, list));
  if (values.length > 0 && !(widen ? any(values) : all(values))) return false;
  return !(widen ? all(notValues) : any(notValues));
}
