/**
 * The outbound listener (15001): takes what pods send, waits for its source to be known, decides, and carries it out.
 * Nothing here looks into the bytes (seed-design.md R5, R11).
 *
 * I1: a connection that could not reach the endpoint chosen for it may go to another, as long as nothing was sent; each
 *     attempt is a hop of its own in logs and metrics. It never goes from a tunnel to an endpoint in clear.
 */
import { ipFamily, type SocketAddress } from '../base/address.ts';
import { type AmbitError, errorText } from '../base/errors.ts';
import type { Attempt, CapturedConnection, Join, Otherwise, RunningListener } from '../hbone/seam.ts';
import type { Workload } from '../mesh/model.ts';
import { listenSpec, outboundContext, type Place, shareOf, soleWorkload, type ZtunnelServices } from './context.ts';
import { Hop, logDenied } from './hop.ts';
import type { HopParty } from './hop-facts.ts';
import { deliverLocally } from './local-delivery.ts';
import type { DemandWaits } from './on-demand-wait.ts';
import { decideOutbound, type OutboundDecision } from './outbound-decision.ts';
import { headerOf } from './tunnel-headers.ts';

/** Rejects when the listener cannot be made. */
export function startOutbound(services: ZtunnelServices, place: Place): Promise<RunningListener> {
  const { ports } = services.settings;
  const handle = outboundHandler(services, place);
  const accept = (connection: CapturedConnection) => {
    const { originalDestination: destination, local } = connection;
    // Somebody called the listener itself, past any redirection: what follows would come back here for ever.
    const direct = destination.port === ports.outbound && destination.ip === local.ip && local.port === ports.outbound;
    if (!direct || services.preset.originalDestination !== 'redirect') {
      handle(connection);
      return;
    }
    connection.refuse();
    logDenied(services.accessLog, 'outbound', connection.peer, destination, 'destination is this listener itself');
  };
  return services.relay.capture(
    listenSpec(services, place, 'outbound', ports.outbound),
    accept,
    services.budgets.gate('outbound', soleWorkload(place)),
  );
}

/**
 * What a place's own connections go through, however they came here: from decision to end. Total; each is joined or
 * refused, once its source is known.
 */
export function outboundHandler(services: ZtunnelServices, place: Place): (connection: CapturedConnection) => void {
  return (connection) => new Outbound(services, place, connection).start();
}

/** Decisions that lead to an upstream outside of this process. */
type Leaving = Exclude<OutboundDecision, { readonly kind: 'refuse' | 'resolve' | 'local' }>;

class Outbound {
  readonly #services: ZtunnelServices;
  readonly #place: Place;
  readonly #connection: CapturedConnection;
  readonly #destination: SocketAddress;
  #source: Workload | undefined;
  #join: Join | undefined;
  /** Endpoints that could not be reached. */
  #tried: Set<string> | undefined;

  constructor(services: ZtunnelServices, place: Place, connection: CapturedConnection) {
    this.#services = services;
    this.#place = place;
    this.#connection = connection;
    this.#destination = connection.originalDestination;
  }

