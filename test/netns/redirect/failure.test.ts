/** What is left after something goes wrong: nothing, or what was there before. */
import { test } from 'tap';
import { planProgram } from '../../../src/redirect/plan.ts';
import type { Command, Runner } from '../../../src/redirect/runner.ts';
import { makeNode, withoutNamespaces } from './namespace.ts';
import { node, sleep } from './programs.ts';

const skip = withoutNamespaces;

/** Lets the `occurrence`th such command do its work, then reports it as failed: the worst moment to go wrong. */
function failing(runner: Runner, line: string, occurrence: number): Runner & { readonly failed: () => boolean } {
  let seen = 0;
  const matches = (command: Command) => `${command.program} ${command.arguments.join(' ')}`.includes(line);
  return {
    failed: () => seen >= occurrence,
    async run(command) {
      const result = await runner.run(command);
      if (!matches(command) || ++seen !== occurrence) return result;
      return { status: 1, stdout: '', stderr: 'made to fail' };
    },
  };
}

const failures: readonly (readonly [string, string, number])[] = [
  ['the devices', 'ip -batch', 1],
  ['a setting', 'tee', 3],
  ['the set', 'ipset restore', 1],
  ['the routing', 'ip -batch', 2],
  ['the chains', 'restore --noflush', 1],
  ['the set of a member', 'ipset restore', 2],
];

for (const [what, line, occurrence] of failures) {
  test(`apply undoes itself when ${what} cannot be made`, { skip }, async (t) => {
    const namespace = await makeNode(t);
    const before = await namespace.snapshot();
    const runner = failing(namespace.runner, line, occurrence);
    const applied = namespace.redirectionBy(runner).apply(planProgram(node), [sleep]);
    await t.rejects(applied, { code: 'REDIRECT_COMMAND_FAILED', message: /made to fail/ });
    t.ok(runner.failed());
    t.equal(await namespace.snapshot(), before);
    t.equal(await namespace.store.load('node'), undefined, 'no record is left');
  });
}

test('a change of plan that fails leaves the earlier plan with its members', { skip }, async (t) => {
  const namespace = await makeNode(t);
  const plan = planProgram(node);
  await namespace.redirection.apply(plan, [sleep]);
  const before = await namespace.snapshot();
  const moved = planProgram({ ...node, ztunnelAddress: '10.244.1.77' });
  const runner = failing(namespace.runner, 'restore --noflush', 1);
  await t.rejects(namespace.redirectionBy(runner).apply(moved), { message: /made to fail/ });
  t.equal(await namespace.snapshot(), before);
  t.equal(await namespace.redirection.apply(plan), 0);
});

test('a change of plan moves everything and keeps the members', { skip }, async (t) => {
  const namespace = await makeNode(t);
  const before = await namespace.snapshot();
  await namespace.redirection.apply(planProgram(node), [sleep]);
  await namespace.redirection.apply(planProgram({ ...node, ztunnelAddress: '10.244.1.77' }));
  const moved = await namespace.snapshot();
  t.notMatch(moved, /10\.244\.1\.2\b/);
  t.match(moved, /10\.244\.1\.77/);
  t.match(moved, '10.244.1.4 via 192.168.126.2 dev istioin table 100 src 10.244.1.1');
  t.match(moved, 'add ztunnel-pods-ips 10.244.1.4 comment "uid-of-sleep"');
  await namespace.redirection.remove('node');
  t.equal(await namespace.snapshot(), before);
});

test('what was half lost is repaired by apply and fully taken off by remove', { skip }, async (t) => {
  const namespace = await makeNode(t);
  const before = await namespace.snapshot();
  await namespace.redirection.apply(planProgram(node), [sleep]);
  const applied = await namespace.snapshot();
  const damage = async () => {
    await namespace.run('ip link del istioin');
    await namespace.run('ip rule del priority 101');
    await namespace.run('iptables -t mangle -F ztunnel-PREROUTING');
    await namespace.run('iptables -t nat -D PREROUTING -j ztunnel-PREROUTING');
    await namespace.run('ipset del ztunnel-pods-ips 10.244.1.4');
  };
  await damage();
  await namespace.redirection.apply(planProgram(node));
  const sorted = (text: string) => text.split('\n').sort();
  t.same(sorted(await namespace.snapshot()), sorted(applied), 'all is back, if in another order of devices');
  await damage();
  await namespace.redirection.remove('node');
  t.equal(await namespace.snapshot(), before);
});

test('without CAP_NET_ADMIN the error says what is needed, and nothing changes', { skip }, async (t) => {
  const namespace = await makeNode(t);
  const before = await namespace.snapshot();
  const drop = ['--bounding-set', '-net_admin', '--inh-caps', '-net_admin', '--'];
  const unprivileged: Runner = {
    run: ({ program, arguments: args, input = '' }) =>
      namespace.runner.run({ program: 'setpriv', arguments: [...drop, program, ...args], input }),
  };
  const redirection = namespace.redirectionBy(unprivileged);
  await t.rejects(redirection.apply(planProgram(node)), { code: 'REDIRECT_NOT_PERMITTED', message: /CAP_NET_ADMIN/ });
  t.equal(await namespace.snapshot(), before);
});

test('what bears our names but is another agent’s is not touched', { skip }, async (t) => {
  const namespace = await makeNode(t);
  const apply = () => namespace.redirection.apply(planProgram(node));
  const taken: readonly (readonly [string, string, RegExp])[] = [
    ['iptables -t mangle -N ztunnel-OUTPUT', 'iptables -t mangle -X ztunnel-OUTPUT', /chain ztunnel-OUTPUT/],
    ['ip route add 10.9.0.0/16 dev vethpp table 101', 'ip route flush table 101', /routing table 101 is in use/],
    ['ip link add istioin type veth peer name x', 'ip link del istioin', /device istioin exists/],
    ['ipset create ztunnel-pods-ips hash:net', 'ipset destroy ztunnel-pods-ips', /ipset ztunnel-pods-ips exists/],
  ];
  for (const [make, unmake, message] of taken) {
    await namespace.run(make);
    if (make.includes('ztunnel-OUTPUT')) await namespace.run('iptables -t mangle -A ztunnel-OUTPUT -p tcp -j ACCEPT');
    const before = await namespace.snapshot();
    await t.rejects(apply(), { message }, make);
    t.equal(await namespace.snapshot(), before);
    if (make.includes('ztunnel-OUTPUT')) await namespace.run('iptables -t mangle -F ztunnel-OUTPUT');
    await namespace.run(unmake);
  }
});
