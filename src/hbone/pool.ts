/**
 * The pool of HBONE client sessions, and the one door to http2-wrapper. Its Agent is the pool's core (single flight,
 * fullest session with room, another session at the peer's stream limit); what is wrong in it for a mesh is put right
 * here, see reference `node-ecosystem` §1.1.
 *
 * I1: a session is shared only by equal targets: source identity, source address, peer, expected ids, namespace, mark.
 * I2: bytes flow only on a socket that `client-tls.ts` vouches for; no TLS session is ever resumed.
 * I3: no new stream on a session after GOAWAY, `forgetPeer`, `forgetIdentity`, or its certificate's replacement.
 * I4: every wait has a deadline; dead peers are found by PING, idle sessions are released.
 *
 * A session behind a gateway runs in a tunnel of its own to that gateway (`carrier.ts`), which in turn comes from here.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type SecureClientSessionOptions,
} from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { Agent, type PromiseListeners } from 'http2-wrapper';
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { AmbitError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { PeerChain, PeerRevocation } from '../identity/revocation.ts';
import type { Secret, SecretStore } from '../identity/secret.ts';
import { type OpenOuter, openCarrier } from './carrier.ts';
import { watchLiveness } from './liveness.ts';
import { type RelayOptions, sessionMemoryMegabytes } from './options.ts';
import { abandoned, poolTimeout, sessionError, sessionGone, sessionLimit } from './pool-errors.ts';
import { endIfRevoked } from './revoked-sessions.ts';
import type { TunnelTarget } from './seam.ts';

/** What is known of a pooled session. */
export interface SessionFacts {
  readonly local: SocketAddress;
  readonly peer: SocketAddress;
  readonly sourceIdentity: SpiffeId;
  /** Whose it is; see `sourceOf`. */
  readonly source: string;
  /** Of our certificate. */
  readonly generation: number;
  readonly peerIdentity: SpiffeId;
  /** To look up in later revocation lists; undefined: nobody asked for them. */
  readonly peerChain: PeerChain | undefined;
  /** It runs inside a tunnel to `peer`, a gateway. */
  readonly nested: boolean;
}

export type StreamOutcome =
  | { readonly kind: 'stream'; readonly stream: ClientHttp2Stream; readonly facts: SessionFacts }
  | { readonly kind: 'failed'; readonly error: AmbitError };

export interface PoolDependencies {
  readonly secrets: SecretStore;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly options: RelayOptions;
  readonly revocation?: PeerRevocation | undefined;
  /** How a tunnel to a gateway is opened: through this pool again. */
  readonly openOuter: OpenOuter;
}

/** http2-wrapper's symbols, which its types leave out. */
const { kGracefullyClosing, kCurrentStreamCount } = Agent as unknown as {
  readonly kGracefullyClosing: symbol;
  readonly kCurrentStreamCount: symbol;
};

/** See `tunnel-end.ts` for the trailers. */
const streamOptions = { waitForTrailers: true, endStream: false } as const;

const factsOfSocket = Symbol('session facts');

interface PooledSocket extends TLSSocket {
  [factsOfSocket]: SessionFacts & { readonly key: string; readonly settled: () => void };
}

/** The Agent passes these through from `getSession` to `normalizeOptions` and `createConnection`. */
interface TargetOptions extends SecureClientSessionOptions {
  readonly poolKey: string;
  readonly target: TunnelTarget;
}

/** Counts a session about to be opened; throws when its source has all it may. Call what it returns when that has ended. */
type EnterSession = (target: TunnelTarget) => () => void;

export class SessionPool {
  readonly #agent: MeshAgent;
  readonly #dependencies: PoolDependencies;
  readonly #sessions = new Map<ClientHttp2Session, SessionFacts>();
  readonly #byKey = new Map<string, { readonly sessions: Set<ClientHttp2Session>; last: ClientHttp2Session }>();
  /** Sessions by whoever they are for, those being opened included. */
  readonly #bySource = new Map<string, number>();
  readonly #unsubscribe: () => void;
  /** Whose turn it is of the sessions behind a gateway. */
  #turn = 0;
  #closed = false;

