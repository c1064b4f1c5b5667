/**
 * Certificates of the identities on this node: asked for before they are needed, renewed at half of what is left of their
 * life, kept while a renewal fails and until they expire (reference: istio/ztunnel `identity/manager.rs`).
 *
 * I1: `current` returns only what is valid at this moment, whatever timers did meanwhile (a laptop sleeps).
 * I2: one request at a time per identity; at most `maxConcurrent` in all; who waits for a connection goes first.
 * I3: generations only grow, over all identities; a certificate is used only after `checkCertificate`.
 * I4: after `forget` no reference to the key is left here.
 */
import { Backoff } from '../base/backoff.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Counter, Gauge, MetricsRegistry } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { CaClient } from './ca-client.ts';
import { type FetchPriority, FetchQueue } from './fetch-queue.ts';
import { type IssueOutcome, issueSecret } from './issue.ts';
import type { Secret, SecretState, SecretStore } from './secret.ts';
import { type TlsProfile, tlsProfile } from './tls-context.ts';
import { atWallTime } from './wall-timer.ts';

export interface SecretManagerOptions {
  /** Closed together with the manager. */
  readonly ca: CaClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  /** Life asked for. Default one day. */
  readonly ttlSeconds?: number;
  /** Requests under way at the same time. Default 8. */
  readonly maxConcurrent?: number;
  /** What a CA that does not answer costs. Default 10 s. */
  readonly requestTimeoutMs?: number;
  /** What secrets are used with. Default: the mesh's own, TLS 1.3 alone. */
  readonly profile?: TlsProfile;
  /** Beyond it an identity is unavailable. Default 10 000. */
  readonly maxIdentities?: number;
}

type SettledState = Exclude<SecretState, { kind: 'initializing' }>;

interface Entry {
  readonly identity: SpiffeId;
  readonly backoff: Backoff;
  secret: Secret | undefined;
  /** Why the last request failed; undefined after a success. */
  failure: string | undefined;
  /** Aborts the request under way. */
  fetching: AbortController | undefined;
  /** Renewal or next try. */
  next: Timer | undefined;
  expiry: Timer | undefined;
  waiters: ((state: SettledState) => void)[];
}

/** Share of a certificate's life that is left when a failing renewal makes the proxy not ready. */
const alarmingShare = 0.25;
const renewalJitter = 0.1;
const backoffOptions = { initialMs: 1000, maxMs: 150_000, jitter: 0.2 };

export class SecretManager implements SecretStore {
  readonly #options: Required<SecretManagerOptions>;
  readonly #entries = new Map<SpiffeId, Entry>();
  readonly #listeners = new Set<(identity: SpiffeId, state: SecretState) => void>();
  readonly #queue: FetchQueue<Entry>;
  readonly #results: Readonly<Record<IssueOutcome['kind'], Counter>>;
  readonly #held: Gauge;
  readonly #failing: Gauge;
  #generation = 0;
  #closed = false;

