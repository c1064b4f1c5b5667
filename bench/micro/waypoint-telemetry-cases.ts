/**
 * What a waypoint's telemetry costs a request, beside everything else about it: with nothing configured, and with each of what
 * can be: a log in text and in JSON, a filter, labels from expressions, spans, and counting messages in 64 KiB.
 */
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { unscrapedMetrics } from '../../src/base/metrics.ts';
import { systemRandom } from '../../src/base/random.ts';
import { modernPreset } from '../../src/config/preset.ts';
import { GrpcMessageCounter } from '../../src/http/grpc-message-counter.ts';
import { MeshStore } from '../../src/mesh/store.ts';
import { compileExpression, type Expression } from '../../src/route/cel/expression.ts';
import { trafficAttributes } from '../../src/route/telemetry/attributes.ts';
import { defaultJsonLabels, defaultTextFormat } from '../../src/route/telemetry/default-format.ts';
import type { TrafficFacts } from '../../src/route/telemetry/facts.ts';
import { jsonFormat } from '../../src/route/telemetry/json-format.ts';
import { type LogFormat, textFormat } from '../../src/route/telemetry/log-format.ts';
import type { TelemetryRules, TracingRule } from '../../src/route/telemetry/rules.ts';
import { createAccessLog } from '../../src/telemetry/access-log.ts';
import { LogLevels } from '../../src/telemetry/levels.ts';
import { CellRegistry } from '../../src/telemetry/metrics.ts';
import { createTrafficMetrics } from '../../src/telemetry/traffic-metrics.ts';
import type { Tunnel, WaypointServices } from '../../src/waypoint/context.ts';
import type { Finished } from '../../src/waypoint/finished.ts';
import { stageNames } from '../../src/waypoint/names.ts';
import { reportRequest } from '../../src/waypoint/report.ts';
import { watchRequest } from '../../src/waypoint/telemetry/request-telemetry.ts';
import { WaypointTelemetry } from '../../src/waypoint/telemetry/waypoint-telemetry.ts';
import type { Operation } from './measure.ts';
import { serviceAt, workloadAt } from './mesh-world.ts';
import type { MicroCase } from './micro-case.ts';

const nothing: TelemetryRules = { accessLogs: [], metrics: undefined, tracing: undefined };

export const waypointTelemetryCases: readonly MicroCase[] = [
  single('waypoint-request', 6_000, () => request(undefined)),
  single('waypoint-request-text-log', 30_000, () => request(logged(format(textFormat(defaultTextFormat))))),
  single('waypoint-request-json-log', 30_000, () => request(logged(format(jsonFormat(defaultJsonLabels))))),
  single('waypoint-request-filtered', 12_000, () =>
    request(logged(format(textFormat(defaultTextFormat)), expression('response.code >= 400'))),
  ),
  single('waypoint-request-labels', 16_000, () => request(labelled())),
  single('waypoint-request-spans', 60_000, () => request({ ...nothing, tracing })),
  single('grpc-messages-64k', 3_000, grpcMessages),
];

function single(group: string, budgetNs: number, prepare: () => Operation): MicroCase {
  return { group, size: 1, unit: undefined, budgetNs, prepare };
}

const tracing: TracingRule = {
  provider: { kind: 'environment' },
  samplingPercent: 100,
  byRequestId: true,
  customTags: [],
  istioTags: true,
  propagate: true,
};

function format(made: LogFormat | { readonly problem: string }): LogFormat {
  if ('problem' in made) throw new Error(made.problem);
  return made;
}

function expression(source: string): Expression<TrafficFacts> {
  const made = compileExpression(source, trafficAttributes);
  if ('problem' in made) throw new Error(made.problem);
  return made;
}

function logged(lineFormat: LogFormat, filter?: Expression<TrafficFacts>): TelemetryRules {
  return { ...nothing, accessLogs: [{ provider: { kind: 'file', name: 'f', path: 'f', format: lineFormat }, filter }] };
}

