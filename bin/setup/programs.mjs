// Puts each program together with what it imports: node bin/setup/programs.mjs [FOLDER]   (default: dist)
// A proxy of a few files starts in half the time of one of nine hundred, and holds nothing of libraries that it never calls.
// What is started as a program or thread of its own has a file where its source has one (src/base/own-files.ts). A folder whose
// sources have not changed is kept; a new one appears by rename. Types are not looked at here: `tsc` does.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
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

/** Rejects with what does not fit together; the folder stays as it was. */
export async function buildPrograms(folder) {
  const stamp = stampOfSources();
  const stampFile = path.join(folder, 'stamp');
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return;
  const making = `${folder}.${process.pid}`;
  try {
    await bundle(making);
    writeFileSync(path.join(making, 'stamp'), stamp);
    rmSync(folder, { recursive: true, force: true });
    renameSync(making, folder);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
}

async function bundle(folder) {
  // Not at the top: a clone without packages can say so.
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
    // What Node reads of a program it holds for good, and twice as large for one letter beyond Latin-1: no comments. Names stay,
    // and with --enable-source-maps a stack names the sources.
    minifyWhitespace: true,
    lineLimit: 120,
    legalComments: 'none',
    sourcemap: true,
    sourcesContent: false,
    banner: { js: requireForAll },
    logLevel: 'silent',
    metafile: true,
  };
  mkdirSync(folder, { recursive: true });
  const shared = { entryPoints: programs, splitting: true, chunkNames: 'shared/[name]-[hash]' };
  const built = [await build({ ...common, ...shared })];
  for (const entry of extensions) built.push(await build({ ...common, entryPoints: [entry] }));
  const inputs = new Set(built.flatMap(({ metafile }) => Object.keys(metafile.inputs)));
  writeFileSync(path.join(folder, 'LICENSES.txt'), licensesOf(inputs));
}

/** Names, sizes and times of everything that a program is made of, libraries by their versions. */
function stampOfSources() {
  const hash = createHash('sha256');
  const add = (file) => {
    const { size, mtimeMs } = statSync(path.join(root, file));
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  };
  for (const folder of ['bin', 'src']) {
    const files = readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true });
    const names = files.filter((file) => file.isFile()).map((file) => path.join(file.parentPath, file.name));
    for (const name of names.sort((a, b) => (a < b ? -1 : 1))) add(path.relative(root, name));
  }
  for (const file of ['package.json', 'package-lock.json']) add(file);
  return hash.digest('hex');
}

/** The libraries' licences have to go where their code goes. */
function licensesOf(inputs) {
  const packages = new Set();
  for (const input of inputs) {
    const [, name] = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input) ?? [];
    if (name !== undefined) packages.add(name);
  }
  const texts = [...packages]
    .sort((a, b) => (a < b ? -1 : 1))
    .map((name) => {
      const folder = path.join(root, 'node_modules', name);
      const { version, license } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
      const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
      const text = file === undefined ? '' : `\n${readFileSync(path.join(folder, file), 'utf8').trim()}\n`;
      return `${name} ${version} (${license})\n${text}`;
    });
  return `The programs contain these libraries.\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`;
}

if (process.argv[1] !== undefined && fileURLToPath(import.meta.url) === path.resolve(process.argv[1])) {
  await buildPrograms(path.resolve(process.argv[2] ?? path.join(root, 'dist')));
}
