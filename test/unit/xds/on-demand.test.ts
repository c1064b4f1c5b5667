/** Names subscribed to one by one: who is released when, what requests say, and where it ends. */
import { create, toBinary } from '@bufbuild/protobuf';
import t from 'tap';
import { MeshStore } from '../../../src/mesh/store.ts';
import { DeltaDiscoveryResponseSchema } from '../../../src/proto/gen/discovery_pb.js';
import { applyResponse } from '../../../src/xds/apply-response.ts';
import { splitDeltaResponse } from '../../../src/xds/delta-response.ts';
import { DeltaType } from '../../../src/xds/delta-type.ts';
import { Interner } from '../../../src/xds/interner.ts';
import { type Heard, OnDemand, type OnDemandLimits } from '../../../src/xds/on-demand.ts';
import { addressType } from '../../../src/xds/resource-types.ts';
import { demandedNames } from '../../../src/ztunnel/demanded-names.ts';
import { DemandWaits } from '../../../src/ztunnel/on-demand-wait.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeChange, makeService, makeWorkload } from '../../support/mesh-records.ts';

function make(limits: Partial<OnDemandLimits> = {}) {
  const clock = new FakeClock();
  const requests: [readonly string[], readonly string[]][] = [];
  const demand = new OnDemand(
    clock,
    () => {
      const request = demand.takeRequest();
      if (request !== undefined) requests.push([request.subscribe, request.unsubscribe]);
    },
    limits,
  );
  const hear = (key: string, state: Heard) => {
    demand.heard(key, state);
    demand.settle();
  };
  return { clock, demand, requests, hear };
}

t.test('several who need a name ask once, and all are released by its answer', async (t) => {
  const { demand, requests, hear } = make();
  const waits = [demand.need(['/a'], 5000), demand.need(['/a', '/a'], 5000), demand.need(['/a', '/b'], 5000)];
  t.same(requests, [
    [['/a'], []],
    [['/b'], []],
  ]);
  demand.heard('/a', 'present');
  demand.heard('/a', 'present');
  demand.settle();
  t.same(await Promise.all(waits.slice(0, 2)), ['answered', 'answered']);
  hear('/b', 'absent');
  t.equal(await waits[2], 'answered');
  t.equal(await demand.need(['/a', '/b'], 5000), 'answered', 'known by now');
  t.equal(requests.length, 2);
});

t.test('an answer counts once it is in force, and waiting ends', async (t) => {
  const { demand, clock } = make();
  let released = false;
  const wait = demand.need(['/a'], 5000).then((outcome) => {
    released = true;
    return outcome;
  });
  demand.heard('/a', 'present');
  await clock.advanceAsync(4999);
  t.notOk(released);
  await clock.advanceAsync(1);
  t.equal(await wait, 'late');
  demand.settle();
  t.equal(await demand.need(['/a'], 5000), 'answered');
});

t.test('what did not exist is asked for again after a while', async (t) => {
  const { demand, clock, requests, hear } = make({ absentMs: 1000 });
  const first = demand.need(['/a'], 5000);
  hear('/a', 'absent');
  await first;
  clock.advance(999);
  t.equal(await demand.need(['/a'], 5000), 'answered');
  clock.advance(1);
  const again = demand.need(['/a'], 5000);
  t.equal(requests.length, 2);
  hear('/a', 'present');
  t.equal(await again, 'answered');
});

t.test('limits: names that wait are refused beyond it, absent ones given up together with a question', async (t) => {
  const { demand, requests, hear } = make({ asking: 2, absent: 1 });
  const waits = [demand.need(['/a'], 5000), demand.need(['/b'], 5000)];
  t.equal(await demand.need(['/c'], 5000), 'full');
  t.equal(requests.length, 2);
  hear('/a', 'absent');
  hear('/b', 'absent');
  await Promise.all(waits);
  t.equal(demand.size, 2);
  const third = demand.need(['/c'], 5000);
  t.same(requests[2], [['/c'], ['/a']], 'never a request that only gives up');
  hear('/c', 'present');
  await third;
  t.equal(demand.size, 2);
});

t.test('who waits is bounded, whatever for', async (t) => {
  const { demand, hear } = make({ waiting: 2 });
  const waits = [demand.need(['/a'], 5000), demand.need(['/a'], 5000)];
  t.equal(await demand.need(['/a'], 5000), 'full');
  hear('/a', 'present');
  t.same(await Promise.all(waits), ['answered', 'answered']);
  const later = demand.need(['/b'], 5000);
  hear('/b', 'present');
  t.equal(await later, 'answered', 'there is room again');
});

t.test('a new stream is told of what exists, and asked what is still waited for', async (t) => {
  const { demand, requests, hear } = make();
  const open = demand.need(['/waiting'], 5000);
  const known = demand.need(['/here', '/gone'], 5000);
  hear('/here', 'present');
  hear('/gone', 'absent');
  await known;
  t.same(demand.restart(), ['/here']);
  t.same(demand.takeRequest(), { subscribe: ['/waiting'], unsubscribe: [] });
  hear('/waiting', 'present');
  t.equal(await open, 'answered');
  t.equal(requests.length, 2);
});

