/** What is told of each connection and request: the label set and its counters, the access log line, both as one hop. */
import { systemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/random.ts';
import { createAccessLog } from '../../src/telemetry/access-log.ts';
import { LogLevels } from '../../src/telemetry/levels.ts';
import type { LogFormat } from '../../src/telemetry/log-format.ts';
import { CellRegistry } from '../../src/telemetry/metrics.ts';
import type { AccessLog } from '../../src/telemetry/traffic.ts';
import { type TrafficLabels, unknownWorkload, type WorkloadLabels } from '../../src/telemetry/traffic-labels.ts';
import { createTrafficMetrics } from '../../src/telemetry/traffic-metrics.ts';
import { Hop } from '../../src/ztunnel/hop.ts';
import type { HopFacts } from '../../src/ztunnel/hop-facts.ts';
import type { Operation } from './measure.ts';
import { serviceAt, workloadAt } from './mesh-world.ts';
import type { MicroCase } from './micro-case.ts';

export const telemetryCases: readonly MicroCase[] = [
  single('connection-metrics', 20_000, connectionMetrics),
  single('request-metrics', 15_000, requestMetrics),
  single('access-line', 10_000, () => accessLine('plain')),
  single('access-line-json', 10_000, () => accessLine('json')),
  single('hop', 30_000, () => hop('info')),
  single('hop-unlogged', 20_000, () => hop('off')),
];

function single(group: string, budgetNs: number, prepare: () => Operation): MicroCase {
  return { group, size: 1, unit: undefined, budgetNs, prepare };
}

/** One of 16 pairs that talk to each other. */
function labelsAt(i: number): TrafficLabels {
  const side = (name: string): WorkloadLabels => ({
    ...unknownWorkload,
    workload: name,
    canonicalService: name,
    namespace: 'default',
    principal: `spiffe://cluster.local/ns/default/sa/${name}`,
  });
  return {
    reporter: 'source',
    source: side(`client-${i & 3}`),
    destination: side(`server-${(i >> 2) & 3}`),
    destinationService: 'server.default.svc.cluster.local',
    destinationServiceName: 'server',
    destinationServiceNamespace: 'default',
    connectionSecurityPolicy: 'mutual_tls',
  };
}

function connectionMetrics(): Operation {
  const traffic = createTrafficMetrics(new CellRegistry());
  const labels = Array.from({ length: 16 }, (_, i) => labelsAt(i));
  return (i) => {
    const connection = traffic.connection(labels[i & 15] as TrafficLabels);
    connection.opened();
    connection.transferred(100, i & 1023);
    connection.closed('-');
    return 1;
  };
}

function requestMetrics(): Operation {
  const traffic = createTrafficMetrics(new CellRegistry());
  const labels = Array.from({ length: 16 }, (_, i) => labelsAt(i));
  return (i) => {
    const request = { requestProtocol: 'http', responseCode: 200, responseFlags: '-', grpcStatus: undefined } as const;
    traffic.request(labels[i & 15] as TrafficLabels, request, i & 127, 100, i & 1023);
    return 1;
  };
}

function accessLogTo(write: (line: string) => void, level: 'info' | 'off', format: LogFormat = 'plain'): AccessLog {
  const levels = new LogLevels();
  levels.set(`access=${level}`, true);
  return createAccessLog({ levels, format, clock: systemClock, sink: { write } });
}

function accessLine(format: LogFormat): Operation {
  let bytes = 0;
  const accessLog = accessLogTo((line) => (bytes += line.length), 'info', format);
  return (i) => {
    bytes = 0;
    accessLog.write('complete', [
      ['src.addr', '10.0.0.1:40000'],
      ['src.workload', 'client-5d8f9c7b6-x2x7q'],
      ['src.namespace', 'default'],
      ['src.identity', 'spiffe://cluster.local/ns/default/sa/client'],
      ['dst.addr', '10.0.0.2:15008'],
      ['dst.hbone_addr', '10.0.0.2:8080'],
      ['dst.service', 'server.default.svc.cluster.local'],
      ['dst.workload', 'server-5d8f9c7b6-x2x7q'],
      ['dst.namespace', 'default'],
      ['dst.identity', 'spiffe://cluster.local/ns/default/sa/server'],
      ['direction', 'outbound'],
      ['bytes_sent', i & 1023],
      ['bytes_recv', 350],
      ['duration', '3ms'],
      ['error', undefined],
    ]);
    return bytes;
  };
}

/** A whole hop as the proxy keeps it: opened, established, ended. */
function hop(level: 'info' | 'off'): Operation {
  let bytes = 0;
  const accessLog = accessLogTo((line) => (bytes += line.length), level);
  const traffic = createTrafficMetrics(new CellRegistry());
  const service = serviceAt(1);
  const party = (n: number) => {
    const workload = workloadAt(n, [service]);
    return { address: { ip: workload.addresses[0] ?? '', port: 15_008 }, workload, identity: workload.identity };
  };
  const all = Array.from({ length: 16 }, (_, i): HopFacts => {
    const [source, destination] = [party(i & 3), party(100 + (i >> 2))];
    const authority = `${destination.address.ip}:8080`;
    return { direction: 'outbound', source, destination, authority, service, traceparent: undefined, hop: undefined };
  });
  return (i) => {
    bytes = 0;
    const one = new Hop(all[i & 15] as HopFacts, { traffic, accessLog, clock: systemClock, random: systemRandom });
    one.ended({
      kind: 'closed',
      by: 'downstream',
      status: 200,
      error: undefined,
      established: undefined,
      counts: { toUpstream: i & 1023, toDownstream: 350 },
    });
    return bytes;
  };
}
