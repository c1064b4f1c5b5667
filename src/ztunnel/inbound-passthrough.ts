/** The plaintext listener (15006): what reaches a pod from outside the mesh (ztunnel.md §4.5, seed-design.md R54). */
import { errorText } from '../base/errors.ts';
import type { CapturedConnection, RunningListener } from '../hbone/seam.ts';
import { inboundContext, listenSpec, type Place, shareOf, soleWorkload, type ZtunnelServices } from './context.ts';
import { Hop, logDenied } from './hop.ts';
import { policyRejection, Repeatable, recheck, serviceOfPort, settle } from './inbound-flow.ts';
import { decidePlaintext, type PlaintextDecision, type PlaintextEvent } from './inbound-passthrough-decision.ts';

type Settled = Exclude<PlaintextDecision, { kind: 'wait' }>;

/** Rejects when the listener cannot be made. */
export function startInboundPassthrough(services: ZtunnelServices, place: Place): Promise<RunningListener> {
  const listen = listenSpec(services, place, 'inbound', services.settings.ports.inboundPlaintext);
  const gate = services.budgets.gate('inbound', soleWorkload(place));
  return services.relay.capture(listen, (connection) => accept(connection, services, place), gate);
}

function accept(connection: CapturedConnection, services: ZtunnelServices, place: Place): void {
  const event: PlaintextEvent = { client: connection.peer, destination: connection.originalDestination };
  const context = inboundContext(services, place);
  const again = new Repeatable<PlaintextDecision>(services.registry, () => decidePlaintext(event, context));
  // The mesh may not know the pod yet that its node has just started (ztunnel.md §3.2).
  const unknown = place.sole !== undefined && place.workloadAt(event.destination.ip) === undefined;
  const known = unknown
    ? services.waiter.until(
        services.settings.unknownSourceWaitMs,
        () => place.workloadAt(event.destination.ip),
        shareOf(place),
      )
    : undefined;
  const decided =
    known === undefined
      ? settle<Settled>(again.make, services.waiter, shareOf(place))
      : known.then(() => settle<Settled>(again.make, services.waiter, shareOf(place)));
  if (!(decided instanceof Promise)) {
    carryOut(connection, event, decided, again, services, place);
    return;
  }
  decided
    .then((decision) => {
      if (!connection.gone) carryOut(connection, event, decision, again, services, place);
    })
    .catch((error: unknown) => {
      services.logger.error('plaintext connection failed inside', { error: errorText(error) });
      connection.refuse();
    });
}

function carryOut(
  connection: CapturedConnection,
  event: PlaintextEvent,
  decision: Settled | undefined,
  again: Repeatable<PlaintextDecision>,
  services: ZtunnelServices,
  place: Place,
): void {
  const { accessLog, names, budgets, registry, mesh } = services;
  const { client, destination } = event;
  const workload = decision?.workload;
  const subject = { source: client, destination, identity: undefined };
  if (decision?.outcome !== undefined) services.policyReport.decided(decision.outcome, subject);
  if (workload === undefined) {
    connection.refuse();
    const reason = decision?.reason ?? 'policies could not be decided in time';
    logDenied(accessLog, 'inbound', client, destination, reason, names.plaintextHop);
    return;
  }
  const hop = new Hop(
    {
      direction: 'inbound',
      source: {
        address: client,
        workload: mesh.workloadByAddress(workload.network, client.ip),
        identity: undefined,
      },
      destination: { address: destination, workload, identity: undefined },
      authority: undefined,
      traceparent: undefined,
      service: serviceOfPort(mesh, workload, destination.port),
      hop: names.plaintextHop,
    },
    services,
  );
  const full = decision?.kind === 'dial' ? budgets.admit(workload, 'inbound') : undefined;
  if (decision?.kind !== 'dial' || full !== undefined) {
    connection.refuse();
    if (decision?.kind === 'refuse') {
      if (decision.emptyMatchOf !== undefined) services.emptyMatches.warn(decision.emptyMatchOf);
      hop.refused(policyRejection(decision.reason), decision.flag);
    } else {
      hop.refused(full ?? 'refused', 'CONNECT');
    }
    return;
  }
  const join = connection.dial(decision.destination, decision.socket, hop);
  hop.attach(join);
  registry.add({
    hop,
    join,
    workload,
    originalDestination: destination,
    protocol: 'TCP',
    recheck: () => recheck(again.make, services, subject),
    decidedAt: again.at,
    place,
  });
}
