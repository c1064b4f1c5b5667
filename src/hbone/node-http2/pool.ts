/**
 * The pool of HBONE client sessions. http2-wrapper's Agent is its core (single flight, fullest session with room, another
 * session at the peer's stream limit); what is wrong in it for a mesh is put right here, in `mesh-agent.ts` and in
 * `pooled-session.ts`, see reference `node-ecosystem` §1.1.
 * The contract is TunnelPool's. A session behind a gateway runs in a tunnel of its own to that gateway (`carrier.ts`), which in turn comes from here.
 */
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import type { PromiseListeners } from 'http2-wrapper';
import { formatSocketAddress } from '../../base/address.ts';
import type { Cancellation } from '../../base/cancellation.ts';
import { type AmbitError, errorText } from '../../base/errors.ts';
import type { SpiffeId } from '../../base/spiffe.ts';
import type { PeerRevocation } from '../../identity/revocation.ts';
import type { ClientStream, PoolDependencies, StreamOutcome, TunnelPool } from '../http2/engine.ts';
import { SessionBudget } from '../http2/session-budget.ts';
import { watchLiveness } from '../liveness.ts';
import { abandoned, poolTimeout, sessionError, sessionGone, sessionLimit } from '../pool-errors.ts';
import { SessionTurns, sourceOf } from '../pool-key.ts';
import { endIfRevoked } from '../revoked-sessions.ts';
import type { TunnelTarget } from '../seam.ts';
import { longestWaitMs } from '../session-carrier.ts';
import type { SessionFacts } from '../session-facts.ts';
import { NodeClientStream } from './client-stream.ts';
import { MeshAgent, settleSession, type TargetOptions } from './mesh-agent.ts';
import { hasRoom, limitStreams, retire, streamCount } from './pooled-session.ts';
import { sessionMemoryMegabytes } from './session-memory.ts';

/** See `tunnel-end.ts` for the trailers. */
const streamOptions = { waitForTrailers: true, endStream: false } as const;

export class SessionPool implements TunnelPool {
  readonly #agent: MeshAgent;
  readonly #dependencies: PoolDependencies;
  readonly #sessions = new Map<ClientHttp2Session, SessionFacts>();
  readonly #byKey = new Map<string, { readonly sessions: Set<ClientHttp2Session>; last: ClientHttp2Session }>();
  readonly #budget: SessionBudget<SessionFacts>;
  readonly #unsubscribe: () => void;
  readonly #turns: SessionTurns;
  #closed = false;

  constructor(dependencies: PoolDependencies) {
    this.#dependencies = dependencies;
    this.#budget = new SessionBudget(dependencies.options);
    this.#turns = new SessionTurns(dependencies.options.nestedSessions);
    this.#agent = new MeshAgent(dependencies, (target) => this.#enter(target));
    this.#agent.on('session', (session: ClientHttp2Session) => this.#adopt(session));
    // Losing the certificate, or a new one: in both cases no new stream may be vouched for by the old one.
    this.#unsubscribe = dependencies.secrets.onChange((identity) => this.forgetIdentity(identity));
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  get streams(): number {
    let streams = 0;
    for (const session of this.#sessions.keys()) streams += streamCount(session);
    return streams;
  }

  requestNow(
    target: TunnelTarget,
    headers: readonly string[],
    owns: (stream: ClientStream) => void,
  ): SessionFacts | undefined {
    const session = this.#sessionWithRoom(this.#turns.key(target));
    if (session === undefined) return undefined;
    this.#turns.used(target);
    let stream: ClientHttp2Stream;
    try {
      // The Agent put its own `request` on the session, which counts the stream as those that waited.
      stream = session.request(headers, streamOptions);
    } catch {
      // `request` will say why, or find another session.
      return undefined;
    }
    owns(new NodeClientStream(stream));
    return this.#sessions.get(session);
  }

  request(
    target: TunnelTarget,
    headers: readonly string[],
    owns: (stream: ClientStream) => void,
    cancellation: Cancellation | undefined,
  ): Promise<StreamOutcome> {
    const { clock, options } = this.#dependencies;
    return new Promise((resolve) => {
      let settled = false;
      const settle = (outcome: StreamOutcome) => {
        settled = true;
        timer.cancel();
        cancellation?.off(onCancel);
        resolve(outcome);
      };
      const fail = (error: AmbitError) => {
        if (!settled) settle({ kind: 'failed', error });
      };
      const onCancel = () => fail(abandoned(target));
      const waitMs = longestWaitMs(target, options);
      const timer = clock.after(waitMs, () => fail(poolTimeout(target, waitMs)));
      if (this.#closed || cancellation?.cancelled) {
        fail(abandoned(target));
        return;
      }
      cancellation?.on(onCancel);
      const listener = {
        // The Agent counts a session's streams as they are requested in here, so this must stay synchronous.
        resolve: (value: unknown) => {
          if (settled) return;
          const session = value as ClientHttp2Session;
          const facts = this.#sessions.get(session);
          try {
            if (facts === undefined) throw new Error('the session has just ended');
            const stream = session.request(headers, streamOptions);
            owns(new NodeClientStream(stream));
            settle({ kind: 'stream', facts });
          } catch (error) {
            fail(sessionGone(target, error));
          }
        },
        reject: (error: Error) => fail(sessionError(target, error)),
      };
      const { ip, port } = target.peer;
      const origin = `https://${ip.includes(':') ? `[${ip}]` : ip}:${port}`;
      const key = this.#turns.key(target);
      this.#turns.used(target);
      const targetOptions: TargetOptions = {
        poolKey: key,
        target,
        maxSessionMemory: sessionMemoryMegabytes(options),
      };
      void this.#agent.getSession(origin, targetOptions, [listener] as unknown as PromiseListeners).catch(() => {});
    });
  }

  /** One source's sessions are bounded, and its idle ones are first to go: it cannot take the pool from others. */
  #enter(target: TunnelTarget): () => void {
    const source = sourceOf(target);
    if (this.#budget.isFullFor(source) && !this.#releaseIdle(source)) {
      throw sessionLimit(target, this.#budget.heldBy(source));
    }
    this.#budget.enter(source);
    return () => this.#budget.leave(source);
  }

  /** Closes a session of the source that carries nothing, the oldest first. */
  #releaseIdle(source: string): boolean {
    for (const [session, facts] of this.#sessions) {
      if (facts.source !== source || streamCount(session) > 0 || session.closed) continue;
      retire(session);
      return true;
    }
    return false;
  }

  /** The one used last for as long as it has room, then the fullest that has: few sessions, so that those left over can go. */
  #sessionWithRoom(key: string): ClientHttp2Session | undefined {
    const alike = this.#byKey.get(key);
    if (alike === undefined || hasRoom(alike.last)) return alike?.last;
    let fullest: ClientHttp2Session | undefined;
    let most = -1;
    for (const session of alike.sessions) {
      const streams = streamCount(session);
      if (streams <= most || !hasRoom(session)) continue;
      fullest = session;
      most = streams;
    }
    if (fullest !== undefined) alike.last = fullest;
    return fullest;
  }

