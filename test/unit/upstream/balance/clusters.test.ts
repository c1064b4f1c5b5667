/** The registry of clusters: one for each port and subset, for as long as both are there. */
import t from 'tap';
import { unscrapedMetrics } from '../../../../src/base/metrics.ts';
import { MeshStore } from '../../../../src/mesh/store.ts';
import { type Destination, emptyDestinationPolicy } from '../../../../src/route/destination.ts';
import { Clusters } from '../../../../src/upstream/balance/clusters.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../../../support/mesh-records.ts';
import { recordingLogger } from '../../../support/recording.ts';

const service = makeService({
  name: 'web',
  ports: new Map([
    [80, makePort(80, 8080)],
    [81, makePort(81, 8081)],
  ]),
});
const endpoint = (name: string, version: string) =>
  makeWorkload({
    name,
    addresses: [`10.0.0.${name.length}`],
    labels: { version },
    services: new Map([
      [
        service.key,
        new Map([
          [80, 8080],
          [81, 8081],
        ]),
      ],
    ]),
  });
const policies = {
  otherwise: {
    ...emptyDestinationPolicy,
    outlierDetection: {
      consecutive5xx: 1,
      consecutiveGatewayErrors: 0,
      splitLocalOrigin: false,
      consecutiveLocalOrigin: 5,
      intervalMs: 10_000,
      baseEjectionMs: 30_000,
      maxEjectionPercent: 100,
      minHealthPercent: 0,
    },
  },
  ports: new Map(),
};
const destination: Destination = {
  sources: [{ kind: 'DestinationRule', namespace: 'default', name: 'web' }],
  policies,
  subsets: new Map([['v1', { name: 'v1', labels: { version: 'v1' }, policies }]]),
};

function world() {
  const mesh = new MeshStore();
  mesh.apply(makeChange({ services: [service], workloads: [endpoint('a', 'v1'), endpoint('bb', 'v2')] }));
  const { logger, lines } = recordingLogger();
  const clock = new FakeClock();
  const clusters = new Clusters({
    mesh,
    clock,
    random: { next: () => 0 },
    logger,
    metrics: unscrapedMetrics,
    network: '',
    self: () => undefined,
  });
  return { mesh, clusters, lines, clock };
}

t.test('a port and a subset have a cluster of their own, the same one every time', async (t) => {
  const { mesh, clusters } = world();
  const whole = clusters.of(service, 80, destination, undefined);
  const v1 = clusters.of(service, 80, destination, 'v1');
  t.not(whole, v1);
  t.not(clusters.of(service, 81, destination, undefined), whole);
  t.equal(clusters.of(service, 80, destination, undefined), whole);
  t.same([whole?.cluster.hosts.length, v1?.cluster.hosts.length], [2, 1]);
  t.equal(clusters.of(service, 80, destination, 'nobody'), undefined);
  t.equal(clusters.of(service, 80, undefined, 'v1'), undefined);
  const replaced = { ...service, canonical: false };
  mesh.apply(makeChange({ services: [replaced] }));
  t.equal(clusters.of(replaced, 80, destination, undefined), whole, 'also of another record of the service');
});

t.test('clusters go with their service and with their subset', async (t) => {
  const { mesh, clusters, clock } = world();
  const names = () => [...clusters.all()].map(({ port, subset }) => `${port} ${subset ?? ''}`);
  clusters.of(service, 80, destination, undefined);
  clusters.of(service, 80, destination, 'v1');
  clusters.prune((_, subset) => subset !== 'v1');
  t.same(names(), ['80 ']);
  const named = clusters.of(service, 80, destination, undefined);
  const host = named?.cluster.hosts[0];
  if (named === undefined || host === undefined) throw new Error('no host');
  clusters.watch(named, host).observe({ kind: 'status', status: 500 });
  t.equal(clock.pending, 1);
  mesh.apply(makeChange({ removedServices: [service.key] }));
  t.same(names(), []);
  t.equal(clock.pending, 0, 'its timer as well');
});

t.test('an ejection is in the log, with the place and the reason, and so is the return', async (t) => {
  const { clusters, lines, clock } = world();
  const named = clusters.of(service, 80, destination, undefined);
  const host = named?.cluster.hosts[0];
  if (named === undefined || host === undefined) throw new Error('no host');
  clusters.watch(named, host).observe({ kind: 'status', status: 500 });
  t.match(lines, [
    {
      level: 'warn',
      message: 'ejected an endpoint',
      fields: { service: service.key, port: 80, endpoint: '10.0.0.1:8080', reason: 'consecutive-5xx', seconds: 30 },
    },
  ]);
  clock.advance(30_000);
  t.match(lines.at(-1), { level: 'info', message: 'an endpoint is back' });
});
