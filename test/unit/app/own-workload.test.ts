/** Which workload a waypoint is, and where it is. */
import t from 'tap';
import { ownWorkload } from '../../../src/app/own-workload.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { makeChange, makeWorkload } from '../../support/mesh-records.ts';
import { testIdentity } from '../../support/test-ca.ts';

const identity = testIdentity('spiffe://cluster.local/ns/default/sa/waypoint');
const nothing = {
  CLUSTER_ID: 'Kubernetes',
  NETWORK: '',
  POD_NAME: '',
  POD_NAMESPACE: '',
  INSTANCE_IP: '1.1.1.1',
  AMBIT_LOCALITY: '',
};
const locality = { region: 'r1', zone: 'z1', subzone: '' };

function mesh() {
  const store = new MeshStore();
  store.apply(makeChange({ workloads: [makeWorkload({ name: 'waypoint-1', addresses: ['10.0.0.7'], locality })] }));
  return store;
}

t.test('a waypoint is found by its pod’s name, else by its address, else not at all', async (t) => {
  const named = ownWorkload(mesh(), { ...nothing, POD_NAME: 'waypoint-1', POD_NAMESPACE: 'default' }, identity);
  t.match(named(), { name: 'waypoint-1', locality });
  t.match(ownWorkload(mesh(), { ...nothing, INSTANCE_IP: '10.0.0.7' }, identity)(), { name: 'waypoint-1' });
  t.equal(ownWorkload(mesh(), nothing, identity)(), undefined);
});

t.test('a locality that is said wins, and the answer is the same object while nothing changes', async (t) => {
  const store = mesh();
  const said = { ...nothing, POD_NAME: 'waypoint-1', POD_NAMESPACE: 'default', AMBIT_LOCALITY: 'r9/z9/s9' };
  const own = ownWorkload(store, said, identity);
  const first = own();
  t.match(first, { name: 'waypoint-1', locality: { region: 'r9', zone: 'z9', subzone: 's9' } });
  t.equal(own(), first);
  store.apply(makeChange({ workloads: [makeWorkload({ name: 'waypoint-1', addresses: ['10.0.0.8'] })] }));
  t.not(own(), first);
  const alone = ownWorkload(store, { ...nothing, AMBIT_LOCALITY: 'r9' }, identity)();
  t.match(alone, { locality: { region: 'r9', zone: '', subzone: '' }, identity });
});