  constructor(dependencies: PoolDependencies) {
    this.#dependencies = dependencies;
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

  /** A stream on a session that stands, without a wait; undefined: there is none with room. */
  requestNow(
    target: TunnelTarget,
    headers: readonly string[],
    owns: (stream: ClientHttp2Stream) => void,
  ): SessionFacts | undefined {
    const session = this.#sessionWithRoom(this.#keyInTurn(target));
    if (session === undefined) return undefined;
    if (target.outer !== undefined) this.#turn++;
    let stream: ClientHttp2Stream;
    try {
      // The Agent put its own `request` on the session, which counts the stream as those that waited.
      stream = session.request(headers, streamOptions);
    } catch {
      // `request` will say why, or find another session.
      return undefined;
    }
    owns(stream);
    return this.#sessions.get(session);
  }

  /**
   * A stream with `headers` sent, once a session stands. Never rejects. `owns` is called in the same tick in which the stream came to be, to put
   * its listeners in place. `cancellation` gives up waiting for a session.
   */
  request(
    target: TunnelTarget,
    headers: readonly string[],
    owns: (stream: ClientHttp2Stream) => void,
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
            owns(stream);
            settle({ kind: 'stream', stream, facts });
          } catch (error) {
            fail(sessionGone(target, error));
          }
        },
        reject: (error: Error) => fail(sessionError(target, error)),
      };
      const { ip, port } = target.peer;
      const origin = `https://${ip.includes(':') ? `[${ip}]` : ip}:${port}`;
      const key = this.#keyInTurn(target);
      if (target.outer !== undefined) this.#turn++;
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
    const held = this.#bySource.get(source) ?? 0;
    if (held >= this.#dependencies.options.maxClientSessionsPerSource && !this.#releaseIdle(source)) {
      throw sessionLimit(target, held);
    }
    this.#bySource.set(source, held + 1);
    return () => {
      const left = (this.#bySource.get(source) ?? 1) - 1;
      if (left === 0) this.#bySource.delete(source);
      else this.#bySource.set(source, left);
    };
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

  /** Sessions behind a gateway stand side by side under keys of their own. */
  #keyInTurn(target: TunnelTarget): string {
    const key = poolKey(target);
    return target.outer === undefined ? key : `${key}|${this.#turn % this.#dependencies.options.nestedSessions}`;
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
    for (const [session, facts] of this.#sessions) if (facts.peer.ip === ip) retire(session);
  }

  forgetIdentity(identity: SpiffeId): void {
    for (const [session, facts] of this.#sessions) if (facts.sourceIdentity === identity) retire(session);
  }

  /** Ends the sessions with peers that the lists in force now name. */
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
    const { [factsOfSocket]: facts } = session.socket as unknown as PooledSocket;
    facts.settled();
    this.#sessions.set(session, facts);
    const alike = this.#byKey.getOrInsertComputed(facts.key, () => ({ sessions: new Set(), last: session }));
    alike.sessions.add(session);
    alike.last = session;
    session.setLocalWindowSize(options.connectionWindowBytes);
    limitStreams(session, options.maxStreamsPerClientSession);
    session.on('error', (error) => {
      logger.debug('HBONE session failed', { peer: formatSocketAddress(facts.peer), error: errorText(error) });
    });
    session.once('goaway', () => retire(session));
    // The certificate was replaced during the handshake: good for those who waited, not for later ones.
    const current = this.#dependencies.secrets.current(facts.sourceIdentity);
    if (current?.generation !== facts.generation) setImmediate(() => retire(session));
    // The lists were replaced between the handshake and now.
    const { revocation } = this.#dependencies;
    if (revocation !== undefined) endIfRevoked(session, facts, revocation, 'source', logger);
    const stopWatching = watchLiveness(session, clock, options, {
      isIdle: () => streamCount(session) === 0,
      idleReleaseMs: options.idleReleaseMs,
      onIdle: () => retire(session),
      onDead: () => logger.warn('HBONE ping timeout', { peer: formatSocketAddress(facts.peer) }),
    });
    const aged = facts.nested ? clock.after(options.nestedSessionMs, () => retire(session)) : undefined;
    session.once('close', () => {
      stopWatching();
      aged?.cancel();
      this.#sessions.delete(session);
      alike.sessions.delete(session);
      if (alike.sessions.size === 0) this.#byKey.delete(facts.key);
    });
  }
}

class MeshAgent extends Agent {
  readonly #dependencies: PoolDependencies;
  readonly #enter: EnterSession;

  constructor(dependencies: PoolDependencies, enter: EnterSession) {
    const { maxClientSessions } = dependencies.options;
    super({ maxSessions: maxClientSessions, maxEmptySessions: maxClientSessions, maxCachedTlsSessions: 1 });
    this.#dependencies = dependencies;
    this.#enter = enter;
    this.settings = {
      enablePush: false,
      initialWindowSize: dependencies.options.streamWindowBytes,
      maxFrameSize: dependencies.options.maxFrameBytes,
      maxHeaderListSize: dependencies.options.clientHeaderListBytes,
    };
  }

  /** The Agent's own key leaves out the secure context, and so would mix identities. */
  override normalizeOptions(options: unknown): string {
    return (options as TargetOptions).poolKey;
  }

  override async createConnection(origin: URL, options: SecureClientSessionOptions): Promise<TLSSocket> {
    const leave = this.#enter((options as TargetOptions).target);
    try {
      const socket = await this.#connect(origin, options as TargetOptions);
      socket.once('close', leave);
      return socket;
    } catch (error) {
      leave();
      throw error;
    }
  }

