// Puts each program together with what it imports: node bin/setup/programs.mjs [FOLDER]   (default: dist)
// A proxy made of a few files starts in half the time of one made of nine hundred, and without the parts of libraries that
// it never calls; names and lines stay as they are, so that a stack can be read. What is started as a program or thread of its
// own has a file of its own where its source has one (src/base/own-files.ts). Types are not looked at here: `tsc` does.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** They share what they have in common. */
const programs = [
  'bin/ambit.ts',
  'bin/demo.ts',
  'bin/image.ts',
  'bin/waypoint.ts',
  'bin/ztunnel.ts',
  'src/lab/apps/main.ts',
  'src/lab/request-main.ts',
];

/** Each has all it needs: an extension's thread may read its own files alone. */
const extensions = ['src/extensions/extension.ts', 'src/extensions/testing.ts', 'src/extensions/worker/main.ts'];

/** Libraries made for `require` ask for it by name. */
const requireForAll = `import { createRequire as createRequireHere } from 'node:module';
const require = createRequireHere(import.meta.url);`;

/** Replaces `folder` with the programs. Throws with what does not fit together. */
export async function buildPrograms(folder) {
  // The bootstrap imports this before packages are installed.
  const { build } = await import('esbuild');
  const common = {
    absWorkingDir: root,
    outdir: folder,
    outbase: root,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node26',
    conditions: ['ambit-source'],
    // The addon is built for itself; the other is asked for by a part of gRPC that nobody here calls.
    external: ['node-tproxy-native', '@grpc/proto-loader'],
    // What Node reads of a program it holds for good, and twice as large for one letter beyond Latin-1: no comments.
    minifyWhitespace: true,
    lineLimit: 120,
    sourcemap: true,
    sourcesContent: false,
    banner: { js: requireForAll },
    legalComments: 'none',
    logLevel: 'silent',
    metafile: true,
  };
  rmSync(folder, { recursive: true, force: true });
  const shared = { entryPoints: programs, splitting: true, chunkNames: 'shared/[name]-[hash]' };
  const built = [await build({ ...common, ...shared })];
  for (const entry of extensions) built.push(await build({ ...common, entryPoints: [entry] }));
  const sources = new Set(built.flatMap(({ metafile }) => Object.keys(metafile.inputs)));
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'LICENSES.txt'), licensesOf(sources));
}

/** The libraries' licences have to go where their code goes. */
function licensesOf(sources) {
  const packages = new Set();
  for (const source of sources) {
    const [, name] = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(source) ?? [];
    if (name !== undefined) packages.add(name);
  }
  const texts = [...packages].sort().map((name) => {
    const folder = path.join(root, 'node_modules', name);
    const { version, license } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? '' : `\n${readFileSync(path.join(folder, file), 'utf8').trim()}\n`;
    return `${name} ${version} (${license})\n${text}`;
  });
  return `The programs contain these libraries.\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`;
}

if (existsSync(process.argv[1] ?? '') && fileURLToPath(import.meta.url) === path.resolve(process.argv[1])) {
  await buildPrograms(path.resolve(process.argv[2] ?? path.join(root, 'dist')));
}
