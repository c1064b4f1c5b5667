/**
 * What of a request is hashed, for services that ask for consistent hashing; and the cookie that a client is given so that
 * it has something to be hashed.
 *
 * I1: a request has one hash for one key, whatever is tried: a cookie that was made is kept with the request.
 */
import { randomBytes } from 'node:crypto';
import { cookieValues, unquoted } from '../http/cookies.ts';
import { type HeaderList, headerValues, withAddedHeader } from '../http/header-list.ts';
import type { DestinationPolicy, HashKey } from '../route/destination.ts';
import { hashText } from '../upstream/balance/hash-text.ts';
import type { RequestRecord } from './request-record.ts';

/** Cookies that were made for a request, by name. */
const made = new WeakMap<RequestRecord, Map<string, string>>();

/** Undefined: nothing is hashed, or the request does not have it. `mayGive`: its answer may bring the client a cookie. */
export function affinityOf(
  record: RequestRecord,
  policy: DestinationPolicy | undefined,
  mayGive: boolean,
): number | undefined {
  const choice = policy?.loadBalancer?.choice;
  if (choice?.kind !== 'hash') return undefined;
  const text = hashedText(record, choice.key, mayGive);
  return text === undefined ? undefined : hashText(text);
}

function hashedText(record: RequestRecord, key: HashKey, mayGive: boolean): string | undefined {
  switch (key.kind) {
    case 'source-ip':
      return record.tunnel.client.ip;
    case 'header': {
      if (key.name === 'host') return record.authority;
      const values = headerValues(record.headers, key.name);
      // The same values in another order are the same (Envoy).
      return values.length < 2 ? values[0] : values.toSorted().join();
    }
    case 'query':
      return queryValue(record.query, key.name);
    case 'cookie':
      return cookieValue(record.headers, key.name) ?? (mayGive ? madeCookie(record, key) : undefined);
  }
}

/** The first value of the parameter, as it is written. */
export function queryValue(query: string, name: string): string | undefined {
  for (let at = 1; at > 0 && at < query.length; ) {
    const end = query.indexOf('&', at);
    const pair = query.slice(at, end < 0 ? undefined : end);
    const equals = pair.indexOf('=');
    if ((equals < 0 ? pair : pair.slice(0, equals)) === name) return equals < 0 ? '' : pair.slice(equals + 1);
    at = end + 1;
  }
  return undefined;
}

/** Without quotes around it. An empty one is none. */
export function cookieValue(headers: HeaderList, name: string): string | undefined {
  for (const value of cookieValues(headers, name)) {
    const bare = unquoted(value);
    if (bare !== '') return bare;
  }
  return undefined;
}

function madeCookie(record: RequestRecord, key: Extract<HashKey, { kind: 'cookie' }>): string | undefined {
  const { name, path, ttlMs } = key;
  if (ttlMs === undefined) return undefined;
  const cookies = made.getOrInsertComputed(record, () => new Map<string, string>());
  return cookies.getOrInsertComputed(name, () => {
    const value = randomBytes(8).toString('hex');
    const age = ttlMs === 0 ? '' : `; Max-Age=${Math.ceil(ttlMs / 1000)}`;
    const place = path === '' ? '' : `; Path=${path}`;
    const cookie = `${name}=${value}${age}${place}; HttpOnly`;
    record.changeResponse((headers) => withAddedHeader(headers, 'set-cookie', cookie));
    return value;
  });
}
