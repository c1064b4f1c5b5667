/**
 * Keys of rules, fetched when they are first needed and kept. A set that is due is fetched again beside the requests that
 * go on using it; one fetch at a time per source.
 *
 * I1: the last good set stays in use until another good one has come. I2: what a token names (an unknown key) can cause
 * at most one fetch per source in `retryMs`, and so can a key server that is down.
 */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { JwtRule } from '../../route/request-authentication.ts';
import type { Fetched, FetchText } from './fetch-text.ts';
import { type KeySet, parseKeySet } from './key-set.ts';

export const keyAges = { defaultMs: 10 * 60_000, leastMs: 60_000, mostMs: 60 * 60_000, retryMs: 10_000 } as const;
/** The longest unused ones go. */
const mostSources = 1_024;

interface RemoteKeys {
  keys: KeySet | undefined;
  document: string | undefined;
  /** Undefined: none was tried. */
  triedMs: number | undefined;
  dueMs: number;
  running: Promise<void> | undefined;
}

export interface KeyStoreDependencies {
  readonly fetchText: FetchText;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class KeyStore {
  readonly #dependencies: KeyStoreDependencies;
  readonly #inline = new WeakMap<JwtRule, KeySet>();
  readonly #remote = new Map<string, RemoteKeys>();

  constructor(dependencies: KeyStoreDependencies) {
    this.#dependencies = dependencies;
  }

  /** What is there now; undefined: they would have to be fetched first. */
  current(rule: JwtRule): KeySet | undefined {
    const { keys } = rule;
    if (keys.kind === 'inline') return this.#inlineOf(rule, keys.document);
    const remote = this.#remoteOf(sourceOf(rule));
    if (remote.keys !== undefined && this.#dependencies.clock.nowMs() >= remote.dueMs) void this.#refresh(rule, remote);
    return remote.keys;
  }

  /** Undefined: they cannot be had. */
  async get(rule: JwtRule): Promise<KeySet | undefined> {
    const current = this.current(rule);
    if (current !== undefined || rule.keys.kind === 'inline') return current;
    const remote = this.#remoteOf(sourceOf(rule));
    await this.#refresh(rule, remote);
    return remote.keys;
  }

  /** For a token whose key is not among them: the issuer may have a new one. */
  async renewed(rule: JwtRule): Promise<KeySet | undefined> {
    if (rule.keys.kind === 'inline') return this.current(rule);
    const remote = this.#remoteOf(sourceOf(rule));
    await this.#refresh(rule, remote);
    return remote.keys;
  }

  #inlineOf(rule: JwtRule, document: string): KeySet | undefined {
    const kept = this.#inline.get(rule);
    if (kept !== undefined) return kept;
    const keys = parseKeySet(document);
    if (keys !== undefined) this.#inline.set(rule, keys);
    return keys;
  }

  #remoteOf(source: string): RemoteKeys {
    const remote = this.#remote.get(source) ?? {
      keys: undefined,
      document: undefined,
      triedMs: undefined,
      dueMs: 0,
      running: undefined,
    };
    // The map is in order of last use.
    this.#remote.delete(source);
    this.#remote.set(source, remote);
    for (const [oldest] of this.#remote) {
      if (this.#remote.size <= mostSources) break;
      this.#remote.delete(oldest);
    }
    return remote;
  }

  #refresh(rule: JwtRule, remote: RemoteKeys): Promise<void> {
    if (remote.running !== undefined) return remote.running;
    const nowMs = this.#dependencies.clock.nowMs();
    if (remote.triedMs !== undefined && nowMs - remote.triedMs < keyAges.retryMs) return Promise.resolve();
    remote.triedMs = nowMs;
    remote.running = this.#fetch(rule)
      .then((fetched) => this.#fetched(rule, remote, fetched))
      .finally(() => {
        remote.running = undefined;
      });
    return remote.running;
  }

  #fetched(rule: JwtRule, remote: RemoteKeys, fetched: Fetched): void {
    const { clock, logger } = this.#dependencies;
    const keys = fetched.kind === 'document' ? parseKeySet(fetched.text) : undefined;
    if (fetched.kind === 'failed' || keys === undefined || keys.size === 0) {
      const reason = fetched.kind === 'failed' ? fetched.reason : 'there is no usable key in it';
      const kept = remote.keys === undefined ? 'its tokens are refused' : 'the last good keys stay in use';
      logger.warn('cannot get the keys of an issuer', { issuer: rule.issuer, reason, kept });
      remote.dueMs = clock.nowMs() + keyAges.retryMs;
      return;
    }
    const ageMs = Math.min(Math.max(fetched.maxAgeMs ?? keyAges.defaultMs, keyAges.leastMs), keyAges.mostMs);
    remote.dueMs = clock.nowMs() + ageMs;
    // Verified tokens stand as long as their set does: an unchanged document is the same set.
    if (remote.document !== fetched.text) remote.keys = keys;
    remote.document = fetched.text;
  }

  async #fetch({ keys, issuer, timeoutMs }: JwtRule): Promise<Fetched> {
    const { fetchText } = this.#dependencies;
    if (keys.kind === 'inline') throw new Error('inline keys are not fetched');
    const first = await fetchText(keys.url, timeoutMs);
    if (keys.kind === 'url' || first.kind === 'failed') return first;
    const url = keyAddress(first.text, issuer);
    return url === undefined
      ? { kind: 'failed', reason: `${keys.url} names no jwks_uri for this issuer` }
      : await fetchText(url, timeoutMs);
  }
}

/** Shared only by rules that ask in the same way: no rule of another namespace can spoil a fetch for this one. */
function sourceOf({ keys, issuer, timeoutMs }: JwtRule): string {
  return keys.kind === 'inline' ? '' : JSON.stringify([keys.kind, keys.url, issuer, timeoutMs]);
}

/** OpenID Connect Discovery 1.0 §4.3: the document must be the issuer's own. */
function keyAddress(document: string, issuer: string): string | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(document);
  } catch {
    // JSON.parse has no other way to say no.
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null || !('jwks_uri' in parsed) || !('issuer' in parsed))
    return undefined;
  return parsed.issuer === issuer && typeof parsed.jwks_uri === 'string' ? parsed.jwks_uri : undefined;
}
