/** Label sets of traffic metrics: bounded, dropped when their workloads have left, and never while they are counted in. */
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { startSeriesExpiry } from '../../../src/app/series-expiry.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { CellRegistry } from '../../../src/telemetry/metrics.ts';
import { type TrafficLabels, unknownWorkload } from '../../../src/telemetry/traffic-labels.ts';
import { createTrafficMetrics } from '../../../src/telemetry/traffic-metrics.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeChange, makeWorkload } from '../../support/mesh-records.ts';

const minuteMs = 60_000;

function labelsOf(source: string, destination: string): TrafficLabels {
  const side = (name: string) => ({
    ...unknownWorkload,
    workload: name,
    namespace: 'default',
    app: name,
    canonicalService: name,
    version: 'latest',
    canonicalRevision: 'latest',
    cluster: 'Kubernetes',
  });
  return {
    reporter: 'source',
    source: side(source),
    destination: destination === 'unknown' ? unknownWorkload : side(destination),
    destinationService: 'unknown',
    destinationServiceName: 'unknown',
    destinationServiceNamespace: 'unknown',
    connectionSecurityPolicy: 'mutual_tls',
  };
}

function setup(maxLabelSets?: number) {
  const metrics = new CellRegistry();
  const traffic = createTrafficMetrics(metrics, maxLabelSets);
  const mesh = new MeshStore();
  const [web, db] = ['web', 'db'].map((name) => makeWorkload({ name }));
  if (web === undefined || db === undefined) throw new Error('no workloads');
  mesh.apply(makeChange({ workloads: [web, db] }));
  const clock = new FakeClock();
  const expiry = startSeriesExpiry({
    holders: traffic.holders,
    mesh,
    metrics,
    clock,
    logger: silentLogger,
    afterMs: 15 * minuteMs,
  });
  const lines = async (name: string) =>
    (await text(Readable.from(metrics.render(false).body))).split('\n').filter((line) => line.startsWith(name));
  return { metrics, traffic, mesh, clock, expiry, web, db, lines };
}

function connect(traffic: ReturnType<typeof createTrafficMetrics>, labels: TrafficLabels) {
  const connection = traffic.connection(labels);
  connection.opened();
  connection.transferred(1, 2);
  return connection;
}

t.test('sets of a workload that has left go when nothing has moved for the time, and restart at 0', async (t) => {
  const { traffic, mesh, clock, db, lines } = setup();
  const labels = labelsOf('web', 'db');
  connect(traffic, labels).closed('CONNECT');
  mesh.apply(makeChange({ removedWorkloads: [db.uid] }));
  await clock.advanceAsync(15 * minuteMs);
  t.equal((await lines('istio_tcp_')).length, 5, 'not yet: the first look counts from when it was made');
  await clock.advanceAsync(2 * minuteMs);
  t.same(await lines('istio_tcp_'), []);
  t.same(await lines('ambit_metrics_expired_total'), ['ambit_metrics_expired_total 1']);
  t.same(await lines('ambit_metrics_label_sets'), ['ambit_metrics_label_sets 0']);
  // Whoever still holds the labels is counted in a new set.
  connect(traffic, labels);
  t.match(await lines('istio_tcp_connections_opened_total'), [/ 1$/]);
});

t.test('sets whose workloads are there are kept, however long nothing moves', async (t) => {
  const { traffic, mesh, clock, web, lines } = setup();
  connect(traffic, labelsOf('web', 'db')).closed('-');
  connect(traffic, labelsOf('web', 'unknown')).closed('-');
  await clock.advanceAsync(60 * minuteMs);
  t.equal((await lines('istio_tcp_connections_closed_total')).length, 2);
  mesh.apply(makeChange({ removedWorkloads: [web.uid] }));
  await clock.advanceAsync(minuteMs);
  t.same(await lines('istio_tcp_'), []);
});

