/** Files of a folder looked at in haste: what whoever writes may not have finished is not believed yet. */
import { mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';
import { type Clock, systemClock } from '../../../src/base/clock.ts';
import { FolderFiles, type FolderScan } from '../../../src/xds/folder-files.ts';
import { documents, serviceText } from '../../support/compile-text.ts';

/** Everything was written long ago. */
const later: Clock = { ...systemClock, wallMs: () => Date.now() + 60_000 };

async function folder(t: Test, clock: Clock = later) {
  const directory = mkdtempSync(path.join(tmpdir(), 'ambit-folder-files-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const file = path.join(directory, 'a.yaml');
  writeFileSync(file, documents(serviceText('one', '10.96.0.1'), serviceText('two', '10.96.0.2')));
  const files = new FolderFiles(directory, clock);
  await files.scan();
  const hurried = (...changed: readonly string[]) => files.scan({ changed: new Set(changed), hurried: true });
  return { directory, file, files, hurried };
}

function namesOf({ files }: FolderScan): readonly string[] {
  return [...files.values()].flatMap(({ objects }) => objects.map(({ metadata }) => metadata.name));
}

t.test('a change that leaves every object is believed at once', async (t) => {
  const { file, hurried } = await folder(t);
  writeFileSync(
    file,
    documents(serviceText('one', '10.96.0.9'), serviceText('two', '10.96.0.2'), serviceText('new', '10.96.0.3')),
  );
  const scan = await hurried(file);
  t.match(scan, { changed: true, settled: true });
  t.same(namesOf(scan), ['one', 'two', 'new']);
});

t.test('an object that is gone, a broken text and a file that is gone wait for another look', async (t) => {
  const { file, files, hurried } = await folder(t);
  for (const text of [serviceText('one', '10.96.0.1'), '', 'a: [']) {
    writeFileSync(file, text);
    const scan = await hurried(file);
    t.match(scan, { changed: false, settled: false }, JSON.stringify(text));
    t.same(namesOf(scan), ['one', 'two']);
  }
  rmSync(file);
  t.match(await hurried(file), { changed: false, settled: false });
  const scan = await files.scan();
  t.match(scan, { changed: true, settled: true });
  t.same(namesOf(scan), [], 'what is still so is meant');
});

t.test('what was written this very moment may go on', async (t) => {
  let wallMs = Date.now() + 60_000;
  const { file, hurried } = await folder(t, { ...systemClock, wallMs: () => wallMs });
  writeFileSync(file, documents(serviceText('one', '10.96.0.9'), serviceText('two', '10.96.0.2')));
  wallMs = statSync(file).mtimeMs + 1;
  t.match(await hurried(file), { changed: false, settled: false });
  wallMs += 100;
  t.match(await hurried(file), { changed: true, settled: true });
});

t.test('a file renamed into place is read, what it was called before is nothing', async (t) => {
  const { directory, file, hurried } = await folder(t);
  const draft = `${file}.new`;
  writeFileSync(draft, documents(serviceText('one', '10.96.0.9'), serviceText('two', '10.96.0.2')));
  t.match(await hurried(draft), { changed: false, settled: true });
  renameSync(draft, file);
  t.match(await hurried(draft, file), { changed: true, settled: true });
  const other = path.join(directory, '0.yaml');
  writeFileSync(other, serviceText('zero', '10.96.0.8'));
  const scan = await hurried(other);
  t.same(namesOf(scan), ['zero', 'one', 'two'], 'a new file goes to its place');
  t.same(scan.files.get(file)?.objects.length, 2);
});

t.test('where one file came as another went, files stay in order of their paths', async (t) => {
  const { directory, file, files } = await folder(t);
  const others = ['b.yaml', 'c.yaml'].map((name) => path.join(directory, name));
  for (const [i, name] of others.entries()) writeFileSync(name, serviceText(`other${i}`, `10.96.1.${i + 1}`));
  await files.scan();
  const [last = ''] = others.slice(-1);
  const first = path.join(directory, '0.yaml');
  renameSync(last, first);
  const scan = await files.scan({ changed: new Set([last, first]) });
  t.match(scan, { changed: true, settled: true });
  t.same([...scan.files.keys()], [first, file, ...others.slice(0, -1)]);
  t.same(namesOf(scan), ['other1', 'one', 'two', 'other0']);
  writeFileSync(file, serviceText('one', '10.96.0.7'));
  const next = await files.scan({ changed: new Set([file]) });
  t.same(namesOf(next), ['other1', 'one', 'other0']);
  t.equal(next.files.get(first), scan.files.get(first), 'what was not looked at is the same');
});
