/**
 * The HBONE listener (15008): TLS with the certificate of the workload the connection was made to, then each CONNECT
 * decided on its own and delivered (ztunnel.md §4.1, seed-design.md §2 steps 9 and 10).
 */
import { parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import { isTrusted } from '../base/trust-domains.ts';
import type { ConnectRequest, ConnectVerdict, RunningListener } from '../hbone/seam.ts';
import type { Secret, SecretStore } from '../identity/secret.ts';
import { inboundContext, listenSpec, type Place, shareOf, soleWorkload, type ZtunnelServices } from './context.ts';
import { logDenied } from './hop.ts';
import { decideInbound, type InboundDecision, type InboundEvent } from './inbound-decision.ts';
import {
  type Arrival,
  arrivalOf,
  inboundHop,
  Repeatable,
  recheck,
  recordRefusal,
  settle,
  subjectOf,
} from './inbound-flow.ts';
import { encodeProxyPreface } from './proxy-preface.ts';

type Settled = Exclude<InboundDecision, { kind: 'wait' }>;

const maxStreamsPerSession = 200;

/** Rejects when the listener cannot be made. */
export function startInbound(services: ZtunnelServices, place: Place): Promise<RunningListener> {
  const { relay, secrets, settings, accessLog, names, budgets } = services;
  return relay.serve(listenSpec(services, place, 'inbound', settings.ports.inbound), {
    maxStreamsPerSession,
    admission: budgets.admission(soleWorkload(place)),
    secretFor(local) {
      const workload = place.workloadAt(local.ip);
      if (workload === undefined) return place.sole === undefined ? undefined : lateSecret(services, place, local.ip);
      const identity = place.identity ?? workload.identity;
      // A pod may be called before its first certificate has come.
      return secrets.current(identity) ?? firstSecret(secrets, identity);
    },
    trusts(trustDomain, localIdentity) {
      const own = parseSpiffeId(localIdentity);
      return own !== undefined && isTrusted(trustDomain, own.trustDomain, settings.trustDomainAliases);
    },
    onConnect: (request) => answer(request, services, place),
    onDenied: (peer, local, error) => logDenied(accessLog, 'inbound', peer, local, error.message, names.inboundHop),
  });
}

async function firstSecret(secrets: SecretStore, identity: SpiffeId): Promise<Secret | undefined> {
  const state = await secrets.acquire(identity);
  return state.kind === 'available' ? state.secret : undefined;
}

/** A pod may be called before the mesh knows of it (ztunnel.md §3.2). */
async function lateSecret(services: ZtunnelServices, place: Place, ip: string): Promise<Secret | undefined> {
  const { waiter, settings, secrets } = services;
  const workload = await waiter.until(settings.unknownSourceWaitMs, () => place.workloadAt(ip), shareOf(place));
  return workload === undefined ? undefined : await firstSecret(secrets, place.identity ?? workload.identity);
}

function answer(
  request: ConnectRequest,
  services: ZtunnelServices,
  place: Place,
): ConnectVerdict | Promise<ConnectVerdict> {
  const { peerIdentity, peer, local, authority } = request;
  const event: InboundEvent = { peerIdentity, peer, source: peer.ip, local, authority };
  const arrival = arrivalOf(services, event, place.workloadAt(local.ip), (name) => request.header(name));
  const context = inboundContext(services, place);
  const again = new Repeatable(services.registry, () => decideInbound(event, context));
  const decided = settle<Settled>(again.make, services.waiter, shareOf(place));
  return decided instanceof Promise
    ? decided.then((decision) => verdict(decision, again, arrival, services, place))
    : verdict(decided, again, arrival, services, place);
}

function verdict(
  decision: Settled | undefined,
  again: Repeatable<InboundDecision>,
  arrival: Arrival,
  services: ZtunnelServices,
  place: Place,
): ConnectVerdict {
  if (decision === undefined) {
    const { peer, local } = arrival.event;
    logDenied(services.accessLog, 'inbound', peer, local, 'policies could not be decided in time');
    return { kind: 'refuse', status: 503, headers: [] };
  }
  if (decision.kind === 'refuse') {
    recordRefusal(services, arrival, decision);
    return { kind: 'refuse', status: decision.status, headers: [] };
  }
  const { workload, service, destination, socket, headers, preface } = decision;
  const subject = subjectOf(arrival.event);
  services.policyReport.decided(decision.outcome, subject);
  const hop = inboundHop(services, arrival, workload, service);
  const full = services.budgets.admit(workload, 'inbound');
  if (full !== undefined) {
    hop.refused(full, 'CONNECT');
    return { kind: 'refuse', status: 503, headers: [] };
  }
  const decidedAt = again.at;
  return {
    kind: 'dial',
    destination,
    socket,
    headers,
    observer: hop,
    ...(preface === undefined ? {} : { preface: encodeProxyPreface(preface) }),
    joined(join) {
      hop.attach(join);
      services.registry.add({
        hop,
        join,
        workload,
        originalDestination: destination,
        protocol: 'HBONE',
        recheck: () => recheck(again.make, services, subject),
        decidedAt,
        place,
      });
    },
  };
}