  async #connect(origin: URL, { target, poolKey: key }: TargetOptions): Promise<TLSSocket> {
    const { clock, options: limits } = this.#dependencies;
    const secret = await this.#secretOf(target.sourceIdentity);
    const { socket, peerIdentity, peerChain, local } = await openCarrier(target, secret, this.#dependencies);
    const settings = clock.after(limits.handshakeTimeoutMs, () => socket.destroy());
    socket.once('close', () => settings.cancel());
    const facts: PooledSocket[typeof factsOfSocket] = {
      key,
      local,
      peer: target.peer,
      sourceIdentity: target.sourceIdentity,
      source: sourceOf(target),
      generation: secret.generation,
      peerIdentity,
      peerChain,
      nested: target.outer !== undefined,
      settled: () => settings.cancel(),
    };
    // The Agent would now check the certificate for DNS names. It was verified; show it a socket without one.
    Object.defineProperties(socket, {
      [factsOfSocket]: { value: facts },
      encrypted: { value: false },
      servername: { value: origin.hostname, writable: true },
      remotePort: { value: target.peer.port },
      getPeerX509Certificate: { value: undefined },
    });
    return socket;
  }

  async #secretOf(identity: SpiffeId): Promise<Secret> {
    const { secrets } = this.#dependencies;
    const current = secrets.current(identity);
    if (current !== undefined) return current;
    const state = await secrets.acquire(identity);
    if (state.kind === 'available') return state.secret;
    throw new AmbitError(`no certificate for ${identity}: ${state.reason}`, {
      code: 'HBONE_NO_CERTIFICATE',
      origin: 'local',
      retry: 'unsent',
      flag: 'IDENTITY_ERROR',
    });
  }
}

/** Until then a session stands, or the reason why it does not is known. */
function longestWaitMs(target: TunnelTarget, options: RelayOptions): number {
  const oneSession = target.socket.connectTimeoutMs + 2 * options.handshakeTimeoutMs + 1000;
  if (target.outer === undefined) return oneSession;
  return oneSession + options.connectAnswerTimeoutMs + 2 * options.handshakeTimeoutMs;
}

/** Every field that makes targets differ. The parts cannot hold the separator, but for headers, which come last. */
export function poolKey(target: TunnelTarget): string {
  const { peer, socket, outer } = target;
  const key = [
    target.sourceIdentity,
    socket.source ?? '',
    socket.transparent ? 't' : '',
    socket.mark ?? '',
    socket.namespace?.key ?? '',
    formatSocketAddress(peer),
    identitiesKey(target.expectedIdentities),
  ].join('|');
  if (outer === undefined) return key;
  return [key, identitiesKey(outer.expectedIdentities), outer.authority, JSON.stringify(outer.headers)].join('|');
}

function identitiesKey(identities: readonly SpiffeId[]): string {
  return identities.length === 1 ? (identities[0] as string) : identities.toSorted().join(',');
}

/** The pod a session is for: by its namespace, else its address, else (on the node's own address) its identity. */
function sourceOf({ socket, sourceIdentity }: TunnelTarget): string {
  return socket.namespace?.key ?? socket.source ?? sourceIdentity;
}

function streamCount(session: ClientHttp2Session): number {
  return Reflect.get(session, kCurrentStreamCount) as number;
}

function hasRoom(session: ClientHttp2Session): boolean {
  if (session.closed || session.destroyed || Reflect.get(session, kGracefullyClosing)) return false;
  return streamCount(session) < (session.remoteSettings.maxConcurrentStreams ?? 0);
}

/** No new streams; ends by itself with its last one. */
function retire(session: ClientHttp2Session): void {
  Reflect.set(session, kGracefullyClosing, true);
  if (streamCount(session) === 0 && !session.closed && !session.destroyed) session.close();
}

/**
 * Shows the Agent a stream limit of ours below the peer's. A peer that allows none is shown as one that allows one: the
 * stream then waits for its deadline, instead of the Agent opening session after session.
 */
function limitStreams(session: ClientHttp2Session, most: number): void {
  const prototype = Object.getPrototypeOf(session) as ClientHttp2Session;
  const read = () => Reflect.get(prototype, 'remoteSettings', session) as ClientHttp2Session['remoteSettings'];
  let real: ClientHttp2Session['remoteSettings'] | undefined;
  let shown: ClientHttp2Session['remoteSettings'];
  Object.defineProperty(session, 'remoteSettings', {
    // Asked several times for each stream; Node keeps one object for as long as the settings stay.
    get: () => {
      const settings = read();
      if (settings !== real) {
        const allowed = settings.maxConcurrentStreams ?? most;
        shown = { ...settings, maxConcurrentStreams: Math.max(1, Math.min(most, allowed)) };
        real = settings;
      }
      return shown;
    },
  });
}

/** HTTP/2 codes that promise that the peer did not process the stream (RFC 9113 §8.7). */
export function wasNotProcessed(stream: ClientHttp2Stream): boolean {
  return stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
}
