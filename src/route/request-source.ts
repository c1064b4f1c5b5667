/** What a limit counts by: a text made of parts of a request. */
import { hash } from 'node:crypto';
import { joinedHeader } from '../http/header-list.ts';
import type { RequestFacts, RequestSource } from './traffic-protection.ts';

/** Undefined: a header that is not there. */
export function sourceValue(source: RequestSource, facts: RequestFacts): string | undefined {
  switch (source.kind) {
    case 'client-identity':
      return facts.clientIdentity;
    case 'client-namespace':
      return facts.clientNamespace ?? '';
    case 'client-ip':
      return facts.clientIp;
    case 'service':
      return facts.service;
    case 'route':
      return facts.route;
    case 'method':
      return facts.method;
    case 'host':
      return facts.host.toLowerCase();
    case 'path':
      return facts.path;
    case 'header':
      return joinedHeader(facts.headers, source.name);
  }
}

/** Longer parts are kept as their hash, so that a table's size is bounded by its number of keys. */
const longestPart = 128;

/**
 * The key of a request. A header that is not there is a value of its own: leaving it out is no way around a limit. Parts are
 * written with their length before them, so that no two lists of parts have one key.
 */
export function keyOf(sources: readonly RequestSource[], facts: RequestFacts): string {
  let key = '';
  for (const source of sources) {
    const value = sourceValue(source, facts);
    if (value === undefined) key += '-;';
    else if (value.length <= longestPart) key += `${value.length}:${value};`;
    else key += `#${hash('sha256', value)};`;
  }
  return key;
}
