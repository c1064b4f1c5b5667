import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { EventLoopDelay } from '../../../src/telemetry/event-loop-delay.ts';
import type { MetricShape } from '../../../src/telemetry/metric-shape.ts';
import { CellRegistry } from '../../../src/telemetry/metrics.ts';
import { type TrafficLabels, unknownWorkload } from '../../../src/telemetry/traffic-labels.ts';
import { createTrafficMetrics } from '../../../src/telemetry/traffic-metrics.ts';

async function rendered(registry: CellRegistry, openMetrics: boolean) {
  const { contentType, body } = registry.render(openMetrics);
  return { contentType, body: await text(Readable.from(body)) };
}

const labels: TrafficLabels = {
  reporter: 'source',
  source: { ...unknownWorkload, workload: 'sleep', principal: 'spiffe://cluster.local/ns/default/sa/sleep' },
  destination: { ...unknownWorkload, workload: 'productpage-v1' },
  destinationService: 'productpage.default.svc.cluster.local',
  destinationServiceName: 'productpage',
  destinationServiceNamespace: 'default',
  connectionSecurityPolicy: 'mutual_tls',
};

t.test('cells are rendered in both text forms', async (t) => {
  const registry = new CellRegistry();
  registry.counter('ambit_things_total', 'Things.', { kind: 'a"b' }).value += 3;
  registry.gauge('ambit_open', 'Open.').value = 2;
  const histogram = registry.histogram('ambit_wait_ms', 'Wait.', [1, 10]);
  for (const value of [0.5, 1, 5, 100]) histogram.observe(value);
  const { body, contentType } = await rendered(registry, false);
  t.match(contentType, /^text\/plain; version=0\.0\.4/);
  t.match(body, 'ambit_things_total{kind="a\\"b"} 3\n');
  t.match(body, 'ambit_open 2\n');
  t.match(body, 'ambit_wait_ms_bucket{le="1"} 2\nambit_wait_ms_bucket{le="10"} 3\nambit_wait_ms_bucket{le="+Inf"} 4\n');
  t.match(body, 'ambit_wait_ms_sum 106.5\nambit_wait_ms_count 4\n');
  const open = await rendered(registry, true);
  t.match(open.contentType, /^application\/openmetrics-text/);
  t.match(open.body, 'ambit_things_total{kind="a\\"b"} 3\n');
  t.match(open.body, /# EOF\n$/);
});

t.test('the same labels are the same cell, and a family is bounded', async (t) => {
  const registry = new CellRegistry({ maxSeries: 2 });
  t.equal(registry.counter('c_total', 'C.', { a: '1' }), registry.counter('c_total', 'C.', { a: '1' }));
  registry.counter('c_total', 'C.', { a: '2' }).value = 5;
  for (let i = 3; i < 100; i++) registry.counter('c_total', 'C.', { a: String(i) }).value++;
  const { body } = await rendered(registry, false);
  t.match(body, 'c_total{a="overflow"} 97\n');
  t.equal(body.match(/^c_total/gm)?.length, 3);
});

t.test('a connection counts opened, live bytes and closed with Istio’s labels', async (t) => {
  const registry = new CellRegistry();
  const connection = createTrafficMetrics(registry).connection(labels);
  connection.opened();
  connection.transferred(10, 20);
  connection.transferred(1, 2);
  connection.closed('DENY');
  const { body } = await rendered(registry, false);
  const line = (name: string) => body.split('\n').find((each) => each.startsWith(`${name}{`)) ?? '';
  t.match(line('istio_tcp_connections_opened_total'), /response_flags="-".*\} 1$/);
  t.match(line('istio_tcp_received_bytes_total'), /\} 11$/);
  t.match(line('istio_tcp_sent_bytes_total'), /\} 22$/);
  t.match(line('istio_tcp_connections_closed_total'), /response_flags="DENY".*\} 1$/);
  t.match(line('istio_tcp_connections_failed_total'), /response_flags="DENY".*\} 1$/);
  t.match(
    line('istio_tcp_connections_opened_total'),
    /^istio_tcp_connections_opened_total\{reporter="source",source_workload="sleep",source_canonical_service="unknown",.*source_principal="spiffe:\/\/cluster\.local\/ns\/default\/sa\/sleep",.*destination_service="productpage\.default\.svc\.cluster\.local",.*request_protocol="tcp",.*connection_security_policy="mutual_tls"/,
  );
});

