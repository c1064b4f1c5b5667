/** A folder of rules for a mesh that was discovered: what is compiled when, and what holds when the folder cannot be read. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import type { Diagnostic } from '../../../src/base/diagnostics.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import type { Compilation } from '../../../src/compile/compile.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { DiscoveredMesh } from '../../../src/xds/discovered-mesh.ts';
import { FolderSource } from '../../../src/xds/folder-source.ts';
import { ambientDefault, documents, podText, presetOptions, serviceText } from '../../support/compile-text.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeChange, makeService } from '../../support/mesh-records.ts';

const gateway = { namespace: 'default', name: 'waypoint', className: 'istio-waypoint', serviceAccount: 'waypoint' };
const own = { kind: 'hostname', service: 'default/waypoint.default.svc.cluster.local', hbonePort: 15008 } as const;

const route = (name: string, parent: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${name}, namespace: default}
spec:
  parentRefs: [{group: '', kind: Service, name: ${parent}}]
  rules: [{backendRefs: [{name: ${parent}, port: 80}]}]
`;

const service = (name: string) => makeService({ name, addresses: [{ network: '', ip: '10.0.0.1' }], waypoint: own });

const isRouted = (compilation: Compilation | undefined, name: string) =>
  [...(compilation?.l7.ports.keys() ?? [])].some((key) => key.startsWith(service(name).key));

function setup(t: Test, directory: string | undefined) {
  const [clock, discovered, store] = [new FakeClock(), new MeshStore(), new MeshStore()];
  const mesh = new DiscoveredMesh({
    discovered,
    store,
    gateway,
    clusterDomain: 'cluster.local',
    isOwn: (waypoint) => waypoint?.kind === 'hostname' && waypoint.service === own.service,
    clock,
  });
  const compiled: Compilation[] = [];
  const reports: (readonly Diagnostic[])[] = [];
  const source = new FolderSource({
    directory,
    compile: presetOptions('modern'),
    store,
    discovered: mesh,
    clock,
    logger: silentLogger,
    onCompiled: (compilation) => compiled.push(compilation),
    onDiagnostics: (diagnostics) => reports.push(diagnostics),
  });
  t.teardown(async () => {
    mesh.close();
    await source.close();
  });
  const known = (name: string) => store.service(service(name).key) !== undefined;
  /** Time for a compilation, and for what it puts into the store. */
  const settle = (what: string, probe: () => boolean) =>
    eventually(what, () => {
      clock.advance(100);
      return probe();
    });
  const codes = () => (reports.at(-1) ?? []).map(({ code }) => code);
  return { discovered, store, source, compiled, codes, known, settle };
}

t.test('the folder is read once the mesh is known, and what it says of the mesh is left out', async (t) => {
  const directory = t.testdir({
    'rules.yaml': route('a', 'a'),
    'mesh.yaml': documents(ambientDefault, serviceText('b', '10.0.0.9'), podText('b', '10.9.9.9')),
  });
  const { discovered, store, source, compiled, codes, known, settle } = setup(t, directory);
  await source.start();
  t.equal(compiled.length, 0);
  discovered.apply(makeChange({ services: [service('a')] }));
  discovered.markComplete();
  await settle('the first state', () => store.complete);
  t.ok(known('a'));
  t.notOk(known('b'));
  t.same([...store.workloads()], []);
  t.ok(isRouted(compiled[0], 'a'), 'the route is the service’s');
  t.same(compiled[0]?.gateways.get('default/waypoint')?.address, own);
  t.same([...new Set(codes())], ['MESH_ELSEWHERE']);
});

t.test('a folder that cannot be read leaves it without a state, and later does not hold the mesh up', async (t) => {
  const directory = t.testdir({ rules: {} });
  const folder = path.join(directory, 'rules');
  rmSync(folder, { recursive: true });
  const { discovered, store, source, compiled, codes, known, settle } = setup(t, folder);
  await source.start();
  discovered.apply(makeChange({ services: [service('a')] }));
  discovered.markComplete();
  await settle('the problem is told', () => codes().includes('FOLDER_UNREADABLE'));
  t.equal(store.complete, false, 'rules may be missing: nothing is served');
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'rules.yaml'), route('b', 'b'));
  await source.refresh();
  await settle('it is read', () => store.complete);

  renameSync(folder, `${folder}.away`);
  discovered.apply(makeChange({ services: [service('b')] }));
  await settle('the service is served by the rules of before', () => known('b'));
  t.ok(isRouted(compiled.at(-1), 'b'));
  t.ok(codes().includes('FOLDER_UNREADABLE'));
});

t.test('without a folder there are no rules, and the mesh is served as it is', async (t) => {
  const { discovered, store, source, compiled, settle } = setup(t, undefined);
  await source.start();
  discovered.apply(makeChange({ services: [service('a')] }));
  discovered.markComplete();
  await settle('the first state', () => store.complete);
  t.equal(compiled.at(-1)?.l7.ports.size, 0);
});
