/** Pods come and go one by one: three effects each, and nobody else's are touched. */
import { test } from 'tap';
import { planProgram } from '../../../src/redirect/plan.ts';
import { makeNode, withoutNamespaces } from './namespace.ts';
import { host, node, productpage, sleep } from './programs.ts';

const skip = withoutNamespaces;

for (const membership of ['ipset', 'rules'] as const) {
  test(`a member is added and removed without touching another (${membership})`, { skip }, async (t) => {
    const namespace = await makeNode(t);
    const { redirection } = namespace;
    await redirection.apply(planProgram({ ...node, membership }));
    const none = await namespace.snapshot();
    t.ok((await redirection.addMember('node', productpage)) > 0);
    const one = await namespace.snapshot();
    t.ok((await redirection.addMember('node', sleep)) > 0);
    t.equal(await redirection.addMember('node', sleep), 0, 'adding it again changes nothing');
    t.equal((await redirection.members('node')).length, 2);
    const two = await namespace.snapshot();
    t.match(two, '10.244.1.4 via 192.168.126.2 dev istioin table 100 src 10.244.1.1');
    t.match(two, '/proc/sys/net/ipv4/conf/vethsl/rp_filter:0');
    t.match(two, membership === 'ipset' ? 'add ztunnel-pods-ips 10.244.1.4' : '-A ztunnel-PODS -s 10.244.1.4/32');
    await redirection.removeMember('node', sleep.ip);
    t.equal(await namespace.snapshot(), one);
    t.equal(await redirection.removeMember('node', sleep.ip), 0, 'removing it again changes nothing');
    await redirection.removeMember('node', productpage.ip);
    t.equal(await namespace.snapshot(), none);
  });
}

test('a pod that moved to another device is captured there only', { skip }, async (t) => {
  const namespace = await makeNode(t);
  const { redirection } = namespace;
  await redirection.apply(planProgram(node), [sleep]);
  await redirection.addMember('node', { ...sleep, hostVeth: 'vethpp' });
  const moved = await namespace.snapshot();
  t.match(moved, '/proc/sys/net/ipv4/conf/vethsl/rp_filter:1');
  t.match(moved, '/proc/sys/net/ipv4/conf/vethpp/rp_filter:0');
  t.match(moved, 'add ztunnel-pods-ips 10.244.1.4');
});

test('a pod whose device is gone can be removed, and apply drops it by itself', { skip }, async (t) => {
  const namespace = await makeNode(t);
  const { redirection } = namespace;
  const plan = planProgram(host);
  await redirection.apply(plan, [sleep, productpage]);
  await namespace.run('ip link del vethsl');
  await redirection.removeMember('host', sleep.ip);
  await namespace.run('ip link del vethpp');
  await redirection.apply(plan);
  t.same(await redirection.members('host'), []);
  t.notMatch(await namespace.snapshot(), /add ambient-pods/);
});

test('a member’s device must be there, and a program must be applied first', { skip }, async (t) => {
  const { redirection } = await makeNode(t);
  await t.rejects(redirection.addMember('node', sleep), { code: 'REDIRECT_NOT_APPLIED' });
  await redirection.apply(planProgram(node));
  const absent = { ...sleep, hostVeth: 'vethxx' };
  await t.rejects(redirection.addMember('node', absent), { code: 'REDIRECT_DEVICE_MISSING', message: /vethxx/ });
  t.same(await redirection.members('node'), []);
});
