/**
 * What a provider decided about a request, whichever way it was asked, and what it may change. Providers are trusted to
 * decide, not to be free of faults: what would break a message or take it to another host is left out.
 */
import { type HeaderList, headerValues, withAddedHeader, withHeader, withoutHeaders } from '../../http/header-list.ts';
import { hopByHopNames } from '../../http/hop-by-hop.ts';

/** One header that a provider sets, in the order in which it named them. */
export interface HeaderOperation {
  /** Lower case. */
  readonly name: string;
  readonly value: string;
  readonly action: 'set' | 'add' | 'append-to-existing' | 'add-if-absent' | 'set-if-present';
}

export type CheckDecision =
  | {
      readonly kind: 'allow';
      readonly request: readonly HeaderOperation[];
      /** Lower case. */
      readonly removed: readonly string[];
      readonly response: readonly HeaderOperation[];
      readonly querySet: readonly (readonly [name: string, value: string])[];
      readonly queryRemoved: readonly string[];
    }
  | {
      readonly kind: 'deny';
      readonly status: number;
      readonly headers: readonly HeaderOperation[];
      readonly body: string;
    }
  /** No decision: the provider was not reached, or does not know. */
  | { readonly kind: 'error'; readonly reason: string };

export const allowUnchanged: Extract<CheckDecision, { kind: 'allow' }> = {
  kind: 'allow',
  request: [],
  removed: [],
  response: [],
  querySet: [],
  queryRemoved: [],
};

/** Names that frame a message, address it, or are a proxy's own matter: no provider's to set or to remove. */
export function isProvidersMatter(name: string): boolean {
  return !name.startsWith(':') && name !== 'host' && name !== 'content-length' && !hopByHopNames.has(name);
}

/** A name and a value that can stand in a message. */
export function isHeader(name: string, value: string): boolean {
  return /^[!#$%&'*+.^_`|~0-9a-z-]{1,256}$/.test(name) && /^[\t\x20-\x7e\x80-\xff]{0,65536}$/.test(value);
}

export function applyOperations(headers: HeaderList, operations: readonly HeaderOperation[]): HeaderList {
  let out = headers;
  for (const { name, value, action } of operations) {
    const present = headerValues(out, name);
    switch (action) {
      case 'set':
        out = withHeader(out, name, value);
        break;
      case 'add':
        out = withAddedHeader(out, name, value);
        break;
      case 'append-to-existing':
        if (present.length > 0) out = withHeader(out, name, [...present, value].join(','));
        break;
      case 'add-if-absent':
        if (present.length === 0) out = withAddedHeader(out, name, value);
        break;
      case 'set-if-present':
        if (present.length > 0) out = withHeader(out, name, value);
    }
  }
  return out;
}

export function withoutNames(headers: HeaderList, names: readonly string[]): HeaderList {
  if (names.length === 0) return headers;
  const dropped = new Set(names);
  return withoutHeaders(headers, (name) => dropped.has(name));
}

/** The query with parameters removed and set; what stands there otherwise stays as it is written. */
export function changedQuery(
  query: string,
  set: readonly (readonly [name: string, value: string])[],
  removed: readonly string[],
): string {
  if (set.length === 0 && removed.length === 0) return query;
  const gone = new Set([...set.map(([name]) => name), ...removed]);
  const kept = query
    .slice(1)
    .split('&')
    .filter((part) => part !== '' && !gone.has(decoded(part.split('=', 1)[0] ?? '')));
  const added = set.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
  const all = [...kept, ...added].join('&');
  return all === '' ? '' : `?${all}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    // A broken escape stands for itself.
    return text;
  }
}
