/** The place of one workload on any node: found once, then seen coming, changing and going. */
import t from 'tap';
import { workloadPlace } from '../../../src/app/workload-place.ts';
import type { ZtunnelProgramSettings } from '../../../src/app/ztunnel-settings.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { makeChange, makeWorkload } from '../../support/mesh-records.ts';

const name = { namespace: 'default', name: 'sleep', serviceAccount: 'sleep' };
const settings = { node: undefined } as ZtunnelProgramSettings;

function setup() {
  const mesh = new MeshStore();
  let walks = 0;
  const counted = Object.create(mesh, {
    complete: { get: () => mesh.complete },
    workload: { value: (uid: string) => mesh.workload(uid) },
    onChange: { value: mesh.onChange.bind(mesh) },
    workloads: {
      value() {
        walks++;
        return mesh.workloads();
      },
    },
  }) as MeshStore;
  const place = workloadPlace(name, undefined, '0.0.0.0', settings, counted);
  return { mesh, find: () => place.sourceAt('10.0.0.1'), walks: () => walks };
}

t.test('a mesh without the workload is looked through once, however often it is asked for', async (t) => {
  const { mesh, find, walks } = setup();
  mesh.apply(makeChange({ workloads: [makeWorkload({ name: 'other' })] }));
  for (let i = 0; i < 5; i++) t.equal(find(), undefined);
  const sleep = makeWorkload({ name: 'sleep', serviceAccount: 'sleep' });
  mesh.apply(makeChange({ workloads: [sleep] }));
  t.equal(find(), sleep);
  const changed = { ...sleep, capacity: 2 };
  mesh.apply(makeChange({ workloads: [changed] }));
  t.equal(find(), changed);
  t.equal(walks(), 1);
});

t.test('when it goes or changes its name another one of the name takes its place', async (t) => {
  for (const leave of ['goes', 'renamed']) {
    const { mesh, find } = setup();
    const first = makeWorkload({ name: 'sleep', serviceAccount: 'sleep', uid: 'first' });
    const second = { ...first, uid: 'second' };
    mesh.apply(makeChange({ workloads: [first, second] }));
    t.equal(find(), first);
    mesh.apply(
      makeChange(leave === 'goes' ? { removedWorkloads: ['first'] } : { workloads: [{ ...first, name: 'other' }] }),
    );
    t.equal(find(), second, leave);
    mesh.apply(makeChange({ removedWorkloads: ['second'] }));
    t.equal(find(), undefined, leave);
  }
});
