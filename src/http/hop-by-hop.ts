/**
 * Removes what belongs to one hop only (RFC 9110 §7.6.1), the headers that `Connection` names included, so that a client
 * can neither steer the next hop's framing nor smuggle a header past policies by naming it hop-by-hop after the check:
 * stripping comes first, policies see what is left.
 */
import { type HeaderList, isNamed, noHeaders, withoutHeaders } from './header-list.ts';

export const hopByHopNames: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** Of a request, what an exchange tells in other ways. */
export const ownMatters: readonly string[] = ['host', 'expect'];

/**
 * `te: trailers` stays: gRPC servers insist on it, and it says something about the request, not the hop. `drop`: what
 * else goes, by lower-case name.
 */
export function stripHopByHop(list: HeaderList, drop: readonly string[] = noHeaders): HeaderList {
  let kept: string[] | undefined;
  let named: Set<string> | undefined;
  let trailers = false;
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i] as string;
    const own = hopByHopName(name);
    if (own === undefined && !isOneOf(name, drop)) {
      kept?.push(name, list[i + 1] as string);
      continue;
    }
    kept ??= list.slice(0, i);
    if (own === 'connection') named = withTokens(named, list[i + 1] as string);
    else if (own === 'te') trailers ||= /(^|,)\s*trailers\s*(,|;|$)/i.test(list[i + 1] as string);
  }
  const tokens = named;
  const stripped = tokens === undefined ? (kept ?? list) : withoutHeaders(kept ?? list, (name) => tokens.has(name));
  return trailers ? [...stripped, 'te', 'trailers'] : stripped;
}

/** Names that a `Connection` names, with those of others before it. */
function withTokens(before: Set<string> | undefined, value: string): Set<string> | undefined {
  if (isCommonToken(value)) return before;
  const named = before ?? new Set<string>();
  for (const token of value.split(',')) named.add(token.trim().toLowerCase());
  return named;
}

/** Names no header that would not go anyway. */
function isCommonToken(value: string): boolean {
  return value === 'keep-alive' || value === 'close';
}

/** Those of each length: most headers have none to be compared with. */
const namesByLength: readonly (readonly string[])[] = Array.from({ length: 20 }, (_, length) =>
  [...hopByHopNames].filter((name) => name.length === length),
);

/** In lower case; undefined: it is no such name. */
function hopByHopName(name: string): string | undefined {
  const candidates = namesByLength[name.length];
  if (candidates !== undefined) for (const candidate of candidates) if (isNamed(name, candidate)) return candidate;
  return undefined;
}

function isOneOf(name: string, lowerNames: readonly string[]): boolean {
  for (const lowerName of lowerNames) if (isNamed(name, lowerName)) return true;
  return false;
}
