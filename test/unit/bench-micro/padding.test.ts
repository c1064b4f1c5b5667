/** What the growth bench fills a mesh with is read without a complaint, and concerns nobody who is there. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { type Padding, pad } from '../../../bench/growth/padding.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { evaluateL4, failClosed } from '../../../src/policy/l4.ts';
import { readConfigFile } from '../../../src/xds/config-file.ts';
import { makeChange, makeService, makeWorkload } from '../../support/mesh-records.ts';

const service = makeService({ name: 'server' });

function storeOf(folder: string): MeshStore {
  const store = new MeshStore();
  for (const name of readdirSync(folder)) {
    const { models, diagnostics } = readConfigFile(readFileSync(path.join(folder, name), 'utf8'), name, undefined);
    if (diagnostics.length > 0) throw new Error(JSON.stringify(diagnostics[0]));
    for (const { workloads, services, policies } of models) {
      const records = { workloads: [...workloads.values()], services: [...services.values()] };
      store.apply(makeChange({ ...records, policies: [...policies.values()] }));
    }
  }
  return store;
}

const counts: readonly (readonly [Padding, (store: MeshStore) => Iterable<unknown>, extra: number])[] = [
  ['workloads', (store) => store.workloads(), 0],
  ['services', (store) => store.services(), 0],
  ['policies', (store) => store.policies(), 1],
  ['endpoints', (store) => store.endpoints(service.key), 0],
];

for (const [kind, list, extra] of counts) {
  t.test(`as many ${kind} are there as were asked for, with addresses of their own`, async (t) => {
    const folder = t.testdir();
    pad(folder, kind, 2500, service.key);
    t.equal([...list(storeOf(folder))].length, 2500 + extra);
    pad(folder, kind, 0, service.key);
    t.same(readdirSync(folder), []);
  });
}

t.test('files that stay are not written again', async (t) => {
  const folder = t.testdir();
  pad(folder, 'workloads', 2500, '');
  const [first = ''] = readdirSync(folder).filter((name) => name.includes('-0-'));
  const before = statSync(path.join(folder, first)).ino;
  pad(folder, 'workloads', 4000, '');
  t.equal(statSync(path.join(folder, first)).ino, before);
  t.equal([...storeOf(folder).workloads()].length, 4000);
});

t.test('the policies admit those of the namespace, and nobody else', async (t) => {
  const folder = t.testdir();
  pad(folder, 'policies', 20, service.key);
  const inForce = storeOf(folder).policiesFor(makeWorkload());
  const from = (namespace: string) =>
    evaluateL4(
      {
        peer: `spiffe://cluster.local/ns/${namespace}/sa/client`,
        sourceIp: '10.244.1.50',
        destinationIp: '10.244.2.50',
        destinationPort: 9080,
      },
      inForce,
      failClosed,
    ).kind;
  t.equal(from('default'), 'allow');
  t.equal(from('elsewhere'), 'deny');
});
