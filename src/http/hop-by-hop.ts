/**
 * Removes what belongs to one hop only (RFC 9110 §7.6.1), the headers that `Connection` names included, so that a client
 * can neither steer the next hop's framing nor smuggle a header past policies by naming it hop-by-hop after the check:
 * stripping comes first, policies see what is left.
 */
import { type HeaderList, headerValues, withoutHeaders } from './header-list.ts';

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

/**
 * `te: trailers` stays: gRPC servers insist on it, and it says something about the request, not the hop. `drop`: what
 * else goes, by lower-case name.
 */
export function stripHopByHop(list: HeaderList, drop: (name: string) => boolean = nothing): HeaderList {
  let named: Set<string> | undefined;
  for (const value of headerValues(list, 'connection')) {
    if (isCommonToken(value)) continue;
    named ??= new Set();
    for (const token of value.split(',')) named.add(token.trim().toLowerCase());
  }
  const stripped = withoutHeaders(list, (name) => hopByHopNames.has(name) || named?.has(name) === true || drop(name));
  const trailers = headerValues(list, 'te').some((value) => /(^|,)\s*trailers\s*(,|;|$)/i.test(value));
  return trailers ? [...stripped, 'te', 'trailers'] : stripped;
}

/** Names no header that would not go anyway. */
function isCommonToken(value: string): boolean {
  return value === 'keep-alive' || value === 'close';
}

function nothing(): boolean {
  return false;
}
