/**
 * Where tokens stand in a request: found by the rules' locations, and removed from there once they were verified. What
 * is removed is cut out; every other byte of the query and of cookies stays as the client wrote it.
 */
import { cookieOf, cookieValues, unquoted } from '../../http/cookies.ts';
import { type HeaderList, headerValues, withoutHeaders } from '../../http/header-list.ts';
import type { JwtRule, TokenLocation } from '../../route/request-authentication.ts';

export interface TokenPlaces {
  readonly headers: HeaderList;
  /** With its question mark, or empty. */
  readonly query: string;
}

export interface FoundToken {
  readonly token: string;
  /** Rules that look where it was found, and where. */
  readonly places: Map<JwtRule, TokenLocation[]>;
}

/** In the order of the rules; the same token in several places is found once. */
export function findTokens(rules: readonly JwtRule[], places: TokenPlaces): readonly FoundToken[] {
  const found = new Map<string, FoundToken>();
  for (const rule of rules) {
    for (const location of rule.locations) {
      for (const token of tokensAt(location, places)) {
        const entry = found.getOrInsertComputed(token, () => ({ token, places: new Map() }));
        entry.places.getOrInsertComputed(rule, () => []).push(location);
      }
    }
  }
  return [...found.values()];
}

/** Without whatever stands at the location as a token. */
export function withoutToken(places: TokenPlaces, location: TokenLocation): TokenPlaces {
  const { headers, query } = places;
  switch (location.kind) {
    case 'header': {
      const kept: string[] = [];
      for (let i = 0; i < headers.length; i += 2) {
        const [name = '', value = ''] = [headers[i], headers[i + 1]];
        if (name.toLowerCase() !== location.name || tokenIn(value, location) === undefined) kept.push(name, value);
      }
      return { headers: kept, query };
    }
    case 'param': {
      const kept = pieces(query).filter((piece) => paramOf(piece)[0] !== location.name);
      return { headers, query: kept.length === 0 ? '' : `?${kept.join('&')}` };
    }
    case 'cookie': {
      const kept = headers.flatMap((text, i) => {
        if (i % 2 === 1) return [];
        const value = headers[i + 1] ?? '';
        if (text.toLowerCase() !== 'cookie') return [text, value];
        const left = value.split(';').filter((pair) => cookieOf(pair)[0] !== location.name);
        return left.length === 0 ? [] : [text, left.join(';').trimStart()];
      });
      return { headers: kept, query };
    }
  }
}

/** Without the headers that only a verified token may fill. */
export function withoutOutputs(headers: HeaderList, rules: readonly JwtRule[]): HeaderList {
  const outputs = new Set(
    rules.flatMap((rule) => [rule.payloadHeader, ...rule.claimHeaders.map((each) => each.header)]),
  );
  return outputs.size === 0 ? headers : withoutHeaders(headers, (name) => outputs.has(name));
}

function tokensAt(location: TokenLocation, { headers, query }: TokenPlaces): readonly string[] {
  switch (location.kind) {
    case 'header':
      return headerValues(headers, location.name).flatMap((value) => tokenIn(value, location) ?? []);
    case 'param':
      return valuesOf(pieces(query).map(paramOf), location.name);
    case 'cookie':
      return [...cookieValues(headers, location.name)].map(unquoted).filter((value) => value !== '');
  }
}

function tokenIn(value: string, location: Extract<TokenLocation, { kind: 'header' }>): string | undefined {
  const { prefix, ignoreCase } = location;
  const head = value.slice(0, prefix.length);
  if (ignoreCase ? head.toLowerCase() !== prefix.toLowerCase() : head !== prefix) return undefined;
  const token = value.slice(prefix.length).trim();
  return token === '' ? undefined : token;
}

function pieces(query: string): readonly string[] {
  return query.length <= 1 ? [] : query.slice(1).split('&');
}

function valuesOf(pairs: readonly (readonly [string, string])[], name: string): readonly string[] {
  return pairs.filter(([key, value]) => key === name && value !== '').map(([, value]) => value);
}

function paramOf(piece: string): readonly [string, string] {
  const [pair] = new URLSearchParams(piece);
  return pair ?? ['', ''];
}
