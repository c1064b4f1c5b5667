/**
 * The pool of client sessions on framing of our own. The contract is TunnelPool's (`engine.ts`).
 *
 * Sessions alike form a group (`session-group.ts`), in which one is opened at a time: those who wait share it, in the order in
 * which they came, and when it is full another is opened for the rest. Whoever waits is served by whatever has room first: the new
 * session, an old one whose stream has ended, one whose peer allows more now.
 *
 * I4: as many sessions are opened as there are streams that want one, at most: one that stands and takes none fails or holds off
 *     those who waited, it is not followed by the next.
 */
import type { Cancellation } from '../../base/cancellation.ts';
import type { AmbitError } from '../../base/errors.ts';
import type { SpiffeId } from '../../base/spiffe.ts';
import type { PeerRevocation } from '../../identity/revocation.ts';
import { abandoned, poolTimeout, sessionError, sessionGone, sessionLimit } from '../pool-errors.ts';
import { SessionTurns, sourceOf } from '../pool-key.ts';
import type { TunnelTarget } from '../seam.ts';
import { longestWaitMs, openSessionCarrier, type SessionCarrier } from '../session-carrier.ts';
import type { SessionFacts } from '../session-facts.ts';
import type { ClientStream, PoolDependencies, StreamOutcome, TunnelPool } from './engine.ts';
import { PooledSession } from './pooled-session.ts';
import { SessionBudget } from './session-budget.ts';
import { type Opening, SessionGroup, type Waiter } from './session-group.ts';

export class FramingPool implements TunnelPool {
  readonly #use: PoolDependencies;
  readonly #budget: SessionBudget<PooledSession>;
  readonly #groups = new Map<string, SessionGroup>();
  /** Those that stand, and those that have left and still have streams. */
  readonly #sessions = new Set<PooledSession>();
  readonly #openings = new Set<Opening>();
  /** Groups that want a session and find the pool full, in order; and the sessions that go for them. */
  readonly #starved = new Set<SessionGroup>();
  readonly #making = new Set<PooledSession>();
  readonly #unsubscribe: () => void;
  readonly #turns: SessionTurns;
  #waiters = 0;
  #closed = false;

