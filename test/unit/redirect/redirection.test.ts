/** Apply, members and remove in any order, on a machine without a kernel. */
import fc from 'fast-check';
import { test } from 'tap';
import { silentLogger } from '../../../src/base/logger.ts';
import { defaultRedirectConstants as constants } from '../../../src/redirect/constants.ts';
import type { Member, ProgramParameters } from '../../../src/redirect/parameters.ts';
import { planProgram } from '../../../src/redirect/plan.ts';
import { createRedirection } from '../../../src/redirect/redirection.ts';
import type { Runner } from '../../../src/redirect/runner.ts';
import { eventually } from '../../support/eventually.ts';
import { createFakeMachine } from './fake-machine.ts';
import { createMemoryStore } from './memory-store.ts';

const devices = ['lo', 'eth0', 'vethza', 'veth1', 'veth2', 'veth3'];
const membership = fc.constantFrom('ipset' as const, 'rules' as const);
const address = fc.constantFrom('10.244.1.2', '10.244.1.77');
const tunnel = fc.constantFrom({ kind: 'geneve', mtu: 1450 } as const, { kind: 'vxlan', mtu: 1400 } as const);
const node = fc.record({
  program: fc.constant('node' as const),
  constants: fc.constant(constants),
  ztunnelAddress: address,
  ztunnelDevice: fc.constant('vethza'),
  hostAddress: fc.constant('10.244.1.1'),
  tunnel,
  membership,
  dns: fc.boolean(),
});
const ztunnel = fc.record({
  program: fc.constant('ztunnel' as const),
  constants: fc.constant(constants),
  ztunnelAddress: address,
  hostAddress: fc.constant('10.244.1.1'),
  device: fc.constant('eth0'),
  tunnel,
});
const host = fc.record({
  program: fc.constant('host' as const),
  constants: fc.constant(constants),
  membership,
  returnPath: fc.constantFrom('socket' as const, 'connmark' as const),
});
const inpod = fc.record({
  program: fc.constant('inpod' as const),
  constants: fc.constant(constants),
  dns: fc.boolean(),
  ipv6: fc.boolean(),
});
const member = fc.record({
  ip: fc.constantFrom('10.244.1.4', '10.244.1.5', '10.244.1.6'),
  hostVeth: fc.constantFrom('veth1', 'veth2', 'veth3'),
});
type Action = { readonly kind: 'add' | 'drop'; readonly member: Member } | { readonly kind: 'again' };
const actions = fc.array<Action>(
  fc.oneof(
    fc.record({ kind: fc.constantFrom('add' as const, 'drop' as const), member }),
    fc.constant({ kind: 'again' as const }),
  ),
  { maxLength: 8 },
);

function setUp() {
  const machine = createFakeMachine(devices);
  const store = createMemoryStore();
  const redirection = createRedirection({ runner: machine, store, iptables: 'auto', logger: silentLogger });
  return { machine, store, redirection };
}

async function everyPlan(first: ProgramParameters, second: ProgramParameters, steps: readonly Action[]): Promise<void> {
  const { machine, store, redirection } = setUp();
  const before = machine.state();
  const { program } = first;
  await redirection.apply(planProgram(first));
  const hasMembers = program === 'node' || program === 'host';
  for (const step of steps) {
    if (step.kind === 'again') await redirection.apply(planProgram(second));
    else if (hasMembers && step.kind === 'add') await redirection.addMember(program, step.member);
    else if (hasMembers) await redirection.removeMember(program, step.member.ip);
  }
  await redirection.apply(planProgram(second));
  const applied = machine.state();
  if ((await redirection.apply(planProgram(second))) !== 0) throw new Error('the second apply changed something');
  if (machine.state() !== applied) throw new Error('the second apply changed the machine');
  await redirection.remove(program);
  if (machine.state() !== before) throw new Error(`left behind:\n${machine.state()}\nbefore:\n${before}`);
  if (store.records.size > 0) throw new Error('a record is left');
}

