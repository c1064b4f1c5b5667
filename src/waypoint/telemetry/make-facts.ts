/** From what is known of a finished request or connection to the facts that telemetry asks. */
import { formatSocketAddress } from '../../base/address.ts';
import { type HeaderList, noHeaders } from '../../http/header-list.ts';
import type { RequestFacts, TrafficFacts } from '../../route/telemetry/facts.ts';
import type { TraceContext } from '../../telemetry/tracing/trace-context.ts';
import type { Tunnel, WaypointServices } from '../context.ts';
import { clusterName, type Finished, requestWireBytes, responseWireBytes } from '../finished.ts';
import { headerFacts } from './header-facts.ts';

/** What only those who watched the traffic know. */
export interface Watched {
  /** As the request was forwarded; undefined: it was not. */
  readonly sent: { readonly path: string; readonly authority: string; readonly headers: HeaderList } | undefined;
  readonly requestEndedMs: number | undefined;
  readonly context: TraceContext | undefined;
  readonly serverName: string | undefined;
}

export const nothingWatched: Watched = {
  sent: undefined,
  requestEndedMs: undefined,
  context: undefined,
  serverName: undefined,
};

const noHeaderFacts = headerFacts(noHeaders);

export function makeFacts(
  services: WaypointServices,
  tunnel: Tunnel,
  finished: Finished,
  watched: Watched,
  endedMs: number,
): TrafficFacts {
  const { clock } = services;
  const { startedMs, responseHeaders = noHeaders, responseTrailers = noHeaders, endpoint, link } = finished;
  const since = (ms: number | undefined) => (ms === undefined ? undefined : ms - startedMs);
  return {
    startWallMs: clock.wallMs() - (clock.nowMs() - startedMs),
    timings: {
      requestEndMs: since(watched.requestEndedMs),
      responseStartMs: since(finished.responseStartedMs),
      endMs: endedMs - startedMs,
    },
    tcp: finished.protocol === 'tcp',
    request: requestFacts(finished, watched),
    status: finished.status,
    responseHeaders: responseHeaders.length === 0 ? noHeaderFacts : headerFacts(responseHeaders),
    responseTrailers: responseTrailers.length === 0 ? noHeaderFacts : headerFacts(responseTrailers),
    grpcStatus: finished.grpcStatus,
    flags: finished.flags,
    details: finished.details,
    requestBytes: finished.requestBytes,
    responseBytes: finished.responseBytes,
    requestWireBytes: requestWireBytes(finished),
    responseWireBytes: responseWireBytes(finished),
    failure: finished.failure,
    tries: finished.tries ?? 0,
    route: finished.request?.route,
    audited: finished.audited,
    cluster: clusterName(services, tunnel, finished),
    service: finished.service,
    client: tunnel.client,
    clientIdentity: tunnel.clientIdentity,
    clientWorkload: tunnel.clientWorkload,
    destination: tunnel.destination.address,
    local: tunnel.local,
    localIdentity: tunnel.localIdentity,
    serverName: watched.serverName,
    upstream:
      endpoint === undefined
        ? undefined
        : {
            host:
              endpoint.transport.kind === 'tunnel'
                ? `envoy://${services.names.originate}/${formatSocketAddress(endpoint.address)}`
                : formatSocketAddress(endpoint.address),
            address: endpoint.address,
            workload: endpoint.workload,
            remote: link?.peer,
            local: link?.local,
            protocol: finished.upstreamProtocol && protocols[finished.upstreamProtocol],
          },
    traceId: watched.context?.traceId,
    spanId: watched.context?.spanId,
  };
}

const protocols = { h1: 'HTTP/1.1', h2c: 'HTTP/2' } as const;

function requestFacts({ request, protocol }: Finished, { sent }: Watched): RequestFacts | undefined {
  if (request === undefined) return undefined;
  const { method, path, version, requestId } = request;
  // What may be a token is in no log: of the query, what is fit for one is told.
  const query = path.indexOf('?') < 0 ? '' : path.slice(path.indexOf('?'));
  const forwarded = sent === undefined ? path : `${sent.path.split('?', 1)[0]}${query}`;
  return {
    method,
    path: forwarded,
    originalPath: forwarded === path ? undefined : path,
    authority: sent?.authority ?? request.authority,
    version,
    headers: headerFacts(sent?.headers ?? request.headers),
    requestId,
    grpc: protocol === 'grpc',
  };
}