t.test('a set is kept while a connection lives in it, and as long again after it moved', async (t) => {
  const { traffic, mesh, clock, db, lines } = setup();
  const labels = labelsOf('web', 'db');
  const connection = connect(traffic, labels);
  mesh.apply(makeChange({ removedWorkloads: [db.uid] }));
  await clock.advanceAsync(60 * minuteMs);
  connection.transferred(10, 10);
  connection.closed('-');
  t.match(await lines('istio_tcp_received_bytes_total'), [/ 11$/]);
  await clock.advanceAsync(15 * minuteMs);
  t.match(await lines('istio_tcp_received_bytes_total'), [/ 11$/]);
  await clock.advanceAsync(2 * minuteMs);
  t.same(await lines('istio_tcp_'), []);
});

t.test('a deployment that has another pod is still there', async (t) => {
  const { traffic, mesh, clock, db, lines } = setup();
  connect(traffic, labelsOf('web', 'db')).closed('-');
  const another = makeWorkload({ ...db, uid: 'another', name: 'db-2' });
  mesh.apply(makeChange({ workloads: [another], removedWorkloads: [db.uid] }));
  await clock.advanceAsync(60 * minuteMs);
  t.equal((await lines('istio_tcp_connections_closed_total')).length, 1);
});

t.test('requests of a waypoint go the same way', async (t) => {
  const { traffic, mesh, clock, db, lines } = setup();
  const request = { requestProtocol: 'http', responseCode: 200, responseFlags: '-', grpcStatus: undefined } as const;
  traffic.request(labelsOf('web', 'db'), request, 1, 2, 3);
  mesh.apply(makeChange({ removedWorkloads: [db.uid] }));
  await clock.advanceAsync(17 * minuteMs);
  t.same(await lines('istio_'), []);
});

t.test('stopped, nothing is looked at any more', async (t) => {
  const { traffic, mesh, clock, db, expiry, lines } = setup();
  connect(traffic, labelsOf('web', 'db')).closed('-');
  mesh.apply(makeChange({ removedWorkloads: [db.uid] }));
  expiry.stop();
  await clock.advanceAsync(60 * minuteMs);
  t.equal((await lines('istio_tcp_connections_closed_total')).length, 1);
  t.equal(clock.pending, 0);
});

t.test('beyond the limit one set takes the rest: sums stay right, and it is told', async (t) => {
  const { traffic, lines } = setup(10);
  for (let i = 0; i < 100; i++) connect(traffic, labelsOf(`web-${i}`, 'db')).closed('-');
  const opened = await lines('istio_tcp_connections_opened_total');
  t.equal(opened.length, 11);
  t.equal(
    opened.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0),
    100,
  );
  const overflow = opened.find((line) => line.includes('overflow'));
  t.match(overflow, /reporter="source",source_workload="overflow".*connection_security_policy="mutual_tls".*\} 90$/);
  t.same(await lines('ambit_metrics_overflowed_total'), ['ambit_metrics_overflowed_total{family="istio_tcp"} 90']);
});

t.test('room that was made is used by the next', async (t) => {
  const { traffic, mesh, clock, db, lines } = setup(1);
  connect(traffic, labelsOf('web', 'db')).closed('-');
  const late = labelsOf('web', 'unknown');
  connect(traffic, late).closed('-');
  mesh.apply(makeChange({ removedWorkloads: [db.uid] }));
  await clock.advanceAsync(17 * minuteMs);
  connect(traffic, late).closed('-');
  t.ok((await lines('istio_tcp_connections_opened_total')).some((line) => /source_workload="web".* 1$/.test(line)));
});

t.test(
  'a set whose labels came from traffic goes when nothing moves in it, though its workloads are there',
  async (t) => {
    const { traffic, clock, lines } = setup();
    const changes = new Map([
      ['istio_requests_total', { disabled: false, remove: [], set: [['request_host', 'a'] as const] }],
    ]);
    const shaped = { ...labelsOf('web', 'db'), shape: { key: 'a', changes, fromTraffic: true, overflow: undefined } };
    const request = { requestProtocol: 'http', responseCode: 200, responseFlags: '-', grpcStatus: undefined } as const;
    traffic.request(shaped, request, 1, 1, 1);
    traffic.request(labelsOf('web', 'db'), request, 1, 1, 1);
    t.equal((await lines('istio_requests_total')).length, 2);
    await clock.advanceAsync(20 * minuteMs);
    t.equal((await lines('istio_requests_total')).length, 1);
  },
);
