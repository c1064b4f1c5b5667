/**
 * The TCP stages of a tunnel: the same steps as for a request, once per connection, on what is known without HTTP. A
 * denied or undeliverable connection is reset, also when policies that deny it come later. Other endpoints are tried while none has answered; nothing was sent yet.
 */
import type { Duplex } from 'node:stream';
import { Cancellation } from '../base/cancellation.ts';
import { AmbitError } from '../base/errors.ts';
import { DuplexEnd } from '../net/duplex-end.ts';
import { join } from '../net/join.ts';
import { chooseBackend } from '../route/backend.ts';
import type { ConnectionPoolPolicy } from '../route/destination.ts';
import { routesFor } from '../route/match-route.ts';
import { matchStream } from '../route/match-stream.ts';
import type { StreamRoute } from '../route/model.ts';
import type { Connected } from '../upstream/connector.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import { TunnelAuthorizer } from './authorize.ts';
import { clientFacts } from './client-facts.ts';
import { askAboutConnection, phasesAfterPolicies, phasesBeforePolicies } from './connection-extensions.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { authorizeConnection, unasked } from './ext-authz/connection.ts';
import type { Finished } from './finished.ts';
import { profiled } from './profiled-endpoint.ts';
import { watchConnection } from './report-connection.ts';
import { type TcpTarget, tcpEndpoint } from './tcp-endpoint.ts';
import { watchTimes } from './tcp-times.ts';

const maxTries = 3;

/** Takes ownership of the stream. `serverName`: as the TLS client gave it. Resolves when the connection is over. Never rejects. */
export async function serveTcpChain(
  services: WaypointServices,
  tunnel: Tunnel,
  stream: Duplex,
  serverName?: string,
): Promise<void> {
  const gone = new Cancellation();
  stream.once('close', () => gone.cancel());
  const startedMs = services.clock.nowMs();
  const authorizer = new TunnelAuthorizer(services, tunnel, serverName);
  const watch = watchConnection(services, tunnel, serverName);
  const reached = await reach(services, tunnel, authorizer, gone, serverName, watch.connecting);
  const { service, port } = reached;
  const counts = { toUpstream: 0, toDownstream: 0 };
  const finished = (flags: string, details: string, failure: string | undefined): Finished => {
    const { endpoint, audited } = reached;
    const link = reached.kind === 'connected' ? reached.connected : undefined;
    const bytes = { requestBytes: counts.toUpstream, responseBytes: counts.toDownstream };
    const where = { service, servicePort: port, endpoint, link, flags, details, failure, startedMs, audited };
    return { ...bytes, ...where, protocol: 'tcp', request: undefined, status: 0, grpcStatus: undefined };
  };
  const report = watch.opened(finished('-', 'via_upstream', undefined), counts);
  const over = (flags: string, details: string, error: AmbitError | undefined) =>
    report.over(finished(flags, details, error?.message));
  if (reached.kind === 'refused') {
    stream.destroy(reached.error);
    over(reached.flags, reached.details, reached.error);
    return;
  }
  await new Promise<void>((resolve) => {
    const upstream = new DuplexEnd(reached.connected.stream, 'upstream', services.clock);
    const open = {
      recheck: () => {
        const reason =
          denialNow(services, authorizer, reached.endpoint) ??
          unasked(services, tunnel, services.model(), serverName, reached.asked);
        if (reason !== undefined) joined.stop(deniedError(reason));
      },
    };
    const leave = services.tcpConnections.add(open);
    let timedOut: string | undefined;
    let stopWatching = () => {};
    const joined = join(new DuplexEnd(stream, 'downstream', services.clock), upstream, counts, (result) => {
      leave();
      stopWatching();
      if (result.kind === 'stopped' && timedOut !== undefined) over('-', timedOut, result.error);
      else if (result.kind === 'stopped') over('RBAC', result.error?.message ?? '', result.error);
      else over(result.kind === 'reset' && result.by === 'upstream' ? 'UC' : '-', 'via_upstream', undefined);
      resolve();
    });
    stopWatching = watchTimes(reached.pool, counts, services.clock, (error, details) => {
      timedOut = details;
      joined.stop(error);
    });
    // The model may have changed while the upstream was being connected.
    open.recheck();
  });
}

interface Common {
  readonly service: ReturnType<WaypointServices['mesh']['service']>;
  readonly port: number;
  readonly endpoint: UpstreamEndpoint | undefined;
  readonly audited: readonly string[];
}

type Reached =
  | (Common & {
      readonly kind: 'connected';
      readonly connected: Connected;
      /** Providers that were asked for it. */
      readonly asked: ReadonlySet<string>;
      readonly pool: ConnectionPoolPolicy | undefined;
    })
  | (Common & {
      readonly kind: 'refused';
      readonly flags: string;
      readonly details: string;
      readonly error: AmbitError;
    });

