/**
 * http2-wrapper's Agent with the mesh's own idea of a connection: keyed by target, on a TLS socket that `client-tls.ts`
 * vouches for (see `session-carrier.ts`), within its source's limit.
 *
 * I1: who counts a session is told of its end, however it ends.
 */
import type { ClientHttp2Session, SecureClientSessionOptions } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { Agent } from 'http2-wrapper';
import type { PoolDependencies } from '../http2/engine.ts';
import type { TunnelTarget } from '../seam.ts';
import { openSessionCarrier, type SessionCarrier } from '../session-carrier.ts';
import type { SessionFacts } from '../session-facts.ts';

const carrierOfSocket = Symbol('session carrier');

interface PooledSocket extends TLSSocket {
  [carrierOfSocket]: SessionCarrier & { readonly key: string };
}

/** The Agent passes these through from `getSession` to `normalizeOptions` and `createConnection`. */
export interface TargetOptions extends SecureClientSessionOptions {
  readonly poolKey: string;
  readonly target: TunnelTarget;
}

/** Counts a session about to be opened; throws when its source has all it may. Call what it returns when that has ended. */
export type EnterSession = (target: TunnelTarget) => () => void;

export class MeshAgent extends Agent {
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
    const carrier = await openSessionCarrier(target, this.#dependencies);
    const { socket } = carrier;
    // The Agent would now check the certificate for DNS names. It was verified; show it a socket without one.
    Object.defineProperties(socket, {
      [carrierOfSocket]: { value: { ...carrier, key } },
      encrypted: { value: false },
      servername: { value: origin.hostname, writable: true },
      remotePort: { value: target.peer.port },
      getPeerX509Certificate: { value: undefined },
    });
    return socket;
  }
}

/** What is known of a session that the agent made. Its SETTINGS have come: there is no deadline any more. */
export function settleSession(session: ClientHttp2Session): { readonly facts: SessionFacts; readonly key: string } {
  const { [carrierOfSocket]: carrier } = session.socket as unknown as PooledSocket;
  carrier.settled();
  return carrier;
}
