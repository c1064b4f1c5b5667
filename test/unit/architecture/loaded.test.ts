/** What the proxies load at their start, and how they are started: both take memory of every node, whatever they do. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import path from 'node:path';
import { parse } from 'es-module-lexer';
import t from 'tap';
import { programCommand } from '../../../src/app/program-command.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');

t.test('ztunnel loads its own layer, and no library of the others', async (t) => {
  const { rooms, libraries } = loadedBy('bin/ztunnel.ts');
  t.ok(rooms.has('hbone') && libraries.has('@grpc/grpc-js'), 'imports are followed');
  t.same(
    ['control', 'http', 'lab', 'redirect', 'upstream', 'waypoint'].filter((room) => rooms.has(room)),
    [],
  );
  t.same(
    ['@peculiar/x509', 'http2-wrapper', 'reflect-metadata', 'undici'].filter((library) => libraries.has(library)),
    [],
  );
});

t.test('waypoint loads nothing of a ztunnel, of the control plane or of those who sign', async (t) => {
  const { rooms, libraries } = loadedBy('bin/waypoint.ts');
  t.ok(rooms.has('upstream') && libraries.has('undici'), 'imports are followed');
  t.same(
    ['control', 'inpod', 'lab', 'redirect', 'ztunnel'].filter((room) => rooms.has(room)),
    [],
  );
  t.same(
    ['@peculiar/x509', 'http2-wrapper', 'reflect-metadata'].filter((library) => libraries.has(library)),
    [],
  );
});

t.test('neither loads a fetch that it never calls', async (t) => {
  for (const program of ['ztunnel', 'waypoint']) {
    const look = `await import('./src/app/${program}.ts'); console.log(process.moduleLoadList.join('\\n'))`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', look], {
      cwd: root,
      encoding: 'utf8',
      env: { PATH: process.env.PATH },
    });
    const loaded = stdout.split('\n');
    t.ok(loaded.includes('NativeModule http'), stderr);
    t.same(
      loaded.filter((name) => name.includes('undici')),
      [],
      `${program}: import from base/node-http.ts`,
    );
  }
});

t.test('both proxies and the image are started alike', async (t) => {
  const [, ...words] = programCommand(path.join(root, 'bin/ztunnel.ts')).slice(0, -1);
  t.same(programCommand(path.join(root, 'bin/waypoint.ts')).slice(1, -1), words);
  const at = words.indexOf(process.execPath);
  const [settings, options] = [words.slice(0, at), words.slice(at + 1)];
  t.ok(settings.length > 0 && options.length > 1);
  const dockerfile = read('Dockerfile');
  const entry = JSON.parse(/^ENTRYPOINT (.+)$/m.exec(dockerfile)?.[1] ?? '[]') as string[];
  t.same(entry.slice(1, -1), options);
  const environment = /^ENV (.+)$/m.exec(dockerfile)?.[1]?.split(' ') ?? [];
  t.same(
    settings.filter((setting) => !environment.includes(setting)),
    [],
  );
});

/** By static imports, which are all that is loaded before something is asked for. */
function loadedBy(entry: string): { readonly rooms: ReadonlySet<string>; readonly libraries: ReadonlySet<string> } {
  const rooms = new Set<string>();
  const libraries = new Set<string>();
  const seen = new Set<string>();
  const visit = (file: string) => {
    if (seen.has(file) || file.startsWith('src/proto/gen/')) return;
    seen.add(file);
    const [place, room] = file.split('/');
    if (place === 'src' && room !== undefined) rooms.add(room);
    const [imports] = parse(stripTypeScriptTypes(read(file)));
    for (const found of imports) {
      if (found.type !== 'static' && found.type !== 'reexport-star') continue;
      const { specifier } = found;
      if (specifier.startsWith('.')) visit(path.join(path.dirname(file), specifier));
      else if (!specifier.startsWith('node:')) libraries.add(/^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier);
    }
  };
  visit(entry);
  return { rooms, libraries };
}
