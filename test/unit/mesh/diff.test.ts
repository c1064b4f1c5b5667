import t from 'tap';
import {
  changeSize,
  diffMesh,
  emptyMeshModel,
  isEmptyChange,
  type MeshModel,
  splitChange,
} from '../../../src/mesh/diff.ts';
import { recordsEqual } from '../../../src/mesh/equal.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { makePolicy, makeService, makeWorkload } from '../../support/mesh-records.ts';

function modelOf(names: readonly string[], healthy = true): MeshModel {
  const workloads = names.map((name) => makeWorkload({ name, healthy }));
  return {
    workloads: new Map(workloads.map((workload) => [workload.uid, workload])),
    services: new Map(names.map((name) => [makeService({ name }).key, makeService({ name })])),
    policies: new Map(names.map((name) => [makePolicy({ name }).key, makePolicy({ name })])),
  };
}

t.test('the difference names what is new, different or gone, and nothing else', async (t) => {
  const change = diffMesh(modelOf(['a', 'b']), modelOf(['b', 'c']));
  t.same(
    change.workloads.map(({ name }) => name),
    ['c'],
  );
  t.same(change.removedWorkloads, ['Kubernetes//Pod/default/a']);
  t.same(change.removedPolicies, ['default/a']);
  t.equal(changeSize(change), 6);
  t.ok(isEmptyChange(diffMesh(modelOf(['a']), modelOf(['a']))));
  t.equal(diffMesh(modelOf(['a']), modelOf(['a'], false)).workloads.length, 1);
});

t.test('a change applied in pieces gives the same mesh, and policies come first', async (t) => {
  const pieces = splitChange(diffMesh(emptyMeshModel, modelOf(['a', 'b', 'c'])), 2);
  t.ok(pieces.every((piece) => changeSize(piece) <= 2));
  t.equal(pieces[0]?.policies.length, 2);
  const store = new MeshStore();
  for (const piece of pieces) store.apply(piece);
  t.equal([...store.workloads()].length, 3);
  t.equal([...store.services()].length, 3);
  t.equal([...store.policies()].length, 3);
});

t.test('equality looks into maps, sets, bytes and lists, and tells missing from undefined', async (t) => {
  t.ok(recordsEqual(new Map([['a', new Map([[1, 2]])]]), new Map([['a', new Map([[1, 2]])]])));
  t.notOk(recordsEqual(new Map([['a', 1]]), new Map([['b', 1]])));
  t.ok(recordsEqual(Uint8Array.of(1, 2), Uint8Array.of(1, 2)));
  t.notOk(recordsEqual(Uint8Array.of(1, 2), Uint8Array.of(1, 3)));
  t.ok(recordsEqual(new Set([1]), new Set([1])));
  t.notOk(recordsEqual([1, 2], [2, 1]));
  t.notOk(recordsEqual({ a: undefined }, {}));
  t.notOk(recordsEqual({ a: undefined }, { b: undefined }));
  t.notOk(recordsEqual({}, null));
});
