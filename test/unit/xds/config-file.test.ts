import t from 'tap';
import { readConfigFile } from '../../../src/xds/config-file.ts';
import { documents, podText } from '../../support/compile-text.ts';

const read = readConfigFile;
const names = (file: ReturnType<typeof read>) =>
  file.objects.map(
    (object) => `${object.metadata.name} ${JSON.stringify(object.content).match(/"podIP":"([^"]*)"/)?.[1]}`,
  );

t.test('a list is opened and its items keep their places', async (t) => {
  const file = read(
    'apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n',
    'f.yaml',
    undefined,
  );
  t.same(file.objects[0]?.at(['metadata', 'name']), { file: 'f.yaml', line: 4, column: 48 });
});

t.test('a broken object keeps its last good version, the others are new', async (t) => {
  const before = read(documents(podText('a', '10.0.0.1'), podText('b', '10.0.0.2')), 'f.yaml', undefined);
  const after = read(documents(podText('a', 'broken'), podText('b', '10.0.0.3')), 'f.yaml', before);
  t.same(names(after), ['a 10.0.0.1', 'b 10.0.0.3']);
  t.match(
    after.diagnostics.map(({ code }) => code),
    ['OBJECT_INVALID', 'LAST_GOOD_KEPT'],
  );
  const still = read(documents(podText('a', 'worse'), podText('b', '10.0.0.3')), 'f.yaml', after);
  t.same(names(still), ['a 10.0.0.1', 'b 10.0.0.3'], 'however often it is broken');
  const mended = read(documents(podText('a', '10.0.0.9')), 'f.yaml', still);
  t.same(names(mended), ['a 10.0.0.9']);
  t.same(mended.diagnostics, []);
});

t.test('a file that cannot be read to its end keeps its last good content', async (t) => {
  const before = read(podText('a', '10.0.0.1'), 'f.yaml', undefined);
  for (const text of ['a: [', documents(podText('b', '10.0.0.2'), '\nkind: Nameless\n')]) {
    const after = read(text, 'f.yaml', before);
    t.same(names(after), ['a 10.0.0.1']);
    t.ok(after.diagnostics.some(({ code }) => code === 'LAST_GOOD_KEPT'));
  }
});

t.test('on first sight what is good is used', async (t) => {
  const file = read(documents(podText('b', '10.0.0.2'), '\nkind: Nameless\n'), 'f.yaml', undefined);
  t.same(names(file), ['b 10.0.0.2']);
  t.equal(file.diagnostics[0]?.code, 'OBJECT_NOT_KUBERNETES');
});
