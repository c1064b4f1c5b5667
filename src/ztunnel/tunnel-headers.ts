/**
 * Headers of CONNECT and of its answer: `baggage`, `forwarded`, `traceparent`, and the article's extra one
 * (ztunnel.md §3.6, seed-design.md §4.4). They inform; nobody may decide by them.
 */
import { formatSocketAddress, ipFamily, type SocketAddress } from '../base/address.ts';
import type { Random } from '../base/random.ts';
import type { Preset } from '../config/preset.ts';
import type { TunnelHeaders } from '../hbone/seam.ts';
import type { Service, Workload } from '../mesh/model.ts';
import type { Sampler } from '../telemetry/tracing/sampler.ts';
import { formatTraceparent, newSpanId, newTraceId } from '../telemetry/tracing/trace-context.ts';

export interface TunnelHeaderFacts {
  readonly source: Workload;
  readonly client: SocketAddress;
  readonly service: Service | undefined;
  readonly authority: string;
}

/** `sampler`: whose traces are kept; without one nobody's is. */
export function tunnelHeaders(
  facts: TunnelHeaderFacts,
  preset: Preset,
  random: Random,
  sampler?: Sampler,
): TunnelHeaders {
  const { source, client, service, authority } = facts;
  const host = service === undefined ? '' : `;host=${service.hostname}`;
  const headers: (readonly [string, string])[] = [
    ['baggage', baggage(source)],
    ['forwarded', `for="${formatSocketAddress(client)}"${host}`],
    ['traceparent', newTraceparent(random, sampler)],
  ];
  if (preset.originalDstHostHeader) headers.push(['x-envoy-original-dst-host', authority]);
  return headers;
}

/** The outbound hop of this connection: its span, when it is sampled, has these ids. */
function newTraceparent(random: Random, sampler: Sampler | undefined): string {
  const traceId = newTraceId(random);
  const sampled = sampler?.samples(traceId, undefined) ?? false;
  return formatTraceparent({ traceId, spanId: newSpanId(random), sampled });
}

/**
 * Of a tunnel to another network's gateway, which carries many connections inside: so nothing in them may differ from one
 * connection to the next.
 */
export function outerTunnelHeaders(source: Workload, client: SocketAddress, service: Service): TunnelHeaders {
  const node = ipFamily(client.ip) === 6 ? `[${client.ip}]` : client.ip;
  return [
    ['baggage', baggage(source)],
    ['forwarded', `for="${node}";host=${service.hostname}`],
  ];
}

const baggageOf = new WeakMap<Workload, string>();

/** Members in ztunnel's order; those without a value are left out. Made once for each record of a workload. */
export function baggage(workload: Workload): string {
  return baggageOf.getOrInsertComputed(workload, makeBaggage);
}

function makeBaggage(workload: Workload): string {
  const members: readonly (readonly [string, string | undefined])[] = [
    ['k8s.cluster.name', workload.clusterId],
    ['k8s.namespace.name', workload.namespace],
    [`k8s.${workload.workloadType}.name`, workload.workloadName],
    ['service.name', workload.canonicalName],
    ['service.version', workload.canonicalRevision],
    ['cloud.region', workload.locality?.region],
    ['cloud.availability_zone', workload.locality?.zone],
  ];
  return members.flatMap(([key, value]) => (value ? [`${key}=${value}`] : [])).join(',');
}

/** The first of a name in lower case. */
export function headerOf(headers: TunnelHeaders, name: string): string | undefined {
  return headers.find(([each]) => each === name)?.[1];
}
