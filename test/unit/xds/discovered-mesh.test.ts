/** What a control plane told of reaches the store with the rules that were compiled with it, and not before. */
import t, { type Test } from 'tap';
import { emptyMeshChange } from '../../../src/mesh/diff.ts';
import type { Service } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { DiscoveredMesh } from '../../../src/xds/discovered-mesh.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../../support/mesh-records.ts';

const own = { kind: 'hostname', service: 'shop/waypoint.shop.svc.cluster.local', hbonePort: 15008 } as const;
const service = (name: string, fields: Partial<Service> = {}) =>
  makeService({ name, namespace: 'shop', addresses: [{ network: '', ip: '10.0.0.1' }], ...fields });
const pod = (name: string) => makeWorkload({ name, namespace: 'shop' });

function world(t: Test) {
  const clock = new FakeClock();
  const discovered = new MeshStore();
  const store = new MeshStore();
  const mesh = new DiscoveredMesh({
    discovered,
    store,
    gateway: { namespace: 'shop', name: 'waypoint', className: 'istio-waypoint', serviceAccount: 'waypoint' },
    clusterDomain: 'cluster.local',
    isOwn: (waypoint) => waypoint?.kind === 'hostname' && waypoint.service === own.service,
    clock,
  });
  let compilations = 0;
  /** As the folder's source does, with what compiling takes. */
  const compile = (tookMs = 0) => {
    compilations++;
    mesh.objects();
    store.apply(mesh.take(tookMs));
    mesh.settled();
  };
  mesh.onWaiting(() => compile());
  t.teardown(() => mesh.close());
  return { clock, discovered, store, mesh, compile, compilations: () => compilations };
}

t.test('nothing is compiled before the first state is complete, and all of it at once then', async (t) => {
  const { clock, discovered, store, compilations } = world(t);
  discovered.apply(makeChange({ services: [service('a')], workloads: [pod('a-1')] }));
  clock.advance(60_000);
  t.equal(compilations(), 0);
  t.equal(store.service('shop/a.shop.svc.cluster.local'), undefined);
  discovered.markComplete();
  clock.advance(0);
  t.equal(compilations(), 1);
  t.ok(store.service('shop/a.shop.svc.cluster.local'));
  t.ok(store.workload(pod('a-1').uid));
});

t.test('workloads alone go on at once; a service waits for a compilation, and workloads behind it', async (t) => {
  const { clock, discovered, store, compilations } = world(t);
  discovered.markComplete();
  clock.advance(0);
  discovered.apply(makeChange({ workloads: [pod('a-1')] }));
  t.ok(store.workload(pod('a-1').uid), 'at once');
  t.equal(compilations(), 1);
  discovered.apply(makeChange({ services: [service('a')] }));
  discovered.apply(makeChange({ workloads: [pod('a-2')] }));
  t.equal(store.service(service('a').key), undefined);
  t.equal(store.workload(pod('a-2').uid), undefined, 'it may be what the service needs');
  clock.advance(100);
  t.equal(compilations(), 2);
  t.ok(store.service(service('a').key));
  t.ok(store.workload(pod('a-2').uid));
});

t.test('what goes before it was compiled never comes, and what goes later goes', async (t) => {
  const { clock, discovered, store } = world(t);
  discovered.markComplete();
  clock.advance(0);
  discovered.apply(makeChange({ services: [service('a')] }));
  discovered.apply({ ...emptyMeshChange, removedServices: [service('a').key] });
  clock.advance(100);
  t.equal(store.service(service('a').key), undefined);
  discovered.apply(makeChange({ services: [service('b')], workloads: [pod('b-1')] }));
  clock.advance(100);
  t.ok(store.service(service('b').key));
  const { uid } = pod('b-1');
  discovered.apply({ ...emptyMeshChange, removedServices: [service('b').key], removedWorkloads: [uid] });
  t.ok(store.service(service('b').key), 'until the rules no longer name it');
  clock.advance(100);
  t.equal(store.service(service('b').key), undefined);
  t.equal(store.workload(uid), undefined);
});

t.test('what comes while a compilation settles waits its turn', async (t) => {
  const { clock, discovered, store, mesh } = world(t);
  discovered.markComplete();
  mesh.take(0);
  discovered.apply(makeChange({ workloads: [pod('a-1')] }));
  t.equal(store.workload(pod('a-1').uid), undefined, 'an older record of it may be on its way');
  mesh.settled();
  t.ok(store.workload(pod('a-1').uid));
  clock.advance(0);
});

t.test('compiling takes half of the time at most, and waits a second at most', async (t) => {
  const { clock, discovered, compile, compilations } = world(t);
  discovered.markComplete();
  clock.advance(0);
  compile(400);
  discovered.apply(makeChange({ services: [service('a')] }));
  t.equal(clock.nextInMs, 400);
  clock.advance(400);
  compile(100_000);
  discovered.apply(makeChange({ services: [service('b')] }));
  t.equal(clock.nextInMs, 1000);
  t.equal(compilations(), 4);
});

t.test('services stand as the objects that users write, bound where this waypoint is theirs', async (t) => {
  const { clock, discovered, mesh } = world(t);
  const bound = service('a', {
    waypoint: own,
    ports: new Map([
      [80, makePort(80, 8080, { appProtocol: 'http11' })],
      [90, makePort(90, 0)],
    ]),
  });
  const weighted = service('w', { weightedWaypoints: [{ destination: own, weight: 1 }] });
  const entry = { namespace: 'shop', name: 'outside', key: 'shop/a.example', hostname: 'a.example', waypoint: own };
  discovered.apply(
    makeChange({
      services: [
        bound,
        weighted,
        service('other'),
        makeService(entry),
        makeService({ ...entry, key: 'shop/b.example', hostname: 'b.example' }),
      ],
    }),
  );
  discovered.markComplete();
  const objects = mesh.objects();
  const named = (kind: string, name: string) =>
    objects.find((object) => object.kind === kind && object.metadata.name === name);
  const labels = { 'istio.io/use-waypoint': 'waypoint', 'istio.io/use-waypoint-namespace': 'shop' };
  t.match(named('Service', 'a'), {
    metadata: { labels },
    content: {
      spec: {
        clusterIP: '10.0.0.1',
        ports: [
          { name: 'http-80', port: 80, targetPort: 8080, appProtocol: 'http' },
          { name: 'port-90', port: 90, targetPort: 90 },
        ],
      },
    },
  });
  t.same(named('Service', 'w')?.metadata.labels, labels);
  t.same(named('Service', 'other')?.metadata.labels, {});
  t.match(named('ServiceEntry', 'outside'), {
    metadata: { labels },
    content: { spec: { hosts: ['a.example', 'b.example'] } },
  });
  t.ok(named('Gateway', 'waypoint'));
  const again = mesh.objects();
  t.equal(
    again.find(({ metadata }) => metadata.name === 'a'),
    named('Service', 'a'),
    'unchanged it is the same object',
  );
  clock.advance(0);
});
