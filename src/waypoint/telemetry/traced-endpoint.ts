/** An endpoint whose CONNECT carries a trace's context, so that the hop behind it is part of the trace. */
import type { TracingRule } from '../../route/telemetry/rules.ts';
import { formatTraceparent, type TraceContext } from '../../telemetry/tracing/trace-context.ts';
import type { UpstreamEndpoint } from '../../upstream/endpoint.ts';

/** The same endpoint where there is no CONNECT, or contexts are not sent on. */
export function withTraceparent(
  endpoint: UpstreamEndpoint,
  context: TraceContext,
  rule: TracingRule | undefined,
): UpstreamEndpoint {
  const { transport } = endpoint;
  if (transport.kind !== 'tunnel' || rule?.propagate === false) return endpoint;
  const { request } = transport;
  const headers = [...request.headers, ['traceparent', formatTraceparent(context)] as const];
  return { ...endpoint, transport: { kind: 'tunnel', request: { ...request, headers } } };
}
