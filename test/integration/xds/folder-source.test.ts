import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import type { Diagnostic } from '../../../src/base/diagnostics.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import type { Compilation } from '../../../src/compile/compile.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { FolderSource } from '../../../src/xds/folder-source.ts';
import { documents, podText, presetOptions, serviceText } from '../../support/compile-text.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';

interface Setup {
  readonly directory: string;
  readonly store: MeshStore;
  readonly source: FolderSource;
  readonly clock: FakeClock;
  readonly compiled: Compilation[];
  readonly reports: (readonly Diagnostic[])[];
  write(name: string, text: string): void;
}

function setup(t: Test, files: Readonly<Record<string, string>>): Setup {
  const directory = t.testdir({ ...files });
  const [store, clock] = [new MeshStore(), new FakeClock()];
  const compiled: Compilation[] = [];
  const reports: (readonly Diagnostic[])[] = [];
  const source = new FolderSource({
    directory,
    compile: presetOptions('legacy'),
    store,
    clock,
    logger: silentLogger,
    onCompiled: (compilation) => compiled.push(compilation),
    onDiagnostics: (diagnostics) => reports.push(diagnostics),
  });
  t.teardown(() => source.close());
  const write = (name: string, text: string) => {
    const target = path.join(directory, name);
    writeFileSync(`${target}.new`, text);
    renameSync(`${target}.new`, target);
  };
  return { directory, store, source, clock, compiled, reports, write };
}

const podNames = (store: MeshStore) => [...store.workloads()].map(({ name }) => name).sort();

t.test('the first state is applied, then the store is complete', async (t) => {
  const { store, source, compiled } = setup(t, {
    'a.yaml': podText('a', '10.0.0.1'),
    'b.json': '{}',
    '.hidden.yaml': 'x: [',
  });
  t.equal(store.complete, false);
  await source.start();
  t.equal(store.complete, true);
  t.same(podNames(store), ['a']);
  t.equal(compiled.length, 1);
});

t.test('a change in a sub-folder is noticed, and only what changed reaches the store', async (t) => {
  const { directory, store, source, clock, write } = setup(t, {
    'all.yaml': documents(podText('a', '10.0.0.1'), serviceText('a', '10.96.0.1')),
  });
  await source.start();
  const changes: string[][] = [];
  store.onChange((change) => changes.push([...change.workloads.map(({ name }) => name), ...change.removedWorkloads]));
  mkdirSync(path.join(directory, 'more'));
  write('more/b.yaml', podText('b', '10.0.0.2'));
  await eventually('the new pod', () => {
    clock.advance(200);
    return podNames(store).includes('b');
  });
  t.same(changes, [['b']]);
  rmSync(path.join(directory, 'more/b.yaml'));
  await eventually('its removal', () => {
    clock.advance(200);
    return !podNames(store).includes('b');
  });
  t.same(changes, [['b'], ['Kubernetes//Pod/default/b']]);
});

t.test('a broken file changes nothing and is reported; mended, it counts again', async (t) => {
  const { store, source, reports, write } = setup(t, {
    'a.yaml': podText('a', '10.0.0.1'),
    'b.yaml': podText('b', '10.0.0.2'),
  });
  await source.start();
  t.same(reports.at(-1), []);
  write('a.yaml', 'kind: [');
  await source.refresh();
  t.same(podNames(store), ['a', 'b']);
  t.ok(reports.at(-1)?.some(({ code, position }) => code === 'YAML_SYNTAX' && position?.file.endsWith('a.yaml')));
  write('a.yaml', podText('c', '10.0.0.3'));
  await source.refresh();
  t.same(podNames(store), ['b', 'c']);
  t.same(reports.at(-1), []);
});

t.test('in a first state with a broken file the rest works', async (t) => {
  const { store, source } = setup(t, { 'a.yaml': 'kind: [', 'b.yaml': podText('b', '10.0.0.2') });
  await source.start();
  t.same(podNames(store), ['b']);
  t.equal(store.complete, true);
});

t.test('a folder that is not there leaves the store incomplete until it comes', async (t) => {
  const { directory, store, source, clock, reports } = setup(t, {});
  rmSync(directory, { recursive: true });
  await source.start();
  t.equal(store.complete, false);
  t.equal(reports.at(-1)?.[0]?.code, 'FOLDER_UNREADABLE');
  mkdirSync(directory);
  writeFileSync(path.join(directory, 'a.yaml'), podText('a', '10.0.0.1'));
  clock.advance(30_000);
  await eventually('the first state', () => store.complete);
  t.same(podNames(store), ['a']);
});

t.test('a folder that goes away leaves the last state in force', async (t) => {
  const { directory, store, source, reports } = setup(t, { 'a.yaml': podText('a', '10.0.0.1') });
  await source.start();
  rmSync(directory, { recursive: true });
  await source.refresh();
  t.same(podNames(store), ['a']);
  t.equal(reports.at(-1)?.[0]?.code, 'FOLDER_UNREADABLE');
});

t.test('local files and objects make one mesh', async (t) => {
  const local = 'workloads: [{uid: u, name: local, namespace: default, workloadIps: [10.0.0.9]}]';
  const { store, source } = setup(t, { 'local.yaml': local, 'pod.yaml': podText('a', '10.0.0.1') });
  await source.start();
  t.same(podNames(store), ['a', 'local']);
});

t.test('a scan that finds nothing new compiles nothing', async (t) => {
  const { source, compiled, write } = setup(t, { 'a.yaml': podText('a', '10.0.0.1') });
  await source.start();
  await source.refresh();
  write('a.yaml', podText('a', '10.0.0.1'));
  await source.refresh();
  t.equal(compiled.length, 1);
});

t.test('after close nothing is read any more', async (t) => {
  const { store, source, clock, write } = setup(t, { 'a.yaml': podText('a', '10.0.0.1') });
  await source.start();
  await source.close();
  write('b.yaml', podText('b', '10.0.0.2'));
  await clock.advanceAsync(60_000);
  t.same(podNames(store), ['a']);
  t.equal(clock.pending, 0);
});