t.test('a destination needs itself, then its waypoint and the gateways to its endpoints', async (t) => {
  const mesh = new MeshStore();
  const source = makeWorkload({ name: 'sleep', addresses: ['10.0.0.1'] });
  const needs = () => demandedNames(mesh, source, '10.96.0.1');
  t.same(needs(), ['/10.96.0.1']);
  const service = makeService({
    addresses: [{ network: '', ip: '10.96.0.1' }],
    waypoint: { kind: 'hostname', service: 'default/waypoint.default.svc.cluster.local', hbonePort: 15008 },
  });
  const remote = makeWorkload({
    name: 'far',
    network: 'west',
    services: new Map([[service.key, new Map()]]),
    networkGateway: { kind: 'address', network: 'west', ip: '192.0.2.1', hbonePort: 15008 },
  });
  mesh.apply(makeChange({ services: [service], workloads: [remote] }));
  t.same(needs(), ['default/waypoint.default.svc.cluster.local', 'west/192.0.2.1']);
  mesh.apply(
    makeChange({
      services: [makeService({ name: 'waypoint' })],
      workloads: [makeWorkload({ name: 'gateway', network: 'west', addresses: ['192.0.2.1'] })],
    }),
  );
  t.same(needs(), []);
});

t.test('a connection waits for what it needs, within its time', async (t) => {
  const mesh = new MeshStore();
  const { demand, clock, hear } = make();
  const waits = new DemandWaits({ mesh, demand, clock });
  const source = makeWorkload({ name: 'sleep' });
  const wait = waits.until(5000, source, '10.9.0.2');
  mesh.apply(makeChange({ workloads: [makeWorkload({ name: 'cart', addresses: ['10.9.0.2'] })] }));
  hear('/10.9.0.2', 'present');
  t.equal(await wait, undefined);
  const nothing = waits.until(5000, source, '10.9.0.3');
  hear('/10.9.0.3', 'absent');
  t.equal(await nothing, undefined, 'a name that does not exist is for the decision');
  const late = waits.until(5000, source, '10.9.0.4');
  await clock.advanceAsync(5000);
  t.match(await late, /did not say within 5000 ms what \/10\.9\.0\.4 is/);
});

t.test('what exists and cannot be read is refused, not taken for a destination outside the mesh', async (t) => {
  const mesh = new MeshStore();
  const { demand, clock, hear } = make();
  const waits = new DemandWaits({ mesh, demand, clock });
  const source = makeWorkload({ name: 'sleep' });
  const type = new DeltaType();
  const refusedName = 'c//Pod/shop/cart';
  const response = toBinary(
    DeltaDiscoveryResponseSchema,
    create(DeltaDiscoveryResponseSchema, {
      resources: [
        {
          name: refusedName,
          version: '1',
          aliases: ['/10.9.0.2'],
          resource: { typeUrl: addressType, value: Uint8Array.of(0x0a, 0xff) },
        },
      ],
    }),
  );
  const split = splitDeltaResponse(response);
  if (split.kind !== 'response') throw new Error(split.reason);
  const wait = waits.until(5000, source, '10.9.0.2');
  const target = { store: mesh, interner: new Interner(), slices: { clock }, unreadablePolicy: 'deny' } as const;
  await applyResponse(split, addressType, type, target, demand);
  demand.settle();
  t.match(await wait, /\/10\.9\.0\.2 cannot be read/);
  t.match(await waits.until(5000, source, '10.9.0.2'), /cannot be read/, 'and again');
  clock.advance(10_000);
  const later = waits.until(5000, source, '10.9.0.2');
  hear('/10.9.0.2', 'absent');
  t.equal(await later, undefined, 'it is asked for anew after a while');
});

t.test('a workload that scans addresses does not keep others from asking', async (t) => {
  const mesh = new MeshStore();
  const { demand, clock, hear } = make({ asking: 200 });
  const waits = new DemandWaits({ mesh, demand, clock });
  const scanner = makeWorkload({ name: 'scanner' });
  const scan = Array.from({ length: 1000 }, (_, i) => waits.until(5000, scanner, `10.8.${i >> 8}.${i & 255}`));
  const other = waits.until(5000, makeWorkload({ name: 'sleep' }), '10.9.0.2');
  hear('/10.9.0.2', 'absent');
  t.equal(await other, undefined);
  await clock.advanceAsync(5000);
  t.equal((await Promise.all(scan)).filter((reason) => reason?.includes('wait for the control plane')).length, 872);
  hear('/10.8.0.0', 'absent');
  t.equal(await waits.until(5000, scanner, '10.8.0.0'), undefined, 'and may ask again');
});
