/** Whose place is whose: pods of one name, and one workload without a node's name. */
import t from 'tap';
import { NamedPlaces } from '../../../src/app/named-places.ts';
import { workloadPlace } from '../../../src/app/workload-place.ts';
import { readZtunnelCommand } from '../../../src/app/ztunnel-command.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import type { Place } from '../../../src/ztunnel/context.ts';
import { makeChange, makeWorkload } from '../../support/mesh-records.ts';

const sleep = { namespace: 'default', name: 'sleep', serviceAccount: 'sleep' };

function placeNamed(name: string): Place {
  return { name, namespace: undefined, ip: '::', sourceAt: () => undefined, workloadAt: () => undefined };
}

t.test('of two pods with one name the newer is the place, also when the old one starts later', async (t) => {
  const places = new NamedPlaces();
  const [older, newer] = [placeNamed('older'), placeNamed('newer')];
  places.add(sleep, newer, 7);
  places.add(sleep, older, 3);
  t.equal(places.find(sleep), newer);
  places.remove(sleep, older);
  t.equal(places.find(sleep), newer, 'dropping the old one leaves the new one');
  places.add(sleep, older, 3);
  places.remove(sleep, newer);
  t.equal(places.find(sleep), older);
  places.remove(sleep, older);
  t.equal(places.find(sleep), undefined);
  t.equal(places.find({ ...sleep, serviceAccount: 'other' }), undefined);
});

t.test('a dedicated proxy without a node’s name finds its workload wherever it is said to run', async (t) => {
  const command = readZtunnelCommand(['proxy', 'ztunnel'], {
    PROXY_MODE: 'dedicated',
    PROXY_WORKLOAD_INFO: 'default/sleep/sleep',
    LOCAL_XDS_PATH: 'mesh.yaml',
  });
  if (command.kind !== 'run') throw new Error(JSON.stringify(command));
  const { settings } = command;
  t.strictSame(settings.preset.marks, {
    outboundListener: undefined,
    inboundListener: undefined,
    spoofed: undefined,
    own: undefined,
  });
  const mesh = new MeshStore();
  const place = workloadPlace(sleep, undefined, '::', settings, mesh);
  t.equal(place.sourceAt('10.0.0.1'), undefined);
  const first = makeWorkload({ uid: 'a', ...sleep, node: 'node-a', addresses: ['10.0.0.1', 'fd00::1'] });
  mesh.apply(makeChange({ workloads: [makeWorkload({ uid: 'x', name: 'other' }), first] }));
  t.equal(place.sourceAt('whatever')?.uid, 'a');
  t.equal(place.workloadAt('fd00::1')?.uid, 'a');
  t.equal(place.workloadAt('192.0.2.9')?.uid, 'a', 'an address of a second interface, which the mesh knows nothing of');
  mesh.apply(makeChange({ removedWorkloads: ['a'], workloads: [{ ...first, uid: 'b', node: 'node-b' }] }));
  t.equal(place.sourceAt('whatever')?.uid, 'b');
});
