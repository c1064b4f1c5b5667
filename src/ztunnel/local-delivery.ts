/**
 * Delivery to a workload this process serves itself: no tunnel, but the same two identities, the same policies and both
 * log lines as over the network (design §1).
 *
 * I1: both ends have a valid certificate at this moment, not revoked, and one trust domain, else nothing is delivered.
 */
import type { ResponseFlag } from '../base/errors.ts';
import { isTrusted } from '../base/trust-domains.ts';
import type { CapturedConnection, Join, JoinObserver } from '../hbone/seam.ts';
import { inboundContext, shareOf, type ZtunnelServices } from './context.ts';
import type { Hop } from './hop.ts';
import { decideInbound, type InboundDecision, type InboundEvent } from './inbound-decision.ts';
import { type Arrival, inboundHop, Repeatable, recheck, recordRefusal, settle, subjectOf } from './inbound-flow.ts';
import type { OutboundDecision } from './outbound-decision.ts';
import { encodeProxyPreface } from './proxy-preface.ts';
import { headerOf } from './tunnel-headers.ts';

type LocalDecision = Extract<OutboundDecision, { kind: 'local' }>;

/** Never dials before everything is decided. `running` gets the join of the outbound side. */
export async function deliverLocally(
  services: ZtunnelServices,
  connection: Pick<CapturedConnection, 'peer' | 'dial' | 'refuse'>,
  decision: LocalDecision,
  outbound: Hop,
  running: (join: Join) => void,
): Promise<void> {
  const source = outbound.facts.source.workload;
  const place = services.placeOf(decision.endpoint);
  if (source === undefined || place === undefined) {
    refuse(connection, outbound, 'the workload is not served here any more');
    return;
  }
  const { peer } = connection;
  const { target, authority, headers } = decision.request;
  const event: InboundEvent = {
    peerIdentity: source.identity,
    peer,
    // What the application would see had the tunnel gone over the network: its connection's own address.
    source: services.preset.sourceToPod === 'own' ? undefined : peer.ip,
    local: target.peer,
    authority,
  };
  const [forwarded, traceparent] = [headerOf(headers, 'forwarded'), headerOf(headers, 'traceparent')];
  const arrival: Arrival = { event, source, forwarded, traceparent };
  const problem = await identityProblem(services, decision, source.trustDomain);
  if (problem !== undefined) {
    refuse(connection, outbound, problem.reason, problem.flag);
    return;
  }
  const context = inboundContext(services, place);
  const again = new Repeatable(services.registry, () => decideInbound(event, context));
  const settled = settle<Exclude<InboundDecision, { kind: 'wait' }>>(again.make, services.waiter, shareOf(place));
  const inbound = await settled;
  if (inbound === undefined || inbound.kind === 'refuse') {
    if (inbound !== undefined) recordRefusal(services, arrival, inbound);
    refuse(connection, outbound, `http status: ${inbound?.status ?? 503}`);
    return;
  }
  // It has waited, maybe for seconds.
  const revoked =
    settled instanceof Promise ? await identityProblem(services, decision, source.trustDomain) : undefined;
  if (revoked !== undefined) {
    refuse(connection, outbound, revoked.reason, revoked.flag);
    return;
  }
  const { workload, destination, socket, preface } = inbound;
  const subject = subjectOf(event);
  services.policyReport.decided(inbound.outcome, subject);
  const inboundSide = inboundHop(services, arrival, workload);
  const full = services.budgets.admit(workload, 'inbound');
  if (full !== undefined) {
    inboundSide.refused(full, 'CONNECT');
    refuse(connection, outbound, 'http status: 503');
    return;
  }
  const bytes = preface === undefined ? undefined : encodeProxyPreface(preface);
  const join = connection.dial(destination, socket, bothSides(outbound, inboundSide, decision), bytes);
  inboundSide.attach(join);
  services.registry.add({
    hop: inboundSide,
    join,
    workload,
    originalDestination: destination,
    protocol: 'HBONE',
    place,
    identities: [decision.request.target.sourceIdentity, decision.endpoint.identity],
    recheck: () => recheck(again.make, services, subject),
    decidedAt: again.at,
  });
  running(join);
}

async function identityProblem(
  services: ZtunnelServices,
  decision: LocalDecision,
  sourceTrustDomain: string,
): Promise<{ readonly reason: string; readonly flag: ResponseFlag } | undefined> {
  const { endpoint, request } = decision;
  if (!isTrusted(sourceTrustDomain, endpoint.trustDomain, services.settings.trustDomainAliases)) {
    const reason = `trust domain ${sourceTrustDomain} is not ${endpoint.trustDomain}`;
    return { reason, flag: 'IDENTITY_ERROR' };
  }
  for (const identity of [request.target.sourceIdentity, endpoint.identity]) {
    const state = await services.secrets.acquire(identity);
    if (state.kind === 'unavailable') {
      return { reason: `no valid certificate for ${identity}: ${state.reason}`, flag: 'IDENTITY_ERROR' };
    }
    const examined = services.revocation?.examineOwn(state.secret, 'source');
    if (examined?.kind === 'revoked') return { reason: `${identity}: ${examined.reason}`, flag: 'CERT_REVOKED' };
    if (examined?.kind === 'unknown') return { reason: `${identity}: ${examined.reason}`, flag: 'TLS_FAILURE' };
  }
  return undefined;
}

/** The outbound side reports the tunnel's address, as if it had gone over the network. */
function bothSides(outbound: Hop, inbound: Hop, decision: LocalDecision): JoinObserver {
  const { peer } = decision.request.target;
  return {
    established(facts) {
      inbound.established(facts);
      outbound.established({ ...facts, peer });
    },
    ended(end) {
      inbound.ended(end);
      const established = end.established === undefined ? undefined : { ...end.established, peer };
      outbound.ended({ ...end, established });
    },
  };
}

function refuse(
  connection: Pick<CapturedConnection, 'refuse'>,
  outbound: Hop,
  reason: string,
  flag: ResponseFlag = 'CONNECT',
): void {
  connection.refuse();
  outbound.refused(reason, flag);
}
