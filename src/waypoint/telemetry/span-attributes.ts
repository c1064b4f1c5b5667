/** Attributes of spans: Envoy's names for HTTP, which Istio's users query by, and Istio's tags about whom a span is of. */
import { formatSocketAddress } from '../../base/address.ts';
import type { TrafficFacts } from '../../route/telemetry/facts.ts';
import { protocolText } from '../../route/telemetry/log-operators.ts';
import type { CustomTag } from '../../route/telemetry/rules.ts';
import type { Attributes } from '../../telemetry/tracing/span.ts';

export interface SpanTags {
  readonly customTags: readonly CustomTag[];
  readonly istioTags: boolean;
  /** Longest text of an attribute that traffic chose. */
  readonly maxTagLength: number;
  readonly environment: (variable: string) => string | undefined;
  readonly trustDomain: string;
}

export function spanAttributes(facts: TrafficFacts, tags: SpanTags): Attributes {
  const { request, upstream, client, grpcStatus, flags } = facts;
  const cut = (text: string | undefined) => text?.slice(0, tags.maxTagLength);
  const ofRequest: Attributes =
    request === undefined
      ? []
      : [
          ['http.url', cut(`http://${request.authority}${request.originalPath ?? request.path}`)],
          ['http.method', cut(request.method)],
          ['http.protocol', protocolText(request.version)],
          ['http.status_code', facts.status],
          ['user_agent', cut(request.headers.get('user-agent'))],
          ['guid:x-request-id', cut(request.requestId)],
        ];
  const ofGrpc: Attributes =
    request?.grpc !== true
      ? []
      : [
          ['grpc.path', cut(request.path)],
          ['grpc.authority', cut(request.authority)],
          ['grpc.status_code', cut(grpcStatus)],
          [
            'grpc.message',
            cut(facts.responseTrailers.get('grpc-message') ?? facts.responseHeaders.get('grpc-message')),
          ],
        ];
  return [
    ['component', 'proxy'],
    ...ofRequest,
    ...ofGrpc,
    ['request_size', facts.requestBytes],
    ['response_size', facts.responseBytes],
    ['response_flags', flags],
    ['peer.address', client.ip],
    ['upstream_cluster', facts.cluster],
    ['upstream_cluster.name', facts.cluster],
    ['upstream_address', upstream && formatSocketAddress(upstream.address)],
    ['error', failed(facts) === undefined ? undefined : true],
    ...(tags.istioTags ? istioTags(facts, tags.trustDomain) : []),
    ...tags.customTags.map(({ name, value }) => {
      if (value.kind === 'environment') return [name, cut(tags.environment(value.variable) ?? value.fallback)] as const;
      const read = value.read(facts);
      return [name, typeof read === 'string' ? cut(read) : read] as const;
    }),
  ];
}

/** Why a span failed, as Envoy has it: a server's error, a connection that did not stand, a gRPC status that is one. */
export function failed({ request, status, grpcStatus, flags, details, failure }: TrafficFacts): string | undefined {
  const text = failure ?? details ?? '';
  if (request === undefined) return flags === '-' ? undefined : text;
  const ofGrpc = request.grpc && grpcStatus !== undefined && serverFaults.has(grpcStatus);
  return status >= 500 || ofGrpc || (status === 0 && flags !== '-') ? text : undefined;
}

/** UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS (OpenTelemetry's RPC conventions). */
const serverFaults = new Set(['2', '4', '12', '13', '14', '15']);

function istioTags({ upstream, service, clientWorkload }: TrafficFacts, trustDomain: string): Attributes {
  const workload = upstream?.workload;
  return [
    ['istio.canonical_service', workload?.canonicalName || service?.name],
    ['istio.canonical_revision', workload?.canonicalRevision || 'latest'],
    ['istio.namespace', workload?.namespace ?? service?.namespace],
    ['istio.cluster_id', workload?.clusterId],
    ['istio.mesh_id', trustDomain],
    ['istio.source_canonical_service', clientWorkload?.canonicalName],
    ['istio.source_namespace', clientWorkload?.namespace],
  ];
}