  forgetPeer(ip: string): void {
    for (const [session, facts] of this.#sessions) if (facts.peer.ip === ip) leave(session, facts);
  }

  forgetIdentity(identity: SpiffeId): void {
    for (const [session, facts] of this.#sessions) if (facts.sourceIdentity === identity) leave(session, facts);
  }

  revocationChanged(revocation: PeerRevocation): void {
    for (const [session, facts] of this.#sessions) {
      endIfRevoked(session, facts, revocation, 'source', this.#dependencies.logger);
    }
  }

  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    this.#agent.destroy();
    for (const session of this.#sessions.keys()) session.destroy();
  }

  /** A session whose peer sent its SETTINGS, before its first stream. */
  #adopt(session: ClientHttp2Session): void {
    const { clock, logger, options } = this.#dependencies;
    const { facts, key } = settleSession(session);
    this.#sessions.set(session, facts);
    const alike = this.#byKey.getOrInsertComputed(key, () => ({ sessions: new Set(), last: session }));
    alike.sessions.add(session);
    alike.last = session;
    session.setLocalWindowSize(options.connectionWindowBytes);
    limitStreams(session, options.maxStreamsPerClientSession);
    session.on('error', (error) => {
      logger.debug('HBONE session failed', { peer: formatSocketAddress(facts.peer), error: errorText(error) });
    });
    session.once('goaway', () => leave(session, facts));
    // The certificate was replaced during the handshake: good for those who waited, not for later ones.
    const current = this.#dependencies.secrets.current(facts.sourceIdentity);
    if (current?.generation !== facts.generation) setImmediate(() => leave(session, facts));
    // The lists were replaced between the handshake and now.
    const { revocation } = this.#dependencies;
    if (revocation !== undefined) endIfRevoked(session, facts, revocation, 'source', logger);
    const stopWatching = watchLiveness(session, clock, options, {
      isIdle: () => streamCount(session) === 0,
      idleReleaseMs: options.idleReleaseMs,
      onIdle: () => retire(session),
      onDead: () => logger.warn('HBONE ping timeout', { peer: formatSocketAddress(facts.peer) }),
    });
    const aged = facts.nested ? clock.after(options.nestedSessionMs, () => leave(session, facts)) : undefined;
    session.once('close', () => {
      stopWatching();
      aged?.cancel();
      this.#sessions.delete(session);
      alike.sessions.delete(session);
      if (alike.sessions.size === 0) this.#byKey.delete(key);
    });
  }
}

/** No new streams, and those who hold idle ones are told: the peer, or what vouched for the session, goes. */
function leave(session: ClientHttp2Session, facts: SessionFacts): void {
  retire(session);
  facts.leaving.cancel();
}
