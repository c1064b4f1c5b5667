/**
 * What is told about a TCP connection, and when: that it was opened, what passed, every reporting interval and at its end, and then
 * its log lines and spans.
 *
 * I1: a connection is opened once and closed once in the metrics, and every byte is counted once.
 */
import type { TrafficFacts } from '../route/telemetry/facts.ts';
import { rulesFor } from '../route/telemetry/rules.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import type { Finished } from './finished.ts';
import { shapedTraffic, trafficLabels } from './labels.ts';
import { writeLogs } from './report.ts';
import { makeFacts, nothingWatched } from './telemetry/make-facts.ts';
import { shapeOf } from './telemetry/metric-shapes.ts';
import { defaultReportingIntervalMs } from './telemetry/periodic-reports.ts';
import { startConnectionTrace } from './telemetry/request-trace.ts';
import { withTraceparent } from './telemetry/traced-endpoint.ts';

/** Bytes so far, counted by whoever moves them. */
export interface ByteCounts {
  readonly toUpstream: number;
  readonly toDownstream: number;
}

export interface ConnectionWatch {
  /** The endpoint as it is to be connected to: with the trace's context in its CONNECT, where there is one. */
  readonly connecting: (endpoint: UpstreamEndpoint) => UpstreamEndpoint;
  /** It is decided where the connection goes, or that it goes nowhere. */
  opened(known: Finished, counts: ByteCounts): { over(finished: Finished): void };
}

export function watchConnection(
  services: WaypointServices,
  tunnel: Tunnel,
  serverName: string | undefined,
): ConnectionWatch {
  const { telemetry, traffic, clock } = services;
  const { destination } = tunnel;
  const service = destination.kind === 'service' ? destination.service.key : undefined;
  const rules = rulesFor(services.model().telemetry, services.own()?.key, service);
  const traced = rules?.tracing !== undefined || telemetry.tracing !== undefined;
  const trace = traced ? startConnectionTrace(services, tunnel, rules?.tracing) : undefined;
  const watched = { ...nothingWatched, serverName, context: trace?.context };
  return {
    connecting: (endpoint) =>
      trace === undefined ? endpoint : withTraceparent(endpoint, trace.forwardConnection(), rules?.tracing),
    opened(known, counts) {
      const factsOf = (finished: Finished) => makeFacts(services, tunnel, finished, watched, clock.nowMs());
      const shape = shapeOf(rules?.metrics, () => factsOf(known));
      const metrics = traffic.connection(shapedTraffic(trafficLabels(tunnel, known.service, known.endpoint), shape));
      metrics.opened();
      let reported: ByteCounts = { toUpstream: 0, toDownstream: 0 };
      const flush = () => {
        const { toUpstream, toDownstream } = counts;
        metrics.transferred(toUpstream - reported.toUpstream, toDownstream - reported.toDownstream);
        reported = { toUpstream, toDownstream };
      };
      const stop = telemetry.reports.add(rules?.metrics?.reportingIntervalMs ?? defaultReportingIntervalMs, flush);
      return {
        over(finished) {
          stop();
          flush();
          metrics.closed(finished.flags);
          let made: TrafficFacts | undefined;
          const facts = () => (made ??= factsOf(finished));
          writeLogs(services, tunnel, finished, clock.nowMs() - finished.startedMs, rules, facts);
          trace?.end(facts());
        },
      };
    },
  };
}
