/**
 * First stage: a CONNECT becomes a tunnel of this waypoint or is refused (R21–R25). The client's identity and address
 * are captured here and nowhere else; then the tunnel's protocol is told and its chain entered.
 */
import type { Duplex } from 'node:stream';
import { Members } from '../base/members.ts';
import type { ConnectRequest, ConnectVerdict } from '../hbone/seam.ts';
import type { ServedConnection } from '../http/exchange.ts';
import { asksServerName } from '../route/match-stream.ts';
import { type Destination, decideAuthority } from './authority.ts';
import { policiesAskServerName } from './authorize.ts';
import { allPhases, askAboutConnection } from './connection-extensions.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { serveHttpChain } from './http-chain.ts';
import { declaredKind } from './protocol.ts';
import { sniff, sniffServerName } from './sniff.ts';
import { serveTcpChain, streamRoutes } from './tcp-chain.ts';

/** From telling clients to go elsewhere to ending what is idle: what they had sent by then is still served. */
const noticeMs = 1000;

/** Tunnels that are open, per client identity for its budget, and as a whole for draining. */
export class Tunnels {
  readonly #services: WaypointServices;
  readonly #perIdentity = new Map<string, number>();
  readonly #http = new Members<ServedConnection>();
  #emptyWaiters: (() => void)[] = [];
  #draining = false;
  #open = 0;

  constructor(services: WaypointServices) {
    this.#services = services;
  }

  get open(): number {
    return this.#open;
  }

  /** The verdict on a CONNECT. */
  accept(request: ConnectRequest): ConnectVerdict {
    const { mesh, settings, clock, logger, accessLog } = this.#services;
    const decision = decideAuthority(mesh, this.#services.own(), settings.network, request.authority);
    const refuse = (status: number, reason: string): ConnectVerdict => {
      logger.debug('refused a tunnel', { authority: request.authority, reason, peer: request.peerIdentity });
      accessLog.write('denied', [
        ['stage', this.#services.names.terminate],
        ['method', 'CONNECT'],
        ['authority', request.authority],
        ['response_code', status],
        ['response_flags', 'NR'],
        ['response_code_details', reason],
        ['source_principal', request.peerIdentity],
        ['downstream_remote_address', `${request.peer.ip}:${request.peer.port}`],
      ]);
      return { kind: 'refuse', status, headers: [] };
    };
    if (decision.kind === 'refused') return refuse(decision.status, decision.reason);
    const used = this.#perIdentity.get(request.peerIdentity) ?? 0;
    if (used >= settings.maxTunnelsPerIdentity) return refuse(503, 'too many tunnels of this identity');
    const admitted = this.#services.admission.tunnel(request.peerIdentity);
    if (admitted.kind === 'refuse') return refuse(503, `overload{${admitted.reason}}`);
    const tunnel: Tunnel = {
      destination: decision,
      authority: request.authority,
      clientIdentity: request.peerIdentity,
      client: request.peer,
      local: request.local,
      localIdentity: request.localIdentity,
      clientWorkload: mesh.workloadByAddress(settings.network, request.peer.ip),
      openedMs: clock.nowMs(),
      traceparent: request.header('traceparent'),
    };
    return { kind: 'bytes', headers: [], receive: (stream) => this.#receive(tunnel, stream) };
  }

  /** Clients are told to go elsewhere; a moment later connections end as soon as what is under way in them has. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#leave(this.#http.all());
  }

  /** Resolves when no tunnel is open. */
  empty(): Promise<void> {
    if (this.#open === 0) return Promise.resolve();
    return new Promise((resolve) => this.#emptyWaiters.push(resolve));
  }

  #receive(tunnel: Tunnel, stream: Duplex): void {
    const identity = tunnel.clientIdentity;
    const { admission } = this.#services;
    this.#open++;
    admission.tunnelBegan(identity);
    this.#perIdentity.set(identity, (this.#perIdentity.get(identity) ?? 0) + 1);
    stream.on('error', ignore);
    stream.once('close', () => {
      this.#open--;
      admission.tunnelEnded(identity);
      const left = (this.#perIdentity.get(identity) ?? 1) - 1;
      if (left > 0) this.#perIdentity.set(identity, left);
      else this.#perIdentity.delete(identity);
      if (this.#open === 0) for (const waiter of this.#emptyWaiters.splice(0)) waiter();
    });
    this.#enter(tunnel, stream).catch((error: unknown) => {
      this.#services.logger.error('internal error in one tunnel', { error: String((error as Error).stack ?? error) });
      stream.destroy(new Error('internal error'));
    });
  }

  async #enter(tunnel: Tunnel, stream: Duplex): Promise<void> {
    const { clock, settings } = this.#services;
    const declared = declaredProtocol(tunnel.destination);
    if (declared === 'tcp') return await this.#enterTcp(tunnel, stream);
    const found = await sniff(stream, clock, declared === 'http' ? undefined : settings.sniffTimeoutMs);
    if (found === undefined) {
      stream.destroy();
      return;
    }
    if (found === 'other' && declared === 'unknown') return await this.#enterTcp(tunnel, stream);
    const closed = await askAboutConnection(this.#services, tunnel, 'http', allPhases);
    if (closed !== undefined || stream.destroyed) {
      if (closed !== undefined) this.#logClosed(tunnel, closed);
      stream.destroy();
      return;
    }
    // On a port declared HTTP the parser answers what is none.
    const connection = serveHttpChain(this.#services, tunnel, stream, found === 'http2' ? '2' : '1.1');
    const member = this.#http.add(connection);
    stream.once('close', () => this.#http.remove(member));
    if (this.#draining) this.#leave([connection]);
  }

  #leave(connections: readonly ServedConnection[]): void {
    for (const connection of connections) connection.drain();
    this.#services.clock.after(noticeMs, () => {
      for (const connection of connections) connection.finish();
    });
  }

  #logClosed(tunnel: Tunnel, reason: string): void {
    this.#services.accessLog.write('denied', [
      ['stage', this.#services.names.terminate],
      ['authority', tunnel.authority],
      ['response_flags', 'RBAC'],
      ['response_code_details', reason],
      ['source_principal', tunnel.clientIdentity],
      ['downstream_remote_address', `${tunnel.client.ip}:${tunnel.client.port}`],
    ]);
  }

  /** Where the connection goes is then told by its server name alone. */
  #isWildcard({ destination }: Tunnel): boolean {
    if (destination.kind !== 'service') return false;
    return this.#services.model().egress.get(destination.service.key)?.resolution === 'dynamic-dns';
  }

  /** Where routes or policies ask for a server name the client's hello is waited for; who is silent, or speaks no TLS, has none. */
  async #enterTcp(tunnel: Tunnel, stream: Duplex): Promise<void> {
    const { clock, settings } = this.#services;
    let serverName: string | undefined;
    const routed = asksServerName(streamRoutes(this.#services, tunnel)) || this.#isWildcard(tunnel);
    if (routed || policiesAskServerName(this.#services, tunnel)) {
      const hello = await sniffServerName(stream, clock, settings.sniffTimeoutMs);
      if (hello === undefined) {
        stream.destroy();
        return;
      }
      if (hello.kind === 'hello') serverName = hello.serverName;
    }
    await serveTcpChain(this.#services, tunnel, stream, serverName);
  }
}

/** Of a pod's own port nobody declares the protocol. */
function declaredProtocol(destination: Destination): 'http' | 'tcp' | 'unknown' {
  return destination.kind === 'service' ? declaredKind(destination.port.appProtocol) : 'unknown';
}

function ignore(): void {}
