/**
 * What becomes of a captured connection: from the match (`matcher.ts`) to one endpoint and everything needed to reach
 * it. Pure but for the injected randomness; order and rules of ztunnel.md §3.3-§3.6 with the closed answers of design
 * §4 rule 1.
 *
 * I1: what has an HBONE endpoint or a waypoint is never sent in clear: the other answers are `local` and `refuse`.
 * I2: every answer names the object and field that decided.
 */
import { ipFamily } from '../base/address.ts';
import type { EndpointSelection } from '../mesh/endpoint-query.ts';
import type { GatewayAddress } from '../mesh/model.ts';
import { selectEndpoint } from '../mesh/select-endpoint.ts';
import { drawWaypoint, type GatewaySelection, selectGateway } from '../mesh/waypoint.ts';
import { objectText } from './chains.ts';
import type { Match } from './matcher.ts';
import { gatewayText } from './names.ts';
import type { Decided, OutboundContext, OutboundDecision, OutboundEvent } from './outbound-answer.ts';
import { identitiesOf, OutboundSteps } from './outbound-steps.ts';
import { outboundSocket } from './socket-rules.ts';

export type { OutboundContext, OutboundDecision, OutboundEvent } from './outbound-answer.ts';

export function decideOutbound(event: OutboundEvent, context: OutboundContext): OutboundDecision {
  const match = context.matcher.match(event.source, event.destination);
  const service = match.kind === 'pod' ? undefined : match.service;
  const decided: Decided = { chain: match.chain, reason: match.chain.reason, service };
  if (match.kind === 'blackhole') return refuse(decided, match.chain.reason);
  if (match.kind === 'passthrough') return passThrough(decided, event, context);
  // The matcher gives these chains to known sources only.
  if (event.source === undefined) return refuse(decided, 'source address is of no known workload');
  switch (match.kind) {
    case 'waypoint':
      return match.weighted.length === 0
        ? decideWaypoint(match.gateway, decided, event, context)
        : decideWeighted(match, decided, event, context);
    case 'service':
      return decideService(match, decided, event, context);
    case 'pod':
      return new OutboundSteps(event.source, event, context, decided).pod(
        match.workload,
        event.destination.ip,
        event.destination.port,
      );
  }
}

/**
 * One is drawn for each connection. One that cannot be reached makes way for the others that have a weight, and when none can
 * the answer is to refuse: never the service itself.
 */
function decideWeighted(
  { weighted }: Extract<Match, { kind: 'waypoint' }>,
  decided: Decided,
  event: OutboundEvent,
  context: OutboundContext,
): OutboundDecision {
  let unreachable: Set<number> | undefined;
  for (;;) {
    const at = drawWaypoint(weighted, context.random, unreachable);
    const drawn = weighted[at];
    if (drawn === undefined) return refuse(decided, `${decided.reason}: none of its weighted waypoints can be reached`);
    const decision = decideWaypoint(drawn.gateway, { ...decided, chain: drawn.chain }, event, context);
    if (decision.kind !== 'refuse' || unreachable?.size === weighted.length - 1) return decision;
    unreachable ??= new Set();
    unreachable.add(at);
  }
}

function decideWaypoint(
  gateway: GatewayAddress,
  decided: Decided,
  event: OutboundEvent,
  context: OutboundContext,
): OutboundDecision {
  const { source, destination, tried } = event;
  const selection: GatewaySelection = selectGateway(context.mesh, {
    gateway,
    source,
    random: context.random,
    preferFamily: ipFamily(destination.ip),
    ...(tried && { exclude: tried }),
  });
  if (selection.kind === 'none' || source === undefined) {
    const why = selection.kind === 'none' ? selection.reason : 'unknown source';
    return refuse(decided, `${decided.reason}: waypoint ${gatewayText(gateway)} cannot be reached: ${why}`);
  }
  const { endpoint, service } = selection;
  const chosen = service === undefined ? decided : { ...decided, chosen: endpoint.workload.uid };
  const steps = new OutboundSteps(source, event, context, chosen);
  switch (endpoint.kind) {
    case 'endpoint':
      return steps.waypoint(
        endpoint.workload,
        { ip: endpoint.ip, port: endpoint.port },
        identitiesOf(endpoint.workload, service),
      );
    case 'hostname':
      return steps.resolve(endpoint.hostname, (ip) =>
        steps.waypoint(endpoint.workload, { ip, port: endpoint.port }, identitiesOf(endpoint.workload, service)),
      );
    case 'remote':
      return steps.remote(endpoint, service?.subjectAltNames ?? []);
  }
}

function decideService(
  match: Extract<Match, { kind: 'service' }>,
  decided: Decided,
  event: OutboundEvent,
  context: OutboundContext,
): OutboundDecision {
  const { source, destination, tried } = event;
  const selection: EndpointSelection = selectEndpoint({
    service: match.service,
    endpoints: context.mesh.endpoints(match.service.key),
    servicePort: match.port.servicePort,
    source,
    preferFamily: ipFamily(destination.ip),
    resolution: 'service',
    random: context.random,
    ...(tried && { exclude: tried }),
  });
  if (selection.kind === 'passthrough') return passThrough(decided, event, context);
  if (selection.kind === 'none' || source === undefined) {
    const why = selection.kind === 'none' ? selection.reason : 'unknown source';
    return refuse(decided, `no healthy upstream: ${objectText(match.service)}: ${why}`);
  }
  const steps = new OutboundSteps(source, event, context, { ...decided, chosen: selection.workload.uid });
  switch (selection.kind) {
    case 'endpoint':
      return steps.pod(selection.workload, selection.ip, selection.port);
    case 'hostname':
      return steps.resolve(selection.hostname, (ip) => steps.pod(selection.workload, ip, selection.port));
    case 'remote':
      return steps.remote(selection, match.service.subjectAltNames);
  }
}

function passThrough(decided: Decided, event: OutboundEvent, context: OutboundContext): OutboundDecision {
  const { client, destination } = event;
  const socket = outboundSocket(context.sockets, 'client', client.ip, destination.ip);
  return { ...decided, kind: 'passthrough', destination, socket };
}

function refuse(decided: Decided, reason: string): OutboundDecision {
  return { ...decided, kind: 'refuse', reason, flag: 'CONNECT' };
}
