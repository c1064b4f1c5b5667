/**
 * The span of one hop. The outbound one is what its CONNECT's `traceparent` names; the inbound one adopts that as its
 * parent, so that both ends of a tunnel are one trace. Names of attributes are OpenTelemetry's where it has some.
 *
 * I1: a `traceparent` of a peer is only believed to be a number: it decides nothing but whether a span is kept, and with
 *     a sampler that does not follow parents not even that.
 */

import { ipFamily } from '../base/address.ts';
import type { ResponseFlag } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { Attributes, Span, Tracing } from '../telemetry/tracing/span.ts';
import { newSpanId, newTraceId, parseTraceparent } from '../telemetry/tracing/trace-context.ts';
import type { HopFacts, HopParty } from './hop-facts.ts';
import { namespaceOf } from './hop-labels.ts';

/** Undefined: this hop is not traced. */
export function startHopSpan(facts: HopFacts, tracing: Tracing, random: Random): Span | undefined {
  const given = parseTraceparent(facts.traceparent);
  if (facts.direction === 'outbound') {
    // Without a CONNECT there is no other end that could take the trace up.
    if (given?.sampled !== true) return undefined;
    return tracing.start({ name: 'hbone outbound', kind: 'client', context: given, parentSpanId: undefined });
  }
  const traceId = given?.traceId ?? newTraceId(random);
  if (!tracing.sampler.samples(traceId, given?.sampled)) return undefined;
  const context = { traceId, spanId: newSpanId(random), sampled: true };
  return tracing.start({ name: 'hbone inbound', kind: 'server', context, parentSpanId: given?.spanId });
}

export interface HopResult {
  readonly flag: ResponseFlag;
  /** From client to server, and back. */
  readonly toUpstream: number;
  readonly toDownstream: number;
}

export function hopAttributes(facts: HopFacts, result: HopResult): Attributes {
  const { direction, source, destination, authority, service } = facts;
  return [
    ['network.transport', 'tcp'],
    ['network.type', ipFamily(source.address.ip) === 6 ? 'ipv6' : 'ipv4'],
    ['client.address', source.address.ip],
    ['client.port', source.address.port],
    ['server.address', destination.address.ip],
    ['server.port', destination.address.port],
    ['error.type', result.flag === '-' ? undefined : result.flag],
    ['mesh.direction', direction],
    ['mesh.hbone.authority', authority],
    ...party('mesh.source', source),
    ...party('mesh.destination', destination),
    ['mesh.destination.service', service?.hostname],
    ['mesh.response_flag', result.flag],
    ['mesh.bytes_received', result.toUpstream],
    ['mesh.bytes_sent', result.toDownstream],
  ];
}

/** Who is on another network is named as in the access line: by what its baggage says, as far as that is believed. */
function party(prefix: string, { workload, identity, names }: HopParty): Attributes {
  return [
    [`${prefix}.principal`, identity],
    [`${prefix}.workload`, workload?.workloadName ?? (names?.workloadName || names?.canonicalName || undefined)],
    [`${prefix}.pod`, workload?.name],
    [`${prefix}.namespace`, workload?.namespace ?? namespaceOf(identity)],
    [`${prefix}.cluster`, (workload ?? names)?.clusterId || undefined],
  ];
}
