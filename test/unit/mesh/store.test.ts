import t from 'tap';
import { parseCidr } from '../../../src/base/address.ts';
import type { MeshChange } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { makeChange, makePolicy, makeService, makeWorkload } from '../../support/mesh-records.ts';

function storeOf(change: Partial<MeshChange>): MeshStore {
  const store = new MeshStore();
  store.apply(makeChange(change));
  return store;
}

function cidr(text: string, network = '') {
  const block = parseCidr(text);
  if (block === undefined) throw new Error(`not a block: ${text}`);
  return { network, cidr: block };
}

t.test('a workload is found by uid, address, name and node until it is removed', async (t) => {
  const sleep = makeWorkload({ name: 'sleep', addresses: ['10.0.0.1', 'fd00::1'], serviceAccount: 'sleep' });
  const store = storeOf({ workloads: [sleep] });
  const finds = () => [
    store.workload(sleep.uid),
    store.workloadByAddress('', '10.0.0.1'),
    store.workloadByAddress('', 'fd00::1'),
    store.workloadByName('default', 'sleep', 'sleep', 'node-a'),
    [...store.workloadsOnNode('node-a')][0],
  ];
  t.same(new Set(finds()), new Set([sleep]));
  t.equal(store.workloadByAddress('other', '10.0.0.1'), undefined, 'not in another network');
  store.apply(makeChange({ removedWorkloads: [sleep.uid] }));
  t.same(new Set(finds()), new Set([undefined]));
});

t.test('a replaced workload leaves no trace of what it was', async (t) => {
  const before = makeWorkload({ name: 'a', addresses: ['10.0.0.1'], services: new Map([['default/old', new Map()]]) });
  const after = { ...before, addresses: ['10.0.0.2'], node: 'node-b', services: new Map([['default/new', new Map()]]) };
  const store = storeOf({ workloads: [before] });
  store.apply(makeChange({ workloads: [after] }));
  t.equal(store.workloadByAddress('', '10.0.0.1'), undefined);
  t.equal(store.workloadByAddress('', '10.0.0.2'), after);
  t.same([...store.workloadsOnNode('node-a')], []);
  t.same(store.endpoints('default/old'), []);
  t.same(store.endpoints('default/new'), [after]);
  t.equal(store.workloadByName('default', 'a', 'default', 'node-a'), undefined);
});

t.test('a pod in host networking is not found by address', async (t) => {
  const store = storeOf({ workloads: [makeWorkload({ addresses: ['172.18.0.2'], networkMode: 'host' })] });
  t.equal(store.workloadByAddress('', '172.18.0.2'), undefined);
});

t.test('of two workloads with one address a pod wins, then one that speaks HBONE', async (t) => {
  const entry = makeWorkload({ uid: 'c/networking.istio.io/WorkloadEntry/ns/a', addresses: ['10.0.0.1'] });
  const plain = makeWorkload({ name: 'a-plain', addresses: ['10.0.0.1'], tunnelProtocol: 'none' });
  const tunnelled = makeWorkload({ name: 'b', addresses: ['10.0.0.1'] });
  const store = storeOf({ workloads: [entry, plain] });
  t.equal(store.workloadByAddress('', '10.0.0.1'), plain);
  store.apply(makeChange({ workloads: [tunnelled] }));
  t.equal(store.workloadByAddress('', '10.0.0.1'), tunnelled);
  store.apply(makeChange({ removedWorkloads: [tunnelled.uid, plain.uid] }));
  t.equal(store.workloadByAddress('', '10.0.0.1'), entry);
});

t.test('endpoints are known before their service and keep their order when one is replaced', async (t) => {
  const services = new Map([['default/service.default.svc.cluster.local', new Map([[80, 8080]])]]);
  const [a, b] = [makeWorkload({ name: 'a', services }), makeWorkload({ name: 'b', services })];
  const store = storeOf({ workloads: [a, b] });
  store.apply(makeChange({ services: [makeService()] }));
  const sick = { ...a, healthy: false };
  store.apply(makeChange({ workloads: [sick] }));
  t.same(store.endpoints('default/service.default.svc.cluster.local'), [sick, b]);
  store.apply(makeChange({ removedWorkloads: [b.uid] }));
  t.same(store.endpoints('default/service.default.svc.cluster.local'), [sick]);
});

t.test('services on one VIP: own namespace, then canonical, then any that is visible', async (t) => {
  const addresses = [{ network: '', ip: '10.96.0.1' }];
  const any = makeService({ namespace: 'a', addresses, canonical: false });
  const canonical = makeService({ namespace: 'b', addresses });
  const own = makeService({ namespace: 'c', addresses, canonical: false });
  const hidden = makeService({ namespace: 'd', addresses, visibility: 'namespace' });
  const store = storeOf({ services: [any, canonical, own, hidden] });
  t.equal(store.serviceByAddress('', '10.96.0.1', 'c'), own);
  t.equal(store.serviceByAddress('', '10.96.0.1', 'd'), hidden);
  t.equal(store.serviceByAddress('', '10.96.0.1', 'elsewhere'), canonical);
  store.apply(makeChange({ removedServices: [canonical.key, own.key] }));
  t.equal(store.serviceByAddress('', '10.96.0.1', 'elsewhere'), any);
  store.apply(makeChange({ removedServices: [any.key] }));
  t.equal(store.serviceByAddress('', '10.96.0.1', 'elsewhere'), undefined, 'the hidden one stays hidden');
});