const pairs: readonly fc.Arbitrary<readonly [ProgramParameters, ProgramParameters]>[] = [
  node,
  ztunnel,
  host,
  inpod,
].map((program) => fc.tuple(program, program));

for (const [index, name] of ['node', 'ztunnel', 'host', 'inpod'].entries()) {
  test(`${name}: whatever plans and members came and went, remove leaves the machine as it was`, async (t) => {
    const pair = pairs[index] ?? fc.constant([] as never);
    const property = fc.asyncProperty(pair, actions, ([first, second], steps) => everyPlan(first, second, steps));
    await fc.assert(property, { numRuns: 40 });
    t.pass();
  });
}

test('calls run one after the other', async (t) => {
  const { machine, redirection } = setUp();
  const before = machine.state();
  const plan = planProgram({ program: 'host', constants, membership: 'ipset', returnPath: 'socket' });
  const one = { ip: '10.244.1.4', hostVeth: 'veth1' };
  const two = { ip: '10.244.1.5', hostVeth: 'veth2' };
  await Promise.all([
    redirection.apply(plan),
    redirection.addMember('host', one),
    redirection.addMember('host', two),
    redirection.removeMember('host', one.ip),
  ]);
  t.same(await redirection.members('host'), [two]);
  await redirection.remove('host');
  t.equal(machine.state(), before);
});

test('a failed removal keeps the record, and the next one finishes', async (t) => {
  const { machine, store, redirection } = setUp();
  const before = machine.state();
  await redirection.apply(planProgram({ program: 'inpod', constants, dns: false, ipv6: false }));
  const stuck = createRedirection({
    runner: {
      run: (command) =>
        command.program.endsWith('-restore')
          ? Promise.resolve({ status: 1, stdout: '', stderr: 'Resource busy' })
          : machine.run(command),
    },
    store,
    iptables: 'auto',
    logger: silentLogger,
  });
  await t.rejects(stuck.remove('inpod'), { code: 'REDIRECT_INCOMPLETE', message: /Resource busy/ });
  t.equal(store.records.size, 1);
  await redirection.remove('inpod');
  t.equal(machine.state(), before);
});

test('a change of plan that the process did not survive is finished by the next apply', async (t) => {
  const { machine, store, redirection } = setUp();
  const before = machine.state();
  const plan = (dns: boolean) => planProgram({ program: 'inpod', constants, dns, ipv6: false });
  await redirection.apply(plan(true));
  const death: Runner = {
    run: (command) => (command.program.endsWith('-restore') ? new Promise<never>(() => {}) : machine.run(command)),
  };
  const dying = createRedirection({ runner: death, store, iptables: 'auto', logger: silentLogger });
  void dying.apply(plan(false));
  await eventually('the intent is recorded', () => (store.records.get('inpod')?.leftover.length ?? 0) > 0);
  await redirection.apply(plan(false));
  t.notMatch(machine.state(), 'raw', 'the DNS part of the earlier plan is gone');
  await redirection.remove('inpod');
  t.equal(machine.state(), before);
});

test('members that share a device keep its setting until the last one leaves', async (t) => {
  const { machine, redirection } = setUp();
  await redirection.apply(planProgram({ program: 'host', constants, membership: 'ipset', returnPath: 'socket' }));
  await redirection.addMember('host', { ip: '10.244.1.4', hostVeth: 'veth1' });
  await redirection.addMember('host', { ip: '10.244.1.5', hostVeth: 'veth1' });
  await redirection.removeMember('host', '10.244.1.4');
  t.match(machine.state(), 'conf/veth1/rp_filter=0');
  await redirection.removeMember('host', '10.244.1.5');
  t.match(machine.state(), 'conf/veth1/rp_filter=2');
});

test('a program that captures its whole namespace has no members', async (t) => {
  const { redirection } = setUp();
  await redirection.apply(planProgram({ program: 'inpod', constants, dns: false, ipv6: false }));
  await t.rejects(redirection.addMember('inpod', { ip: '10.244.1.4', hostVeth: 'veth1' }), {
    code: 'REDIRECT_NO_MEMBERS',
  });
});
