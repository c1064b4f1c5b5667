/**
 * http2-wrapper's Agent with the mesh's own idea of a connection: keyed by target, on a TLS socket that `client-tls.ts`
 * vouches for, within its source's limit.
 *
 * I1: bytes flow only on a socket that was verified against the expected ids; no TLS session is ever resumed.
 * I2: a handshake has a deadline up to the peer's SETTINGS; who counts a session is told of its end, however it ends.
 */
import type { ClientHttp2Session, SecureClientSessionOptions } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { Agent } from 'http2-wrapper';
import type { SocketAddress } from '../base/address.ts';
import { Cancellation } from '../base/cancellation.ts';
import { AmbitError } from '../base/errors.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { PeerChain } from '../identity/revocation.ts';
import type { Secret, SecretStore } from '../identity/secret.ts';
import { type CarrierDependencies, openCarrier } from './carrier.ts';
import { sourceOf } from './pool-key.ts';
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
  /** Cancelled once the session takes no new streams: those who hold idle ones may let them go. */
  readonly leaving: Cancellation;
}

const factsOfSocket = Symbol('session facts');

interface PooledSocket extends TLSSocket {
  [factsOfSocket]: SessionFacts & { readonly key: string; readonly settled: () => void };
}

/** The Agent passes these through from `getSession` to `normalizeOptions` and `createConnection`. */
export interface TargetOptions extends SecureClientSessionOptions {
  readonly poolKey: string;
  readonly target: TunnelTarget;
}

/** Counts a session about to be opened; throws when its source has all it may. Call what it returns when that has ended. */
export type EnterSession = (target: TunnelTarget) => () => void;

export interface MeshAgentDependencies extends CarrierDependencies {
  readonly secrets: SecretStore;
}

export class MeshAgent extends Agent {
  readonly #dependencies: MeshAgentDependencies;
  readonly #enter: EnterSession;

  constructor(dependencies: MeshAgentDependencies, enter: EnterSession) {
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
      leaving: new Cancellation(),
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

/** What is known of a session that the agent made. Its SETTINGS have come: there is no deadline any more. */
export function settleSession(session: ClientHttp2Session): SessionFacts & { readonly key: string } {
  const { [factsOfSocket]: facts } = session.socket as unknown as PooledSocket;
  facts.settled();
  return facts;
}