  constructor(dependencies: PoolDependencies) {
    this.#use = dependencies;
    this.#budget = new SessionBudget(dependencies.options);
    this.#turns = new SessionTurns(dependencies.options.nestedSessions);
    // Losing the certificate, or a new one: in both cases no new stream may be vouched for by the old one.
    this.#unsubscribe = dependencies.secrets.onChange((identity) => this.forgetIdentity(identity));
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  get streams(): number {
    let streams = 0;
    for (const session of this.#sessions) streams += session.streams;
    return streams;
  }

  requestNow(
    target: TunnelTarget,
    headers: readonly string[],
    owns: (stream: ClientStream) => void,
  ): SessionFacts | undefined {
    const session = this.#groups.get(this.#turns.key(target))?.withRoom();
    if (session === undefined) return undefined;
    this.#turns.used(target);
    let stream: ClientStream;
    try {
      stream = this.#take(session, headers);
    } catch {
      // `request` will say why.
      return undefined;
    }
    owns(stream);
    return session.facts;
  }

  request(
    target: TunnelTarget,
    headers: readonly string[],
    owns: (stream: ClientStream) => void,
    cancellation: Cancellation | undefined,
  ): Promise<StreamOutcome> {
    const { clock, options } = this.#use;
    return new Promise((resolve) => {
      if (this.#closed || cancellation?.cancelled) {
        resolve({ kind: 'failed', error: abandoned(target) });
        return;
      }
      const group = this.#groupInTurn(target);
      const settle = (outcome: StreamOutcome) => {
        group.waiting.delete(waiter);
        timer.cancel();
        cancellation?.off(onCancel);
        resolve(outcome);
      };
      const waiter: Waiter = { number: this.#waiters++, target, headers, owns, settle };
      const giveUp = (error: AmbitError) => {
        settle({ kind: 'failed', error });
        this.#tidy(group);
      };
      const onCancel = () => giveUp(abandoned(target));
      const waitMs = longestWaitMs(target, options);
      const timer = clock.after(waitMs, () => giveUp(poolTimeout(target, waitMs)));
      cancellation?.on(onCancel);
      group.waiting.add(waiter);
      const session = group.withRoom();
      if (session !== undefined) this.#serve(group, session);
      this.#open(group);
    });
  }

  forgetPeer(ip: string): void {
    this.#forget(({ peer }) => peer.ip === ip);
  }

  forgetIdentity(identity: SpiffeId): void {
    this.#forget(({ sourceIdentity }) => sourceIdentity === identity);
  }

  revocationChanged(revocation: PeerRevocation): void {
    for (const session of this.#sessions) session.endIfRevoked(revocation);
  }

  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    for (const group of [...this.#groups.values()]) this.#failAll(group, abandoned);
    for (const session of [...this.#sessions]) session.destroy();
    for (const opening of [...this.#openings]) opening.session?.destroy();
  }

  #forget(isMeant: (of: SessionFacts | TunnelTarget) => boolean): void {
    for (const session of this.#sessions) if (isMeant(session.facts)) session.leave();
    for (const opening of this.#openings) if (isMeant(opening.target)) opening.outdatedFrom ??= this.#waiters;
  }

  #groupInTurn(target: TunnelTarget): SessionGroup {
    const key = this.#turns.key(target);
    this.#turns.used(target);
    return this.#groups.getOrInsertComputed(key, () => new SessionGroup(key));
  }

  #take(session: PooledSession, headers: readonly string[]): ClientStream {
    const stream = session.request(headers);
    this.#budget.notIdle(session);
    return stream;
  }

  /** Gives those who wait what the session has room for; those who came before that number, when there is one. */
  #serve(group: SessionGroup, session: PooledSession, before = Number.POSITIVE_INFINITY): void {
    for (let waiter = group.first(); waiter !== undefined && session.hasRoom; waiter = group.first()) {
      if (waiter.number >= before) break;
      let stream: ClientStream;
      try {
        stream = this.#take(session, waiter.headers);
      } catch (error) {
        waiter.settle({ kind: 'failed', error: sessionGone(waiter.target, error) });
        continue;
      }
      waiter.owns(stream);
      waiter.settle({ kind: 'stream', facts: session.facts });
    }
    this.#tidy(group);
  }

  /** Opens a session for those who wait, when none is on its way and they may have one. */
  #open(group: SessionGroup): void {
    const target = group.first()?.target;
    if (target === undefined || group.opening !== undefined || this.#closed || group.isHeldOff) return;
    if (this.#budget.isFull) {
      this.#starved.add(group);
      this.#makeRoom();
      return;
    }
    // One source's sessions are bounded, and its idle ones are first to go: it cannot take the pool from others.
    const source = sourceOf(target);
    const idle = this.#budget.isFullFor(source) ? this.#budget.longestIdleOf(source) : undefined;
    if (this.#budget.isFullFor(source) && idle === undefined) {
      const held = this.#budget.heldBy(source);
      this.#failAll(group, (of) => sessionLimit(of, held));
      return;
    }
    this.#budget.enter(source);
    idle?.leave();
    const opening: Opening = { group, target, session: undefined, outdatedFrom: undefined };
    group.opening = opening;
    this.#openings.add(opening);
    openSessionCarrier(target, this.#use).then(
      (carrier) => this.#carried(opening, carrier),
      (error: unknown) => {
        this.#openingFailed(opening, error);
        this.#left(source);
      },
    );
  }

  #carried(opening: Opening, carrier: SessionCarrier): void {
    const { group } = opening;
    const session = new PooledSession(carrier, this.#use, {
      stands: () => this.#stands(opening, session),
      room: () => this.#room(group, session),
      leaves: () => {
        this.#budget.notIdle(session);
        group.remove(session);
        this.#open(group);
      },
      closed: (_session, cause) => {
        if (group.opening === opening) this.#openingFailed(opening, cause);
        this.#sessions.delete(session);
        this.#making.delete(session);
        this.#left(session.source);
        this.#open(group);
        this.#tidy(group);
      },
    });
    opening.session = session;
    if (this.#closed) session.destroy();
  }

  #stands(opening: Opening, session: PooledSession): void {
    const { group } = opening;
    const { revocation, secrets } = this.#use;
    this.#openingOver(opening);
    this.#sessions.add(session);
    // The lists were replaced between the handshake and now.
    if (revocation !== undefined) session.endIfRevoked(revocation);
    if (!session.isOpen) {
      this.#failAll(group, (target) => sessionGone(target, undefined));
      return;
    }
    const current = secrets.current(session.facts.sourceIdentity);
    if (opening.outdatedFrom !== undefined || current?.generation !== session.facts.generation) {
      // Good for those who waited when it was forgotten. The others get one of their own.
      this.#serve(group, session, opening.outdatedFrom);
      session.leave();
      return;
    }
    group.add(session);
    this.#room(group, session);
  }

  #room(group: SessionGroup, session: PooledSession): void {
    this.#serve(group, session);
    if (session.streams === 0 && session.isOpen) {
      this.#budget.idle(session);
      this.#makeRoom();
    }
    this.#open(group);
  }

  #openingOver(opening: Opening): void {
    opening.group.opening = undefined;
    this.#openings.delete(opening);
  }

  /** Those who waited for it hear why. */
  #openingFailed(opening: Opening, cause: unknown): void {
    this.#openingOver(opening);
    const error = cause ?? new Error('it ended before its SETTINGS came');
    this.#failAll(opening.group, (target) => sessionError(target, error));
  }

  #failAll(group: SessionGroup, errorFor: (target: TunnelTarget) => AmbitError): void {
    group.failAll(errorFor);
    this.#tidy(group);
  }

  /** A place is free. */
  #left(source: string): void {
    this.#budget.leave(source);
    for (const group of this.#starved) {
      if (this.#budget.isFull) break;
      this.#starved.delete(group);
      this.#open(group);
    }
    this.#makeRoom();
  }

  /** One idle session goes for each group that finds the pool full. */
  #makeRoom(): void {
    while (this.#starved.size > this.#making.size) {
      const idle = this.#budget.longestIdle();
      if (idle === undefined) return;
      this.#making.add(idle);
      idle.leave();
    }
  }

  #tidy(group: SessionGroup): void {
    if (group.waiting.size === 0) this.#starved.delete(group);
    if (group.isEmpty && this.#groups.get(group.key) === group) this.#groups.delete(group.key);
  }
}
