/**
 * Envoy's attributes as expressions of the Telemetry API name them, and the peers' metadata as Istio's proxies call it
 * (https://istio.io/latest/docs/reference/config/telemetry/). What is not there has no value: an error in the expression.
 */
import { formatSocketAddress } from '../../base/address.ts';
import type { Workload } from '../../mesh/model.ts';
import type { Attributes } from '../cel/expression.ts';
import { CelDuration, CelMap, CelTimestamp, type CelValue } from '../cel/values.ts';
import type { HeaderFacts, RequestFacts, TrafficFacts } from './facts.ts';
import { flagBits } from './response-flags.ts';

type Attribute = (facts: TrafficFacts) => CelValue | undefined;

const ofRequest =
  (read: (request: RequestFacts, facts: TrafficFacts) => CelValue | undefined): Attribute =>
  (facts) =>
    facts.request === undefined ? undefined : read(facts.request, facts);

const ofHeader = (name: string) => ofRequest(({ headers }) => headers.get(name));

export const trafficAttributes: Attributes<TrafficFacts> = {
  'request.path': ofRequest(({ path }) => path),
  'request.url_path': ofRequest(({ path }) => path.split('?', 1)[0]),
  'request.query': ofRequest(({ path }) => (path.includes('?') ? path.slice(path.indexOf('?') + 1) : '')),
  'request.host': ofRequest(({ authority }) => authority),
  'request.scheme': ofRequest(() => 'http'),
  'request.method': ofRequest(({ method }) => method),
  'request.headers': ofRequest((request) => requestHeaders(request)),
  'request.referer': ofHeader('referer'),
  'request.useragent': ofHeader('user-agent'),
  'request.id': ofRequest(({ requestId }) => requestId),
  'request.protocol': ofRequest(({ version }) => (version === '2' ? 'HTTP/2' : `HTTP/${version}`)),
  'request.time': ({ startWallMs }) => new CelTimestamp(startWallMs),
  'request.duration': ({ timings }) => new CelDuration(timings.endMs),
  'request.size': ({ requestBytes }) => requestBytes,
  'request.total_size': ({ requestBytes, request }) => requestBytes + (request?.headers.bytes ?? 0),

  'response.code': ({ tcp, status }) => (tcp ? undefined : status),
  'response.code_details': ({ details }) => details,
  'response.flags': ({ flags }) => flagBits(flags),
  'response.grpc_status': ({ grpcStatus }) => wholeNumber(grpcStatus),
  'response.headers': ({ responseHeaders }) => headerMap(responseHeaders),
  'response.trailers': ({ responseTrailers }) => headerMap(responseTrailers),
  'response.size': ({ responseBytes }) => responseBytes,
  'response.total_size': ({ responseBytes, responseHeaders, responseTrailers }) =>
    responseBytes + responseHeaders.bytes + responseTrailers.bytes,
  'response.backend_latency': ({ timings }) =>
    timings.responseStartMs === undefined ? undefined : new CelDuration(timings.responseStartMs),

  'source.address': ({ client }) => formatSocketAddress(client),
  'source.port': ({ client }) => client.port,
  'destination.address': ({ destination }) => formatSocketAddress(destination),
  'destination.port': ({ destination }) => destination.port,

  'connection.mtls': () => true,
  'connection.tls_version': () => 'TLSv1.3',
  'connection.requested_server_name': ({ serverName }) => serverName ?? '',
  'connection.uri_san_peer_certificate': ({ clientIdentity }) => clientIdentity,
  'connection.uri_san_local_certificate': ({ localIdentity }) => localIdentity,
  'connection.termination_details': ({ tcp, details }) => (tcp ? details : undefined),

  'upstream.address': ({ upstream }) => upstream && formatSocketAddress(upstream.address),
  'upstream.port': ({ upstream }) => upstream?.address.port,
  'upstream.local_address': ({ upstream }) => upstream?.local && formatSocketAddress(upstream.local),
  'upstream.transport_failure_reason': ({ failure }) => failure ?? '',
  'upstream.uri_san_peer_certificate': ({ upstream }) => upstream?.workload.identity,
  'upstream.request_attempt_count': ({ tries }) => tries,

  'xds.cluster_name': ({ cluster }) => cluster,
  'xds.route_name': ({ route }) => route ?? '',

  ...peer('filter_state.downstream_peer', ({ clientWorkload }) => clientWorkload),
  ...peer('filter_state.upstream_peer', ({ upstream }) => upstream?.workload),
};

/** Of a workload as the mesh knows it. */
function peer(name: string, of: (facts: TrafficFacts) => Workload | undefined): Record<string, Attribute> {
  const read =
    (field: (workload: Workload) => CelValue | undefined): Attribute =>
    (facts) => {
      const workload = of(facts);
      return workload === undefined ? undefined : field(workload);
    };
  return {
    [`${name}.workload`]: read(({ workloadName }) => workloadName),
    [`${name}.name`]: read((workload) => workload.name),
    [`${name}.namespace`]: read(({ namespace }) => namespace),
    [`${name}.service`]: read(({ canonicalName }) => canonicalName),
    [`${name}.revision`]: read(({ canonicalRevision }) => canonicalRevision),
    [`${name}.app`]: read(({ canonicalName }) => canonicalName),
    [`${name}.version`]: read(({ canonicalRevision }) => canonicalRevision),
    [`${name}.cluster`]: read(({ clusterId }) => clusterId),
    [`${name}.region`]: read(({ locality }) => locality?.region),
    [`${name}.zone`]: read(({ locality }) => locality?.zone),
    [`${name}.identity`]: read(({ identity }) => identity),
    [`${name}.labels`]: read(
      ({ labels }) => labels && new CelMap((key) => (Object.hasOwn(labels, key) ? labels[key] : undefined)),
    ),
  };
}

/** With HTTP/2's pseudo headers, as Envoy has them for every version. */
function requestHeaders(request: RequestFacts): CelMap {
  return new CelMap((name) => requestHeader(request, name.toLowerCase(), true));
}

/** `name` in lower case; `all`: several values with commas between, instead of the first. */
export function requestHeader(request: RequestFacts, name: string, all = false): string | undefined {
  switch (name) {
    case ':method':
      return request.method;
    case ':path':
      return request.path;
    case ':authority':
    case 'host':
      return request.authority;
    case ':scheme':
      return 'http';
    case 'x-envoy-original-path':
      return request.originalPath;
    case 'x-request-id':
      return request.requestId;
  }
  return all ? request.headers.get(name) : request.headers.first(name);
}

function headerMap(headers: HeaderFacts): CelMap {
  return new CelMap((name) => headers.get(name.toLowerCase()));
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}
