/**
 * The spans of one request or TCP connection: a server's, whose parent the client named, and a client's below it, whose context
 * goes upstream. The tunnel that it came through is another trace, ztunnel's: a request links to it, a connection is part of it.
 */

import { parseSpiffeId } from '../../base/spiffe.ts';
import type { HeaderList } from '../../http/header-list.ts';
import type { TrafficFacts } from '../../route/telemetry/facts.ts';
import type { TracingRule } from '../../route/telemetry/rules.ts';
import type { Attributes, FinishedSpan, Span, SpanStart, Tracing } from '../../telemetry/tracing/span.ts';
import { newSpanId, newTraceId, parseTraceparent, type TraceContext } from '../../telemetry/tracing/trace-context.ts';
import type { Tunnel, WaypointServices } from '../context.ts';
import { samplesTrace } from './sample-trace.ts';
import { failed, spanAttributes } from './span-attributes.ts';
import { type Incoming, readTraceHeaders, withTraceHeaders } from './trace-headers.ts';

export interface RequestTrace {
  /** Of the server's span. */
  readonly context: TraceContext;
  /** What goes upstream, from now on a child of it. */
  forward(headers: HeaderList): HeaderList;
  /** The same for the CONNECT of a connection. */
  forwardConnection(): TraceContext;
  end(facts: TrafficFacts): void;
}

const fromEnvironment: TracingRule = {
  provider: { kind: 'environment' },
  samplingPercent: undefined,
  byRequestId: true,
  customTags: [],
  istioTags: true,
  propagate: true,
};
const defaultMaxTagLength = 256;

/** What a request that came with `headers` starts; undefined: it is not traced, and its headers pass as they are. */
export function startRequestTrace(
  services: WaypointServices,
  tunnel: Tunnel,
  rule: TracingRule | undefined,
  headers: HeaderList,
  requestId: string,
): RequestTrace | undefined {
  const used = rule ?? fromEnvironment;
  if (!isTraced(services, used)) return undefined;
  const incoming = readTraceHeaders(headers);
  const tunnels = parseTraceparent(tunnel.traceparent);
  const links = tunnels === undefined || tunnels.traceId === incoming.parent?.traceId ? [] : [tunnels];
  return startTrace(services, tunnel, used, incoming, requestId, links);
}

/** A TCP connection has no headers: its tunnel's context is its parent. */
export function startConnectionTrace(
  services: WaypointServices,
  tunnel: Tunnel,
  rule: TracingRule | undefined,
): RequestTrace | undefined {
  const used = rule ?? fromEnvironment;
  if (!isTraced(services, used)) return undefined;
  const parent = parseTraceparent(tunnel.traceparent);
  // ztunnel's word that it does not keep its own is none about ours.
  const sampled = parent?.sampled === true ? true : undefined;
  return startTrace(services, tunnel, used, { parent, sampled, w3c: true, b3: false, b3Headers: false }, undefined, []);
}

function isTraced({ telemetry }: WaypointServices, { provider }: TracingRule): boolean {
  return provider !== undefined && (provider.kind !== 'environment' || telemetry.tracing !== undefined);
}

function startTrace(
  services: WaypointServices,
  tunnel: Tunnel,
  rule: TracingRule,
  incoming: Incoming,
  requestId: string | undefined,
  links: readonly TraceContext[],
): RequestTrace {
  const { random, telemetry } = services;
  const traceId = incoming.parent?.traceId ?? newTraceId(random);
  const sampled = samplesTrace(rule, traceId, requestId, incoming.sampled, telemetry.tracing?.sampler);
  const server: TraceContext = { traceId, spanId: newSpanId(random), sampled };
  const client: TraceContext = { traceId, spanId: newSpanId(random), sampled };
  const service = telemetry.spanService ?? servedService(tunnel);
  const name = operationName(tunnel);
  const start = (
    kind: SpanStart['kind'],
    context: TraceContext,
    parentSpanId: string | undefined,
    more: Partial<SpanStart>,
  ) => startSpan(services, rule, { name, kind, context, parentSpanId, service, ...more });
  const serverSpan = sampled ? start('server', server, incoming.parent?.spanId, { links }) : undefined;
  let clientSpan: Span | undefined;
  const forwarded = () => {
    if (sampled) clientSpan ??= start('client', client, server.spanId, {});
  };
  return {
    context: server,
    forward(headers) {
      forwarded();
      if (!rule.propagate) return headers;
      const zipkin = rule.provider?.kind === 'zipkin';
      const forms = {
        w3c: incoming.w3c || !zipkin,
        b3: incoming.b3,
        b3Headers: incoming.b3Headers || (zipkin && !incoming.b3),
      };
      return withTraceHeaders(headers, forms, client, server.spanId);
    },
    forwardConnection() {
      forwarded();
      return client;
    },
    end(facts) {
      if (serverSpan === undefined) return;
      const maxTagLength = rule.provider?.kind === 'environment' ? defaultMaxTagLength : rule.provider?.maxTagLength;
      const attributes = spanAttributes(facts, {
        ...rule,
        maxTagLength: maxTagLength ?? defaultMaxTagLength,
        environment: telemetry.environment,
        trustDomain: parseSpiffeId(services.identity)?.trustDomain ?? '',
      });
      const error = failed(facts);
      clientSpan?.end([...attributes, ['retry_count', Math.max(0, facts.tries - 1)]], error);
      serverSpan.end(attributes, error);
    },
  };
}

function startSpan(services: WaypointServices, { provider }: TracingRule, start: SpanStart): Span {
  const { telemetry, clock } = services;
  if (provider?.kind === 'environment') return (telemetry.tracing as Tracing).start(start);
  const startMicros = Math.round(clock.wallMs() * 1000);
  const startedMs = clock.nowMs();
  return {
    end(attributes: Attributes, error: string | undefined) {
      if (provider === undefined) return;
      // From the clock that never goes back: a span cannot end before it began.
      const endMicros = startMicros + Math.round((clock.nowMs() - startedMs) * 1000);
      const finished: FinishedSpan = { ...start, startMicros, endMicros, attributes, error };
      telemetry.collectors.span(provider, finished);
    },
  };
}

/** `reviews.shop`: whom the client asked, as Istio names services in traces. */
function servedService({ destination }: Tunnel): string {
  const { name, namespace } =
    destination.kind === 'service'
      ? destination.service
      : {
          name: destination.workload.canonicalName || destination.workload.name,
          namespace: destination.workload.namespace,
        };
  return `${name}.${namespace}`;
}

/** As istiod decorates routes: `reviews.shop.svc.cluster.local:9080/*`. */
function operationName({ destination }: Tunnel): string {
  const { port } = destination.address;
  return destination.kind === 'service'
    ? `${destination.service.hostname}:${port}/*`
    : `${destination.workload.name}:${port}/*`;
}