async function reach(
  services: WaypointServices,
  tunnel: Tunnel,
  authorizer: TunnelAuthorizer,
  gone: Cancellation,
  serverName: string | undefined,
  connecting: (endpoint: UpstreamEndpoint) => UpstreamEndpoint,
): Promise<Reached> {
  const model = services.model();
  const { destination } = tunnel;
  const backend = tcpBackend(services, tunnel, serverName);
  const service = backend.service;
  const port = backend.port;
  const custom = await authorizeConnection(services, tunnel, model, serverName, gone);
  const early =
    custom.kind === 'deny' ? undefined : await askAboutConnection(services, tunnel, 'tcp', phasesBeforePolicies);
  const first = authorizer.service(model, undefined);
  const audited = [...custom.audited, ...first.audited];
  let endpoint: UpstreamEndpoint | undefined;
  const refused = (flags: string, details: string, error: AmbitError): Reached => ({
    kind: 'refused',
    service,
    port,
    endpoint,
    audited,
    flags,
    details,
    error,
  });
  if (gone.cancelled) return refused('DC', 'downstream_remote_disconnect', unreachable('the client has left'));
  if (custom.kind === 'deny') return refused('UAEX', custom.reason, deniedError(custom.reason));
  const { asked } = custom;
  if (early !== undefined) return refused('RBAC', early, deniedError(early));
  if (first.verdict.kind === 'deny') return refused('RBAC', first.verdict.reason, deniedError(first.verdict.reason));
  const late = await askAboutConnection(services, tunnel, 'tcp', phasesAfterPolicies);
  if (late !== undefined) return refused('RBAC', late, deniedError(late));
  const upstream =
    service && services.upstreams.of(model, services.own()?.namespace ?? '', service, port, backend.subset);
  const circuit = upstream?.circuit;
  const tried = new Set<string>();
  for (let tries = 1; ; tries++) {
    const choice = tcpEndpoint(services, tunnel, model, backend, tried, serverName);
    if (choice.kind === 'unknown-subset') return refused('NC', 'cluster_not_found', unreachable('unknown subset'));
    if (choice.kind === 'none') return refused('UH', choice.reason, unreachable(`no endpoint: ${choice.reason}`));
    endpoint = profiled(choice.endpoint, upstream?.profile, tunnel);
    const { verdict, audited: more } = authorizer.pod(endpoint, model, undefined);
    audited.push(...more);
    if (verdict.kind === 'deny') return refused('RBAC', verdict.reason, deniedError(verdict.reason));
    if (circuit !== undefined && circuit.connections >= circuit.limits.maxConnections) {
      circuit.refuse('connections');
      return refused('UO', 'upstream_connection_overflow', unreachable('as many connections as may be'));
    }
    const { watch } = choice;
    if (circuit !== undefined) circuit.connections++;
    watch?.begin();
    const outcome = await services.connector.connect(connecting(endpoint), gone);
    if (outcome.kind === 'connected') {
      const { connected } = outcome;
      watch?.observe({ kind: 'connected' });
      connected.stream.once('close', () => {
        watch?.end();
        if (circuit !== undefined) circuit.connections--;
      });
      const { pool } = upstream ?? {};
      if (!gone.cancelled) return { kind: 'connected', service, port, endpoint, audited, asked, connected, pool };
      connected.stream.destroy();
      return refused('DC', 'downstream_remote_disconnect', unreachable('the client has left'));
    }
    if (circuit !== undefined) circuit.connections--;
    if (!gone.cancelled) watch?.observe({ kind: 'connect-failure' });
    watch?.end();
    tried.add(endpoint.workload.uid);
    // Tries, not endpoints: where there is one alone it is chosen again.
    if (tries >= maxTries || gone.cancelled || destination.kind === 'workload') {
      return refused('UF', 'upstream_connect_failure', outcome.error);
    }
  }
}

/** Why the model of the moment no longer allows a connection that stands; undefined: it does. */
function denialNow(
  services: WaypointServices,
  authorizer: TunnelAuthorizer,
  endpoint: UpstreamEndpoint | undefined,
): string | undefined {
  const model = services.model();
  const ofService = authorizer.service(model, undefined).verdict;
  if (ofService.kind === 'deny') return ofService.reason;
  const ofPod = endpoint === undefined ? ofService : authorizer.pod(endpoint, model, undefined).verdict;
  return ofPod.kind === 'deny' ? ofPod.reason : undefined;
}

/** Where the routes of the port lead, or the service itself without any. No route, or an invalid share, leads nowhere. */
function tcpBackend(services: WaypointServices, tunnel: Tunnel, serverName: string | undefined): TcpTarget {
  const { destination } = tunnel;
  const subset = undefined;
  if (destination.kind === 'workload') return { service: undefined, port: destination.address.port, subset };
  const own = { service: destination.service, port: destination.port.servicePort, subset };
  const routes = streamRoutes(services, tunnel);
  if (routes.length === 0) return own;
  const { namespace: clientNamespace, labels: clientLabels } = clientFacts(tunnel);
  const destinationIp = destination.address.ip;
  const route = matchStream(routes, { serverName, clientNamespace, clientLabels, destinationIp });
  const choice = chooseBackend(route?.backends ?? [], services.random);
  if (choice.kind === 'none' || choice.backend.service === undefined) return { ...own, service: undefined };
  const { backend } = choice;
  return { service: services.mesh.service(choice.backend.service), port: backend.port, subset: backend.subset };
}

/** Routes for connections of the tunnel's client. */
export function streamRoutes(services: WaypointServices, tunnel: Tunnel): readonly StreamRoute[] {
  const { destination } = tunnel;
  if (destination.kind === 'workload') return [];
  const ports = services.model().ports.get(`${destination.service.key}:${destination.port.servicePort}`);
  return ports === undefined ? [] : routesFor(ports, clientFacts(tunnel).namespace).streams;
}

function deniedError(reason: string): AmbitError {
  return new AmbitError(reason, { code: 'WAYPOINT_DENIED', origin: 'local', flag: 'DENY' });
}

function unreachable(message: string): AmbitError {
  return new AmbitError(message, { code: 'WAYPOINT_NO_ENDPOINT', origin: 'upstream', flag: 'CONNECT' });
}