  constructor(options: SecretManagerOptions) {
    this.#options = {
      ttlSeconds: 86_400,
      maxConcurrent: 8,
      requestTimeoutMs: 10_000,
      maxIdentities: 10_000,
      profile: tlsProfile,
      ...options,
      logger: options.logger.topic('identity'),
    };
    this.#queue = new FetchQueue(this.#options.maxConcurrent, (entry) => this.#fetch(entry));
    const { metrics } = options;
    const result = (value: string) =>
      metrics.counter('ambit_certificate_requests_total', 'Requests to the CA by their result.', { result: value });
    this.#results = {
      issued: result('issued'),
      refused: result('refused'),
      unreachable: result('unreachable'),
      rejected: result('rejected'),
    };
    this.#held = metrics.gauge('ambit_certificates', 'Certificates held.');
    this.#failing = metrics.gauge('ambit_certificates_failing', 'Identities whose last request to the CA failed.');
  }

  current(identity: SpiffeId): Secret | undefined {
    const entry = this.#entries.get(identity);
    return entry === undefined ? undefined : this.#valid(entry);
  }

  acquire(identity: SpiffeId): Promise<SettledState> {
    const entry = this.#entry(identity);
    if (entry === undefined) return Promise.resolve(unavailable('too many identities, or shutting down'));
    const secret = this.#valid(entry);
    if (secret !== undefined) return Promise.resolve({ kind: 'available', secret });
    // While the CA is being spared, nobody is made to wait for it.
    if (entry.failure !== undefined && entry.next !== undefined) return Promise.resolve(unavailable(entry.failure));
    this.#request(entry, 'real-time');
    return new Promise((resolve) => entry.waiters.push(resolve));
  }

  want(identity: SpiffeId): void {
    const entry = this.#entry(identity);
    if (entry !== undefined && entry.secret === undefined && entry.next === undefined) this.#request(entry, 'warmup');
  }

  forget(identity: SpiffeId): void {
    const entry = this.#entries.get(identity);
    if (entry === undefined) return;
    this.#entries.delete(identity);
    this.#drop(entry, 'no workload of this identity is left');
    this.#measure();
  }

  onChange(listener: (identity: SpiffeId, state: SecretState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  *states(): Iterable<readonly [SpiffeId, SecretState]> {
    for (const entry of this.#entries.values()) yield [entry.identity, this.#state(entry)];
  }

  /**
   * What an operator should know while it does not hurt yet: identities whose renewal fails and whose certificate has
   * less than a quarter of its life left, or has expired. Empty when all is well.
   */
  alarms(): readonly string[] {
    const nowMs = this.#options.clock.wallMs();
    const alarms: string[] = [];
    for (const { identity, secret, failure } of this.#entries.values()) {
      if (failure === undefined || secret === undefined) continue;
      const leftMs = secret.notAfterMs - nowMs;
      if (leftMs < alarmingShare * (secret.notAfterMs - secret.notBeforeMs)) {
        alarms.push(`certificate of ${identity} until ${new Date(secret.notAfterMs).toISOString()}: ${failure}`);
      }
    }
    return alarms;
  }

  close(): void {
    this.#closed = true;
    for (const entry of this.#entries.values()) this.#drop(entry, 'shutting down');
    this.#entries.clear();
    this.#listeners.clear();
    this.#options.ca.close();
  }

  #entry(identity: SpiffeId): Entry | undefined {
    const known = this.#entries.get(identity);
    if (known !== undefined) return known;
    if (this.#closed || this.#entries.size >= this.#options.maxIdentities) return undefined;
    const entry: Entry = {
      identity,
      backoff: new Backoff(backoffOptions, this.#options.random),
      secret: undefined,
      failure: undefined,
      fetching: undefined,
      next: undefined,
      expiry: undefined,
      waiters: [],
    };
    this.#entries.set(identity, entry);
    return entry;
  }

  #valid({ secret }: Entry): Secret | undefined {
    if (secret === undefined) return undefined;
    const nowMs = this.#options.clock.wallMs();
    return secret.notBeforeMs <= nowMs && nowMs < secret.notAfterMs ? secret : undefined;
  }

  #state(entry: Entry): SecretState {
    const secret = this.#valid(entry);
    if (secret !== undefined) return { kind: 'available', secret };
    if (entry.failure !== undefined) return unavailable(entry.failure);
    return entry.secret === undefined ? { kind: 'initializing' } : unavailable('no certificate that is valid now');
  }

  #request(entry: Entry, priority: FetchPriority): void {
    entry.next?.cancel();
    entry.next = undefined;
    if (entry.fetching === undefined) this.#queue.add(entry, priority);
  }

  async #fetch(entry: Entry): Promise<void> {
    const { ca, clock, ttlSeconds, requestTimeoutMs, profile } = this.#options;
    const abort = new AbortController();
    entry.fetching = abort;
    const outcome = await issueSecret(entry.identity, {
      ca,
      clock,
      ttlSeconds,
      timeoutMs: requestTimeoutMs,
      signal: abort.signal,
      nextGeneration: () => ++this.#generation,
      profile,
    });
    if (entry.fetching !== abort) return; // forgotten meanwhile
    entry.fetching = undefined;
    this.#results[outcome.kind].value++;
    if (outcome.kind === 'issued') this.#accept(entry, outcome.secret);
    else this.#fail(entry, outcome.reason);
    this.#measure();
  }

  #accept(entry: Entry, secret: Secret): void {
    const { clock, random, logger } = this.#options;
    entry.secret = secret;
    entry.failure = undefined;
    entry.backoff.reset();
    const nowMs = clock.wallMs();
    const share = 0.5 * (1 - renewalJitter * random.next());
    entry.next = atWallTime(clock, nowMs + Math.max(1000, (secret.notAfterMs - nowMs) * share), () => {
      this.#request(entry, 'background');
    });
    entry.expiry?.cancel();
    entry.expiry = atWallTime(clock, secret.notAfterMs, () => this.#expire(entry));
    logger.debug('certificate issued', {
      identity: entry.identity,
      serial: secret.serialNumber,
      until: new Date(secret.notAfterMs).toISOString(),
    });
    this.#settle(entry, { kind: 'available', secret });
  }

  #fail(entry: Entry, reason: string): void {
    const { clock, logger } = this.#options;
    const delayMs = entry.backoff.nextMs();
    entry.failure = reason;
    entry.next = clock.after(delayMs, () => this.#request(entry, 'background'));
    const retryInMs = Math.round(delayMs);
    const secret = this.#valid(entry);
    if (secret === undefined) {
      logger.warn('no certificate', { identity: entry.identity, reason, retryInMs });
      this.#settle(entry, unavailable(reason));
    } else {
      const until = new Date(secret.notAfterMs).toISOString();
      logger.warn('certificate not renewed', { identity: entry.identity, reason, retryInMs, until });
    }
  }

  #expire(entry: Entry): void {
    entry.expiry = undefined;
    this.#options.logger.error('certificate expired without renewal', {
      identity: entry.identity,
      reason: entry.failure,
    });
    this.#announce(entry.identity, this.#state(entry));
    // The renewal timer may have been asleep with the machine.
    if (entry.failure === undefined) this.#request(entry, 'real-time');
    this.#measure();
  }

  #drop(entry: Entry, reason: string): void {
    entry.next?.cancel();
    entry.expiry?.cancel();
    this.#queue.remove(entry);
    entry.fetching?.abort();
    entry.fetching = undefined;
    entry.secret = undefined;
    this.#settle(entry, unavailable(reason));
  }

  #settle(entry: Entry, state: SettledState): void {
    for (const waiter of entry.waiters.splice(0)) waiter(state);
    this.#announce(entry.identity, state);
  }

  #announce(identity: SpiffeId, state: SecretState): void {
    for (const listener of this.#listeners) listener(identity, state);
  }

  #measure(): void {
    let held = 0;
    let failing = 0;
    for (const entry of this.#entries.values()) {
      if (this.#valid(entry) !== undefined) held++;
      if (entry.failure !== undefined) failing++;
    }
    this.#held.value = held;
    this.#failing.value = failing;
  }
}

function unavailable(reason: string): SettledState {
  return { kind: 'unavailable', reason };
}