t.test('a request counts once, with its code, flags and sizes', async (t) => {
  const registry = new CellRegistry();
  const metrics = createTrafficMetrics(registry);
  const request = { requestProtocol: 'http', responseCode: 403, responseFlags: '-', grpcStatus: undefined } as const;
  metrics.request({ ...labels, reporter: 'waypoint' }, request, 3, 0, 19);
  const { body } = await rendered(registry, false);
  t.match(body, /istio_requests_total\{reporter="waypoint".*response_code="403".*\} 1\n/);
  t.match(
    body,
    /istio_request_duration_milliseconds_bucket\{le="5".*\} 1\n|istio_request_duration_milliseconds_bucket\{.*le="5".*\} 1\n/,
  );
  t.match(body, /istio_response_bytes_sum\{.*\} 19\n/);
});

t.test('a waypoint’s series have Istio’s 25 labels in their order, and Envoy’s buckets', async (t) => {
  const registry = new CellRegistry();
  const metrics = createTrafficMetrics(registry);
  const atWaypoint = { ...labels, reporter: 'waypoint' } as const;
  metrics.request(
    atWaypoint,
    { requestProtocol: 'grpc', responseCode: 200, responseFlags: '-', grpcStatus: '5' },
    3,
    4,
    5,
  );
  metrics.messages(atWaypoint, 2, 7);
  metrics.connection(atWaypoint).closed('UF');
  const { body } = await rendered(registry, false);
  const names = (metric: string) =>
    [...(new RegExp(`^${metric}\\{(.*)\\}`, 'm').exec(body)?.[1] ?? '').matchAll(/(\w+)="/g)]
      .map(([, name]) => name)
      .join(' ');
  const common =
    'reporter source_workload source_canonical_service source_canonical_revision source_workload_namespace source_principal ' +
    'source_app source_version source_cluster destination_workload destination_workload_namespace destination_principal ' +
    'destination_app destination_version destination_service destination_canonical_service destination_canonical_revision ' +
    'destination_service_name destination_service_namespace destination_cluster';
  t.equal(
    names('istio_requests_total'),
    `${common} request_protocol response_code grpc_response_status response_flags connection_security_policy`,
  );
  t.equal(
    names('istio_tcp_connections_closed_total'),
    `${common} request_protocol response_flags connection_security_policy`,
  );
  t.equal(names('istio_request_messages_total'), common);
  t.match(body, /^istio_request_messages_total\{.*\} 2$/m);
  t.match(body, /^istio_response_messages_total\{.*\} 7$/m);
  t.notMatch(body, 'istio_tcp_connections_failed_total');
  for (const metric of ['istio_request_duration_milliseconds', 'istio_request_bytes', 'istio_response_bytes']) {
    const bounds = [...body.matchAll(new RegExp(`^${metric}_bucket\\{.*le="([^"]+)"`, 'gm'))].map(([, bound]) => bound);
    t.equal(
      bounds.join(' '),
      '0.5 1 5 10 25 50 100 250 500 1000 2500 5000 10000 30000 60000 300000 600000 1800000 3600000 +Inf',
      metric,
    );
  }
});

const shape: MetricShape = {
  key: 'a',
  fromTraffic: true,
  changes: new Map([
    ['istio_request_bytes', { disabled: true, remove: [], set: [] }],
    ['istio_requests_total', { disabled: false, remove: ['source_principal'], set: [['request_host', 'a"b']] }],
  ]),
  overflow: undefined,
};

t.test('a shape takes metrics and labels away and adds others', async (t) => {
  const registry = new CellRegistry();
  const metrics = createTrafficMetrics(registry);
  const request = { requestProtocol: 'http', responseCode: 200, responseFlags: '-', grpcStatus: undefined } as const;
  metrics.request({ ...labels, reporter: 'waypoint', shape }, request, 3, 4, 5);
  const { body } = await rendered(registry, false);
  t.notMatch(body, 'istio_request_bytes');
  t.match(body, /^istio_requests_total\{.*request_host="a\\"b".*\} 1$/m);
  t.notMatch(body, /^istio_requests_total\{.*source_principal/m);
  t.match(body, /^istio_response_bytes_sum\{.*source_principal.*\} 5$/m);
});

t.test('sets that a shape no longer tells apart share a cell until the last of them goes', async (t) => {
  const registry = new CellRegistry();
  const metrics = createTrafficMetrics(registry);
  const request = { requestProtocol: 'http', responseCode: 200, responseFlags: '-', grpcStatus: undefined } as const;
  const of = (workload: string): TrafficLabels => ({
    ...labels,
    shape: {
      ...shape,
      changes: new Map([['istio_requests_total', { disabled: false, remove: ['source_workload'], set: [] }]]),
    },
    source: { ...unknownWorkload, workload },
  });
  for (const name of ['a', 'b']) metrics.request(of(name), request, 1, 1, 1);
  const count = async () => (await rendered(registry, false)).body.match(/^istio_requests_total\{.*\} (\d+)$/m)?.[1];
  t.equal(await count(), '2');
  const [, requests] = metrics.holders;
  const [first, second] = [...(requests?.idle(0, 0) ?? []), ...(requests?.idle(1, 0) ?? [])];
  if (first === undefined || second === undefined) throw new Error('nothing is idle');
  requests?.drop([first]);
  t.equal(await count(), '2', 'the other still counts in it');
  requests?.drop([second]);
  t.equal(await count(), undefined);
});

t.test('requests of one label set are counted by their class, however many classes there are', async (t) => {
  const registry = new CellRegistry();
  const metrics = createTrafficMetrics(registry);
  for (let i = 0; i < 100; i++) {
    const [responseCode, grpcStatus] = [200 + (i % 50), i % 2 === 0 ? undefined : '0'];
    metrics.request(labels, { requestProtocol: 'http', responseCode, responseFlags: '-', grpcStatus }, 1, 2, 3);
  }
  const { body } = await rendered(registry, false);
  const counts = [...body.matchAll(/^istio_requests_total\{.*\} (\d+)$/gm)].map(([, count]) => count);
  t.same(counts, Array(50).fill('2'));
});

t.test('process metrics are there, without those that walk every socket', async (t) => {
  const registry = new CellRegistry();
  registry.addProcessMetrics();
  for (const openMetrics of [false, true]) {
    const { body } = await rendered(registry, openMetrics);
    t.match(body, 'process_resident_memory_bytes');
    t.match(body, 'process_open_fds');
    t.notMatch(body, 'nodejs_active_handles');
  }
});

t.test('the delay of the event loop is that of its turns since the last scrape', async (t) => {
  const delay = new EventLoopDelay();
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const seconds = () => {
    const text = [...delay.pieces(false)].join('');
    return ['0.5', '0.99', '1'].map((quantile) => Number(text.split(`quantile="${quantile}"} `)[1]?.split('\n')[0]));
  };
  for (let i = 0; i < 3; i++) await turn();
  seconds();
  const endMs = performance.now() + 20;
  while (performance.now() < endMs);
  await turn();
  await turn();
  const [median = 0, , longest = 0] = seconds();
  t.ok(longest >= 0.02, `${longest} s`);
  t.ok(median <= longest);
  t.same(seconds(), [0, 0, 0], 'since then there was no turn');
});