t.test('a VIP wins over a block; of blocks own namespace wins, then the longest, then canonical', async (t) => {
  const vip = makeService({ name: 'vip', addresses: [{ network: '', ip: '10.1.1.1' }] });
  const wide = makeService({ namespace: 'wide', cidrs: [cidr('10.0.0.0/8')] });
  const narrow = makeService({ namespace: 'narrow', cidrs: [cidr('10.1.0.0/16')] });
  const store = storeOf({ services: [vip, wide, narrow] });
  t.equal(store.serviceByAddress('', '10.1.1.1', 'wide'), vip);
  t.equal(store.serviceByAddress('', '10.1.2.2', 'wide'), wide);
  t.equal(store.serviceByAddress('', '10.1.2.2', 'elsewhere'), narrow);
  t.equal(store.serviceByAddress('', '10.2.2.2', 'elsewhere'), wide);
  t.equal(store.serviceByAddress('', '11.0.0.1', 'elsewhere'), undefined);
  t.equal(store.serviceByAddress('', 'fd00::1', 'elsewhere'), undefined);
});

t.test('policies in force are the global ones, those of the namespace and those named, each once', async (t) => {
  const everywhere = makePolicy({ name: 'everywhere', namespace: 'istio-system', scope: 'global' });
  const here = makePolicy({ name: 'here', scope: 'namespace' });
  const elsewhere = makePolicy({ name: 'elsewhere', namespace: 'other', scope: 'namespace' });
  const named = makePolicy({ name: 'named' });
  const other = makePolicy({ name: 'other' });
  const workload = makeWorkload({ authorizationPolicies: ['default/named', 'default/here', 'default/late'] });
  const store = storeOf({ workloads: [workload], policies: [everywhere, here, elsewhere, named, other] });
  t.same(store.policiesFor(workload).policies, [everywhere, here, named]);
  t.same(store.policiesFor(workload).missing, ['default/late']);
  const late = makePolicy({ name: 'late' });
  store.apply(makeChange({ policies: [late], removedPolicies: [here.key] }));
  t.same(store.policiesFor(workload).policies, [everywhere, named, late]);
  t.same(store.policiesFor(workload).missing, ['default/here']);
});

t.test('a policy that changes its scope is in force only under the new one', async (t) => {
  const policy = makePolicy({ scope: 'global' });
  const store = storeOf({ policies: [policy] });
  store.apply(makeChange({ policies: [{ ...policy, scope: 'namespace' }] }));
  t.same(store.policiesFor(makeWorkload({ namespace: 'other' })).policies, []);
  t.equal(store.policiesFor(makeWorkload()).policies.length, 1);
});

t.test('equal records change nothing and tell nobody', async (t) => {
  const workload = () => makeWorkload({ services: new Map([['default/x', new Map([[80, 8080]])]]) });
  const service = () => makeService({ cidrs: [cidr('10.0.0.0/8')] });
  const store = storeOf({ workloads: [workload()], services: [service()], policies: [makePolicy()] });
  const kept = store.workload(workload().uid);
  const told: MeshChange[] = [];
  store.onChange((change) => told.push(change));
  store.apply(makeChange({ workloads: [workload()], services: [service()], policies: [makePolicy()] }));
  store.apply(
    makeChange({ removedWorkloads: ['unknown'], removedServices: ['unknown'], removedPolicies: ['unknown'] }),
  );
  t.same(told, []);
  t.equal(store.workload(workload().uid), kept, 'the record of before stays');
});

t.test('a listener hears each change once, after it is in force, and no more once it has left', async (t) => {
  const store = new MeshStore();
  const workload = makeWorkload({ addresses: ['10.0.0.1'] });
  const seen: unknown[] = [];
  const leave = store.onChange((change) => seen.push([change.workloads, store.workloadByAddress('', '10.0.0.1')]));
  store.apply(makeChange({ workloads: [workload] }));
  t.same(seen, [[[workload], workload]]);
  leave();
  store.apply(makeChange({ removedWorkloads: [workload.uid] }));
  t.equal(seen.length, 1);
});

t.test('a listener that throws does not keep the others from hearing', async (t) => {
  const store = new MeshStore();
  let heard = 0;
  store.onChange(() => {
    throw new Error('broken');
  });
  store.onChange(() => heard++);
  t.throws(() => store.apply(makeChange({ workloads: [makeWorkload()] })), AggregateError);
  t.equal(heard, 1);
});

t.test('completeness is told once', async (t) => {
  const store = new MeshStore();
  let heard = 0;
  store.onChange(() => heard++);
  t.equal(store.complete, false);
  store.markComplete();
  store.markComplete();
  t.equal(store.complete, true);
  t.equal(heard, 1);
});

t.test('workloads to which the same policies apply share one answer, which lives on through changes', async (t) => {
  const here = makePolicy({ name: 'here', scope: 'namespace' });
  const one = makeWorkload({ name: 'one' });
  const store = storeOf({ workloads: [one], policies: [here] });
  const answer = store.policiesFor(one);
  t.equal(store.policiesFor(makeWorkload({ name: 'two' })), answer);
  t.not(store.policiesFor(makeWorkload({ name: 'three', authorizationPolicies: ['default/late'] })), answer);
  const { policies } = answer;
  store.apply(makeChange({ policies: [makePolicy({ name: 'far', namespace: 'other', scope: 'namespace' })] }));
  t.equal(store.policiesFor(one).policies, policies, 'what does not concern them changes nothing');
  store.apply(makeChange({ removedPolicies: [here.key] }));
  t.equal(store.policiesFor(one), answer);
  t.same(answer.policies, []);
});
