/**
 * Headers of CONNECT and of its answer: `baggage`, `forwarded`, `traceparent`, and the article's extra one
 * (ztunnel.md §3.6, seed-design.md §4.4). They inform; nobody may decide by them.
 */
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { Random } from '../base/random.ts';
import type { Preset } from '../config/preset.ts';
import type { TunnelHeaders } from '../hbone/seam.ts';
import type { Service, Workload } from '../mesh/model.ts';

export interface TunnelHeaderFacts {
  readonly source: Workload;
  readonly client: SocketAddress;
  readonly service: Service | undefined;
  readonly authority: string;
}

export function tunnelHeaders(facts: TunnelHeaderFacts, preset: Preset, random: Random): TunnelHeaders {
  const { source, client, service, authority } = facts;
  const host = service === undefined ? '' : `;host=${service.hostname}`;
  const headers: (readonly [string, string])[] = [
    ['baggage', baggage(source)],
    ['forwarded', `for="${formatSocketAddress(client)}"${host}`],
    ['traceparent', `00-${hex(random, 4)}-${hex(random, 2)}-00`],
  ];
  if (preset.originalDstHostHeader) headers.push(['x-envoy-original-dst-host', authority]);
  return headers;
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

/** `words` × 8 hexadecimal digits, never all zero. */
function hex(random: Random, words: number): string {
  let text = '';
  for (let i = 0; i < words; i++) {
    const word = Math.floor(random.next() * 2 ** 32);
    text += ((i === 0 ? word | 1 : word) >>> 0).toString(16).padStart(8, '0');
  }
  return text;
}