  start(): void {
    const { peer } = this.#connection;
    const source = this.#place.sourceAt(peer.ip);
    if (source !== undefined) {
      this.#decide(source);
      return;
    }
    const { waiter, settings } = this.#services;
    waiter
      .until(settings.unknownSourceWaitMs, () => this.#place.sourceAt(peer.ip), shareOf(this.#place))
      .then((found) => {
        if (!this.#connection.gone) this.#decide(found);
      })
      .catch((error: unknown) => this.#broken(error));
  }

  #decide(source: Workload | undefined): void {
    this.#source = source;
    const full = this.#services.budgets.admit(source, 'outbound');
    if (full !== undefined) {
      this.#refuse(full, undefined);
      return;
    }
    const { demandWaits } = this.#services;
    if (demandWaits === undefined || source === undefined) this.#carryOut(this.#decision());
    else this.#whenAnswered(demandWaits, source);
  }

  /** On demand: what is not known yet may be anything, so nothing is decided before it was asked for. */
  #whenAnswered(waits: DemandWaits, source: Workload): void {
    waits
      .until(this.#services.settings.unknownSourceWaitMs, source, this.#destination.ip)
      .then((refusal) => {
        if (this.#connection.gone) return;
        if (refusal === undefined) this.#carryOut(this.#decision());
        else this.#refuse(refusal, undefined);
      })
      .catch((error: unknown) => this.#broken(error));
  }

  #decision(): OutboundDecision {
    const event = { source: this.#source, client: this.#connection.peer, destination: this.#destination };
    return decideOutbound(
      this.#tried === undefined ? event : { ...event, tried: this.#tried },
      outboundContext(this.#services, this.#place),
    );
  }

  #carryOut(decision: OutboundDecision): void {
    switch (decision.kind) {
      case 'refuse':
        this.#refuse(decision.reason, decision.chain.hop);
        return;
      case 'resolve':
        this.#resolve(decision);
        return;
      case 'local': {
        const hop = this.#hop(decision);
        deliverLocally(this.#services, this.#connection, decision, hop, (join) =>
          this.#register(hop, join, 'HBONE'),
        ).catch((error: unknown) => this.#broken(error));
        return;
      }
      default: {
        const hop = this.#hop(decision);
        this.#join = this.#leave(decision, hop);
        this.#record(decision, hop, this.#join);
      }
    }
  }

  #leave(decision: Leaving, hop: Hop): Join {
    const { settings } = this.#services;
    const another = decision.chosen !== undefined && settings.endpointRetries > 0;
    const otherwise = another ? this.#otherwise(decision, hop) : undefined;
    return 'request' in decision
      ? this.#connection.tunnel(decision.request, hop, otherwise)
      : this.#connection.dial(decision.destination, decision.socket, hop, undefined, otherwise);
  }

  /** Other endpoints, as often as the settings allow, when one could not be reached. */
  #otherwise(first: Leaving, firstHop: Hop): Otherwise {
    let current = first;
    let hop = firstHop;
    return (error) => {
      const next = this.#another(current, error);
      if (next === undefined || this.#join === undefined) return undefined;
      this.#services.endpointRetries.value++;
      hop.refused(`${error.message}; another endpoint is tried`, error.flag);
      current = next;
      hop = this.#hop(next);
      this.#record(next, hop, this.#join);
      return attemptOf(next, hop);
    };
  }

  #another(decision: Leaving, error: AmbitError): Leaving | undefined {
    const unreachable = error.origin === 'upstream' && (error.flag === 'CONNECT' || error.flag === 'NETWORK_POLICY');
    if (!unreachable || decision.chosen === undefined) return undefined;
    this.#tried ??= new Set();
    if (this.#tried.size >= this.#services.settings.endpointRetries) return undefined;
    this.#tried.add(decision.chosen);
    const next = this.#decision();
    if (next.kind === 'refuse' || next.kind === 'resolve' || next.kind === 'local') return undefined;
    // Whoever can keep packets from a tunnel's port must not thereby have the bytes in clear.
    return 'request' in decision && !('request' in next) ? undefined : next;
  }

  #resolve(decision: Extract<OutboundDecision, { kind: 'resolve' }>): void {
    this.#services
      .resolve(decision.hostname, ipFamily(this.#destination.ip), this.#source)
      .then((ip) => {
        if (this.#connection.gone) return;
        if (ip !== undefined) this.#carryOut(decision.resolved(ip));
        else this.#refuse(`${decision.hostname} has no address`, decision.chain.hop);
      })
      .catch((error: unknown) => this.#broken(error));
  }

  #record(decision: Leaving, hop: Hop, join: Join): void {
    const { peers } = this.#services;
    if ('request' in decision) peers.used(decision.endpoint, decision.request.target.peer.ip);
    this.#register(hop, join, 'request' in decision ? 'HBONE' : 'TCP');
  }

  #register(hop: Hop, join: Join, protocol: 'HBONE' | 'TCP'): void {
    hop.attach(join);
    const [workload, originalDestination, place] = [this.#source, this.#destination, this.#place];
    this.#services.registry.add({ hop, join, workload, originalDestination, protocol, place });
  }

  #hop(decision: Exclude<OutboundDecision, { kind: 'refuse' | 'resolve' }>): Hop {
    const inClear = decision.kind === 'plain' || decision.kind === 'passthrough';
    const endpoint = decision.kind === 'passthrough' ? undefined : decision.endpoint;
    const destination: HopParty = inClear
      ? { address: decision.destination, workload: endpoint, identity: undefined }
      : { address: decision.request.target.peer, workload: endpoint, identity: endpoint?.identity };
    return new Hop(
      {
        direction: 'outbound',
        source: {
          address: this.#connection.peer,
          workload: this.#source,
          identity: inClear ? undefined : this.#source?.identity,
        },
        destination,
        authority: inClear ? undefined : decision.request.authority,
        traceparent: inClear ? undefined : headerOf(decision.request.headers, 'traceparent'),
        service: decision.service,
        hop: decision.chain.hop,
        behindGateway: decision.kind === 'nested' ? this.#services.believedNames : undefined,
      },
      this.#services,
    );
  }

  #refuse(reason: string, hop: string | undefined): void {
    this.#connection.refuse();
    logDenied(this.#services.accessLog, 'outbound', this.#connection.peer, this.#destination, reason, hop);
  }

  /** A mistake of ours: it ends this connection alone. */
  #broken(error: unknown): void {
    this.#services.logger.error('outbound connection failed inside', { error: errorText(error) });
    this.#connection.refuse();
  }
}

function attemptOf(decision: Leaving, observer: Hop): Attempt {
  return 'request' in decision
    ? { kind: 'tunnel', request: decision.request, observer }
    : { kind: 'dial', destination: decision.destination, socket: decision.socket, observer };
}
