/** Each program on a real kernel: applied, applied again, removed, and written out as a script. */
import { test } from 'tap';
import type { ProgramParameters } from '../../../src/redirect/parameters.ts';
import { planMember, planProgram } from '../../../src/redirect/plan.ts';
import { showPlan } from '../../../src/redirect/show.ts';
import { makeNode, type TestNamespace, withoutNamespaces } from './namespace.ts';
import { host, inpod, node, productpage, sleep, ztunnel } from './programs.ts';

const skip = withoutNamespaces;
const programs: readonly (readonly [string, ProgramParameters])[] = [
  ['node', node],
  ['node with one rule per pod and DNS', { ...node, membership: 'rules', dns: true }],
  ['node with devices that are there', { ...node, tunnel: { kind: 'existing' } }],
  ['ztunnel', ztunnel],
  ['host by socket', host],
  ['host by connmark with one rule per pod', { ...host, membership: 'rules', returnPath: 'connmark' }],
  ['inpod', inpod],
  ['inpod with DNS and IPv6', { ...inpod, dns: true, ipv6: true }],
];

for (const [name, parameters] of programs) {
  const members = parameters.program === 'node' || parameters.program === 'host' ? [sleep, productpage] : [];

  test(`${name}: applied twice is applied once, removed is as before`, { skip }, async (t) => {
    const namespace = await makeReady(await makeNode(t), parameters);
    const { redirection } = namespace;
    const before = await namespace.snapshot();
    const plan = planProgram(parameters);
    t.ok((await redirection.apply(plan)) > 0, 'the first apply changes something');
    for (const member of members) await redirection.addMember(plan.program, member);
    const applied = await namespace.snapshot();
    t.equal(await redirection.apply(plan), 0, 'the second apply changes nothing');
    t.equal(await namespace.snapshot(), applied, 'nor does it disturb the members');
    const { kind } = await redirection.remove(plan.program);
    t.equal(kind, 'removed');
    t.equal(await namespace.snapshot(), before);
    t.same(await redirection.remove(plan.program), { kind: 'nothing-recorded' });
  });

  test(`${name}: the script that show prints does what apply does`, { skip }, async (t) => {
    const byScript = await makeReady(await makeNode(t), parameters);
    const byApply = await makeReady(await makeNode(t), parameters);
    const plan = planProgram(parameters);
    const steps = members.flatMap((member) => planMember(parameters, member));
    await byScript.run('sh', showPlan(plan, steps));
    await byApply.redirection.apply(plan, members);
    t.equal(await byScript.snapshot(), await byApply.snapshot());
  });
}

async function makeReady(namespace: TestNamespace, parameters: ProgramParameters): Promise<TestNamespace> {
  if (!('tunnel' in parameters) || parameters.tunnel.kind !== 'existing') return namespace;
  await namespace.run('ip link add istioin type veth peer name pistioin');
  await namespace.run('ip link add istioout type veth peer name pistioout');
  return namespace;
}
