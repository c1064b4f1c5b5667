/**
 * The outbound listener (15001): takes what pods send, waits for its source to be known, decides, and carries it out.
 * Nothing here looks into the bytes (seed-design.md R5, R11).
 */
import { errorText } from '../base/errors.ts';
import type { CapturedConnection, Join, RunningListener } from '../hbone/seam.ts';
import type { Workload } from '../mesh/model.ts';
import { listenSpec, outboundContext, type Place, soleWorkload, type ZtunnelServices } from './context.ts';
import { Hop, logDenied } from './hop.ts';
import type { HopParty } from './hop-facts.ts';
import { deliverLocally } from './local-delivery.ts';
import { decideOutbound, type OutboundDecision } from './outbound-decision.ts';
import { headerOf } from './tunnel-headers.ts';

/** Rejects when the listener cannot be made. */
export function startOutbound(services: ZtunnelServices, place: Place): Promise<RunningListener> {
  return services.relay.capture(
    listenSpec(services, place, 'outbound', services.settings.ports.outbound),
    outboundHandler(services, place),
    services.budgets.gate('outbound', soleWorkload(place)),
  );
}

/** What a place's own connections go through, however they came here. */
export function outboundHandler(services: ZtunnelServices, place: Place): (connection: CapturedConnection) => void {
  const outbound = new Outbound(services, place);
  return (connection) => outbound.accept(connection);
}

class Outbound {
  readonly #services: ZtunnelServices;
  readonly #place: Place;

  constructor(services: ZtunnelServices, place: Place) {
    this.#services = services;
    this.#place = place;
  }

  accept(connection: CapturedConnection): void {
    const { peer } = connection;
    const source = this.#place.sourceAt(peer.ip);
    if (source !== undefined) {
      this.#decide(connection, source);
      return;
    }
    const { waiter, settings } = this.#services;
    waiter
      .until(settings.unknownSourceWaitMs, () => this.#place.sourceAt(peer.ip))
      .then((found) => {
        if (!connection.gone) this.#decide(connection, found);
      })
      .catch((error: unknown) => this.#broken(connection, error));
  }

  #decide(connection: CapturedConnection, source: Workload | undefined): void {
    const full = this.#services.budgets.admit(source, 'outbound');
    if (full !== undefined) {
      this.#refuse(connection, full, undefined);
      return;
    }
    const decision = decideOutbound(
      { source, client: connection.peer, destination: connection.originalDestination },
      outboundContext(this.#services, this.#place),
    );
    this.#carryOut(connection, source, decision);
  }

  #carryOut(connection: CapturedConnection, source: Workload | undefined, decision: OutboundDecision): void {
    switch (decision.kind) {
      case 'refuse':
        this.#refuse(connection, decision.reason, decision.chain.hop);
        return;
      case 'resolve':
        this.#resolve(connection, source, decision);
        return;
      case 'plain':
      case 'passthrough': {
        const hop = this.#hop(connection, source, decision);
        this.#run(connection, source, hop, 'TCP', connection.dial(decision.destination, decision.socket, hop));
        return;
      }
      case 'waypoint':
      case 'tunnel': {
        const hop = this.#hop(connection, source, decision);
        this.#services.peers.used(decision.endpoint, decision.request.target.peer.ip);
        this.#run(connection, source, hop, 'HBONE', connection.tunnel(decision.request, hop));
        return;
      }
      case 'local': {
        const hop = this.#hop(connection, source, decision);
        deliverLocally(this.#services, connection, decision, hop, (join) =>
          this.#run(connection, source, hop, 'HBONE', join),
        ).catch((error: unknown) => this.#broken(connection, error));
        return;
      }
    }
  }

  #resolve(
    connection: CapturedConnection,
    source: Workload | undefined,
    decision: Extract<OutboundDecision, { kind: 'resolve' }>,
  ): void {
    this.#services
      .resolve(decision.hostname)
      .then((ip) => {
        if (connection.gone) return;
        if (ip !== undefined) this.#carryOut(connection, source, decision.resolved(ip));
        else this.#refuse(connection, `${decision.hostname} has no address`, decision.chain.hop);
      })
      .catch((error: unknown) => this.#broken(connection, error));
  }

  #run(
    connection: CapturedConnection,
    workload: Workload | undefined,
    hop: Hop,
    protocol: 'HBONE' | 'TCP',
    join: Join,
  ): void {
    hop.attach(join);
    const { originalDestination } = connection;
    this.#services.registry.add({ hop, join, workload, originalDestination, protocol, place: this.#place });
  }

  #hop(
    connection: CapturedConnection,
    source: Workload | undefined,
    decision: Exclude<OutboundDecision, { kind: 'refuse' | 'resolve' }>,
  ): Hop {
    const inClear = decision.kind === 'plain' || decision.kind === 'passthrough';
    const endpoint = decision.kind === 'passthrough' ? undefined : decision.endpoint;
    const destination: HopParty = inClear
      ? { address: decision.destination, workload: endpoint, identity: undefined }
      : { address: decision.request.target.peer, workload: endpoint, identity: endpoint?.identity };
    return new Hop(
      {
        direction: 'outbound',
        source: { address: connection.peer, workload: source, identity: inClear ? undefined : source?.identity },
        destination,
        authority: inClear ? undefined : decision.request.authority,
        traceparent: inClear ? undefined : headerOf(decision.request.headers, 'traceparent'),
        service: decision.service,
        hop: decision.chain.hop,
      },
      this.#services,
    );
  }

  #refuse(connection: CapturedConnection, reason: string, hop: string | undefined): void {
    const { accessLog } = this.#services;
    connection.refuse();
    logDenied(accessLog, 'outbound', connection.peer, connection.originalDestination, reason, hop);
  }

  /** A mistake of ours: it ends this connection alone. */
  #broken(connection: CapturedConnection, error: unknown): void {
    this.#services.logger.error('outbound connection failed inside', { error: errorText(error) });
    connection.refuse();
  }
}
