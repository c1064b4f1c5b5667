/**
 * What arriving tunnels have in common, over the network or in process: patience with policies under way, who the source
 * is, the hop's record, and deciding again later.
 */
import { canonicalIp, splitHostPort } from '../base/address.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { Service, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { PolicyOutcome } from './authorization.ts';
import type { ConnectionRegistry, Recheck } from './connection-registry.ts';
import type { ZtunnelServices } from './context.ts';
import type { DecisionWaiter } from './decision-waiter.ts';
import { Hop, logDenied } from './hop.ts';
import type { InboundDecision, InboundEvent } from './inbound-decision.ts';
import type { PeerNames } from './peer-names.ts';
import type { PolicySubject } from './policy-report.ts';

interface Waiting {
  readonly kind: 'wait';
  readonly forMs: number;
}

/** A decision that is made again when things change, and the state of the mesh it was last made on. */
export class Repeatable<T> {
  readonly #decide: () => T;
  readonly #registry: Pick<ConnectionRegistry, 'changes'>;
  /** `registry.changes` of that moment. */
  at = -1;

  constructor(registry: Pick<ConnectionRegistry, 'changes'>, decide: () => T) {
    this.#registry = registry;
    this.#decide = decide;
  }

  readonly make = (): T => {
    this.at = this.#registry.changes;
    return this.#decide();
  };
}

/** Decides; while the answer is to wait, after each change again. Undefined: it could not be decided in time. */
export function settle<T extends { readonly kind: string }>(
  decide: () => T | Waiting,
  waiter: DecisionWaiter,
  owner: object | undefined,
): T | Promise<T | undefined> {
  const first = decide();
  if (!isWaiting(first)) return first;
  const again = () => {
    const next = decide();
    return isWaiting(next) ? undefined : next;
  };
  return waiter.until(first.forMs, again, owner);
}

interface Decided {
  readonly kind: string;
  readonly reason: string;
  readonly outcome: PolicyOutcome | undefined;
}

/** A decision made again for a live connection. One that ends it is reported like the first. */
export function recheck(
  decide: () => Decided | Waiting,
  services: Pick<ZtunnelServices, 'policyReport'>,
  subject: PolicySubject,
): Recheck {
  const again = decide();
  if (isWaiting(again)) return { kind: 'later', inMs: again.forMs };
  if (again.kind !== 'refuse') return { kind: 'keep' };
  if (again.outcome !== undefined) services.policyReport.decided(again.outcome, subject);
  return { kind: 'stop', reason: again.reason };
}

export function subjectOf(event: InboundEvent): PolicySubject {
  return { source: event.peer, destination: event.local, identity: event.peerIdentity };
}

/**
 * The workload behind a peer, for logs and metrics. An address, from the socket or from `forwarded`, counts only when
 * the workload that has it owns the identity the peer has proven.
 */
function sourceWorkload(
  mesh: MeshView,
  network: string,
  identity: SpiffeId,
  peerIp: string,
  forwarded: string | undefined,
): Workload | undefined {
  for (const ip of [peerIp, forwardedFor(forwarded)]) {
    const workload = ip === undefined ? undefined : mesh.workloadByAddress(network, ip);
    if (workload?.identity === identity) return workload;
  }
  return undefined;
}

export interface Arrival {
  readonly event: InboundEvent;
  readonly source: Workload | undefined;
  /** Of a source on another network, which the mesh here has no record of. */
  readonly names?: PeerNames | undefined;
  readonly forwarded: string | undefined;
  readonly traceparent: string | undefined;
}

/** Who calls, as far as logs and metrics are concerned. */
export function arrivalOf(
  services: ZtunnelServices,
  event: InboundEvent,
  workload: Workload | undefined,
  header: (name: string) => string | undefined,
): Arrival {
  const { mesh, settings } = services;
  const network = workload?.network ?? settings.network;
  const forwarded = header('forwarded');
  const traceparent = header('traceparent');
  const from = header('x-forwarded-network');
  if (from === undefined || from.toLowerCase() === network.toLowerCase()) {
    const source = sourceWorkload(mesh, network, event.peerIdentity, event.peer.ip, forwarded);
    return { event, source, forwarded, traceparent };
  }
  // It came through a gateway: its addresses mean something else here.
  const names = services.believedNames.of(header('baggage'), event.peerIdentity);
  return { event, source: undefined, names, forwarded, traceparent };
}

/** The record of an arrival whose workload is known, from before anything is dialled. */
export function inboundHop(services: ZtunnelServices, arrival: Arrival, workload: Workload, meant?: Service): Hop {
  const { event, source, forwarded, traceparent } = arrival;
  const { mesh, names } = services;
  return new Hop(
    {
      direction: 'inbound',
      source: { address: event.peer, workload: source, identity: event.peerIdentity, names: arrival.names },
      destination: { address: event.local, workload, identity: workload.identity },
      authority: event.authority,
      traceparent,
      service: serviceOf(mesh, workload, event.authority, forwarded) ?? meant,
      hop: names.inboundHop,
    },
    services,
  );
}

/** Logs a refusal: with everything known when policy decided, else as what never became a connection. */
export function recordRefusal(
  services: ZtunnelServices,
  arrival: Arrival,
  decision: Extract<InboundDecision, { kind: 'refuse' }>,
): void {
  const { event } = arrival;
  if (decision.outcome !== undefined) services.policyReport.decided(decision.outcome, subjectOf(event));
  if (decision.emptyMatchOf !== undefined) services.emptyMatches.warn(decision.emptyMatchOf);
  if (decision.flag === 'DENY' && decision.workload !== undefined) {
    inboundHop(services, arrival, decision.workload).refused(policyRejection(decision.reason), 'DENY');
  } else {
    logDenied(services.accessLog, 'inbound', event.peer, event.local, decision.reason, services.names.inboundHop);
  }
}

export function policyRejection(reason: string): string {
  return `connection closed due to policy rejection: ${reason}`;
}

/** The host the client addressed when it is one of the workload's services, else the first that uses the port. */
function serviceOf(mesh: MeshView, workload: Workload, authority: string, forwarded: string | undefined) {
  const host = forwarded === undefined ? undefined : /;\s*host="?([^";,]+)"?/.exec(forwarded)?.[1];
  const target = splitHostPort(authority);
  for (const key of workload.services.keys()) {
    const service = mesh.service(key);
    if (service !== undefined && (service.hostname === host || service.hostname === target?.host)) return service;
  }
  return target === undefined ? undefined : serviceOfPort(mesh, workload, target.port);
}

/** The first of the workload's services that sends its traffic to the port: a guess, for logs and metrics. */
export function serviceOfPort(mesh: MeshView, workload: Workload, port: number): Service | undefined {
  for (const [key, ports] of workload.services) {
    for (const target of ports.values()) if (target === port) return mesh.service(key);
  }
  return undefined;
}

function forwardedFor(forwarded: string | undefined): string | undefined {
  const value = forwarded === undefined ? undefined : /^\s*for="?([^";,]+)"?/.exec(forwarded)?.[1];
  return value === undefined ? undefined : canonicalIp(splitHostPort(value)?.host ?? value);
}

function isWaiting(decision: { readonly kind: string }): decision is Waiting {
  return decision.kind === 'wait';
}
