/** What is decided before and while entering: why not, who started us, where to mount, what is missing. */
import t from 'tap';
import { ancestorChain, chainHolds, type ReadProcess } from '../../../src/lab/ancestors.ts';
import { runCommand, systemPath } from '../../../src/lab/command.ts';
import { isInsideLab } from '../../../src/lab/enter.ts';
import { chooseRedirection, describeMissing, type Feature, missingFor } from '../../../src/lab/features.ts';
import { createLab } from '../../../src/lab/lab.ts';
import { chooseMountPoint } from '../../../src/lab/private-directory.ts';
import type { RedirectionMode } from '../../../src/lab/redirection.ts';
import { diagnoseNamespaces, type NamespaceFacts } from '../../../src/lab/unshare.ts';

const facts: NamespaceFacts = {
  root: false,
  error: 'setpriv: exit 1: unshare: unshare failed: Operation not permitted',
  maxUserNamespaces: '1000',
  unprivilegedClone: undefined,
  apparmorRestricts: undefined,
  container: false,
};

t.test('each cause of no namespaces has its one-line remedy', async (t) => {
  const remedy = (change: Partial<NamespaceFacts>) => diagnoseNamespaces({ ...facts, ...change }).remedy;
  t.match(remedy({ error: 'setpriv: spawn setpriv ENOENT' }), 'install util-linux');
  t.match(remedy({ unprivilegedClone: '0' }), 'kernel.unprivileged_userns_clone=1');
  t.match(remedy({ maxUserNamespaces: '0' }), 'user.max_user_namespaces=');
  t.match(remedy({ apparmorRestricts: '1' }), 'kernel.apparmor_restrict_unprivileged_userns=0');
  t.match(remedy({ container: true }), '--privileged');
  t.match(
    remedy({ root: true, container: true, apparmorRestricts: '1' }),
    '--privileged',
    'AppArmor does not bind root',
  );
  t.match(diagnoseNamespaces(facts).cause, 'Operation not permitted', 'what is not understood is quoted');
});

t.test('the chain to npm is followed through shells, and breaks with any of its links', async (t) => {
  const table: Record<number, { parent: number; command: string }> = {
    40: { parent: 30, command: 'node-MainThread' },
    30: { parent: 20, command: 'sh' },
    20: { parent: 10, command: 'npm run demo' },
    10: { parent: 1, command: 'bash' },
  };
  const read: ReadProcess = (pid) => table[pid];
  const chain = ancestorChain(40, read);
  t.same(chain, [
    { pid: 40, parent: 30 },
    { pid: 30, parent: 20 },
  ]);
  t.ok(chainHolds(chain, read));
  table[30] = { parent: 1, command: 'sh' };
  t.notOk(chainHolds(chain, read), 'npm is gone: its shell was adopted');
});

t.test('without npm above, only the direct parent is watched', async (t) => {
  const read: ReadProcess = (pid) => ({ parent: pid - 1, command: 'bash' });
  t.same(ancestorChain(9, read), [{ pid: 9, parent: 8 }]);
  t.same(
    ancestorChain(9, () => undefined),
    [],
  );
});

t.test('the private mount hides nothing that is needed', async (t) => {
  t.equal(chooseMountPoint(['/dev/shm', '/srv'], ['/usr/bin/node', '/srv/ambit']), '/dev/shm');
  t.equal(chooseMountPoint(['/dev/shm', '/srv'], ['/dev/shm/ambit/src']), '/srv');
  t.equal(chooseMountPoint(['/run'], ['/run/systemd/resolve/resolv.conf']), undefined);
  t.equal(chooseMountPoint(['/run'], ['/running']), '/run');
});

t.test('a missing feature says what is done instead, or how to get it', async (t) => {
  const geneve: Feature = {
    name: 'geneve',
    available: false,
    cause: 'Unknown device type',
    fallback: 'VXLAN',
    remedy: 'x',
  };
  const tproxy: Feature = { ...geneve, name: 'tproxy', fallback: undefined, remedy: 'sudo modprobe xt_TPROXY' };
  t.same(describeMissing([geneve, tproxy, { ...geneve, available: true }]), [
    'geneve is missing (Unknown device type); using VXLAN instead',
    'tproxy is missing (Unknown device type); to mend it: sudo modprobe xt_TPROXY',
  ]);
});

t.test('a feature counts as missing only for those ways of redirecting that use it', async (t) => {
  const missing = (name: Feature['name'], fallback?: string): Feature => {
    return { name, available: false, cause: '', fallback, remedy: '' };
  };
  const features = [missing('tproxy'), missing('connmark'), missing('ipset', 'rules')];
  const names = (mode: RedirectionMode) => missingFor(features, mode).map((feature) => feature.name);
  t.same(names('node'), ['tproxy', 'connmark']);
  t.same(names('host'), ['tproxy', 'connmark']);
  t.same(names('inpod'), ['connmark']);
  t.same(names('none'), []);
});

t.test('the tunnel and the membership follow the kernel unless they are asked for', async (t) => {
  const has = (...names: Feature['name'][]) =>
    names.map((name): Feature => ({ name, available: true, cause: '', fallback: undefined, remedy: '' }));
  t.match(chooseRedirection(has('geneve', 'vxlan', 'ipset'), { mode: 'node' }), {
    tunnel: 'geneve',
    membership: 'ipset',
  });
  t.match(chooseRedirection(has('vxlan'), { mode: 'node' }), { tunnel: 'vxlan', membership: 'rules' });
  t.match(chooseRedirection([], { mode: 'host' }), { mode: 'host', tunnel: 'veth', returnPath: 'socket' });
  t.match(chooseRedirection(has('geneve'), { mode: 'node', tunnel: 'veth' }), { tunnel: 'veth' });
  t.equal(chooseRedirection([]).mode, 'none');
});

t.test('outside there is no lab, whatever the environment says', async (t) => {
  process.env.AMBIT_LAB = 'inside';
  t.teardown(() => delete process.env.AMBIT_LAB);
  t.notOk(isInsideLab());
  await t.rejects(createLab({ topology: { nodes: [], pods: [], services: [] } }), { code: 'LAB_OUTSIDE' });
});

t.test('a command’s failure, absence and delay are outcomes', async (t) => {
  t.match(await runCommand(['sh', '-c', 'cat; echo no >&2; exit 3'], { stdin: 'in' }), {
    ok: false,
    stdout: 'in',
    reason: 'sh: exit 3: no',
  });
  t.match(await runCommand(['ambit-no-such-program']), { ok: false, reason: /ENOENT/ });
  t.match(await runCommand(['sleep', '60'], { timeoutMs: 20 }), { ok: false, reason: /ended by SIGKILL/ });
  t.match(await runCommand(['sh', '-c', 'yes | head -c 100000'], { outputBytes: 10 }), { ok: true });
  t.equal(systemPath('/usr/bin'), '/usr/bin:/usr/local/sbin:/usr/sbin:/sbin:/bin');
});