function labelled(): TelemetryRules {
  const set = [
    ['request_host', expression('request.host')] as const,
    ['request_method', expression('request.method')] as const,
  ];
  const override = { disabled: false, remove: ['source_principal'], set };
  return {
    ...nothing,
    metrics: { overrides: new Map([['istio_requests_total', override]]), reportingIntervalMs: undefined },
  };
}

/** A request is watched from its start, goes on, and is told about. */
function request(rules: TelemetryRules | undefined): Operation {
  let told = 0;
  const tell = ({ length }: { readonly length: number }) => {
    told += length;
  };
  const service = serviceAt(1);
  const [client, pod] = [workloadAt(1, []), workloadAt(2, [service])];
  const levels = new LogLevels();
  levels.set('access=off', true);
  const services = {
    preset: modernPreset,
    names: stageNames(modernPreset),
    mesh: new MeshStore(),
    own: () => undefined,
    identity: 'spiffe://cluster.local/ns/default/sa/waypoint',
    traffic: createTrafficMetrics(new CellRegistry()),
    accessLog: createAccessLog({ levels, format: 'plain', clock: systemClock, sink: { write: () => {} } }),
    clock: systemClock,
    random: systemRandom,
    telemetry: new WaypointTelemetry(
      {
        lines: { write: (_path, line) => tell(line) },
        tracing:
          rules?.tracing === undefined
            ? undefined
            : { sampler: { samples: () => true }, start: () => ({ end: (list) => tell(list) }) },
      },
      {
        clock: systemClock,
        random: systemRandom,
        logger: silentLogger,
        metrics: unscrapedMetrics,
        pools: undefined as never,
        endpointOf: () => undefined,
      },
    ),
  } as unknown as WaypointServices;
  const port = { servicePort: 8080, targetPort: 8080, appProtocol: 'http11', name: 'http' } as const;
  const tunnel: Tunnel = {
    destination: { kind: 'service', service, port, address: { ip: '10.96.0.1', port: 8080 } },
    authority: '10.96.0.1:8080',
    clientIdentity: client.identity,
    client: { ip: '10.0.0.1', port: 40_000 },
    local: { ip: '10.0.0.3', port: 15_008 },
    localIdentity: pod.identity,
    clientWorkload: client,
    openedMs: 0,
  };
  const headers = ['user-agent', 'curl/8.5', 'accept', '*/*', 'x-request-id', '5d8f9c7b-0000-4000-8000-000000000000'];
  const endpoint = { workload: pod, address: { ip: '10.0.0.2', port: 8080 }, transport: { kind: 'plain' } } as never;
  return (i) => {
    told = 0;
    const startedMs = systemClock.nowMs();
    const watch =
      rules === undefined
        ? undefined
        : watchRequest(services, tunnel, rules, {
            headers,
            requestId: '5d8f9c7b-0000-4000-8000-000000000000',
            hasBody: false,
            grpc: false,
            startedMs,
          });
    watch?.forwarding('/products/1?full=true', 'server:8080', headers);
    const finished: Finished = {
      protocol: 'http',
      request: {
        method: 'GET',
        path: '/products/1?full=true',
        version: '1.1',
        authority: 'server:8080',
        userAgent: 'curl/8.5',
        forwardedFor: undefined,
        requestId: '5d8f9c7b-0000-4000-8000-000000000000',
        route: 'default/products/0/0',
        headers,
        targetLength: 21,
      },
      service,
      servicePort: 8080,
      endpoint,
      link: undefined,
      status: 200,
      flags: '-',
      details: 'via_upstream',
      grpcStatus: undefined,
      requestBytes: 0,
      responseBytes: i & 1023,
      startedMs,
      failure: undefined,
      audited: [],
      responseHeaders: ['content-type', 'text/plain', 'content-length', '350'],
    };
    reportRequest(services, tunnel, finished, watch);
    return told + 1;
  };
}

/** Sixteen messages of 4 KiB in a chunk. */
function grpcMessages(): Operation {
  const message = Buffer.alloc(4096);
  message.writeUInt32BE(4091, 1);
  const chunk = Buffer.concat(Array.from({ length: 16 }, () => message));
  const counter = new GrpcMessageCounter();
  return () => {
    counter.take(chunk);
    return counter.count;
  };
}
