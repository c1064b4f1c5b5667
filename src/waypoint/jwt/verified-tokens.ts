/**
 * Tokens that were verified, by the hash of their text, so that a token is verified once and not once per request.
 *
 * I1: an entry ends with its token and with the key set that vouched for it. I2: bounded in number and in size; only
 * valid tokens come in, so what a stranger sends takes no room. Tokens themselves are not kept.
 */
import { hash } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import type { JwtRule } from '../../route/request-authentication.ts';
import type { KeySet } from './key-set.ts';
import type { TokenOutcome } from './verify-token.ts';

type Valid = Extract<TokenOutcome, { kind: 'valid' }>;

interface Entry {
  readonly outcome: Valid;
  readonly keys: KeySet;
  readonly length: number;
}

export const mostTokens = 8_192;
/** Of their texts, about which their claims are as long. */
export const mostTokenLength = 8 * 1024 * 1024;

export class VerifiedTokens {
  readonly #clock: Clock;
  /** In order of last use. */
  readonly #entries = new Map<string, Entry>();
  readonly #rules = new WeakMap<JwtRule, number>();
  #lastRule = 0;
  #length = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#entries.size;
  }

  find(token: string, rule: JwtRule, keys: KeySet): Valid | undefined {
    const key = this.#keyOf(token, rule);
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#delete(key, entry);
    const { expiresMs } = entry.outcome;
    if (entry.keys !== keys || (expiresMs !== undefined && this.#clock.wallMs() >= expiresMs)) return undefined;
    this.#put(key, entry);
    return entry.outcome;
  }

  keep(token: string, rule: JwtRule, keys: KeySet, outcome: Valid): void {
    const key = this.#keyOf(token, rule);
    const before = this.#entries.get(key);
    if (before !== undefined) this.#delete(key, before);
    this.#put(key, { outcome, keys, length: token.length });
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= mostTokens && this.#length <= mostTokenLength) break;
      this.#delete(oldest, entry);
    }
  }

  #put(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    this.#length += entry.length;
  }

  #delete(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#length -= entry.length;
  }

  #keyOf(token: string, rule: JwtRule): string {
    return `${this.#rules.getOrInsertComputed(rule, () => ++this.#lastRule)}:${hash('sha256', token, 'base64url')}`;
  }
}
