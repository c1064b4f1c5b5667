/** What apply and remove do to a real kernel, in namespaces of the test's own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { silentLogger } from '../../../src/base/logger.ts';
import { defaultRedirectConstants as constants } from '../../../src/redirect/constants.ts';
import type { ProgramParameters } from '../../../src/redirect/parameters.ts';
import { planProgram } from '../../../src/redirect/plan.ts';
import { createRedirection, type Redirection } from '../../../src/redirect/redirection.ts';
import type { Runner } from '../../../src/redirect/runner.ts';
import { createFileStateStore, networkNamespaceId } from '../../../src/redirect/state-store.ts';
import { makeNamespace, type TestNamespace } from './namespace.ts';

const node: ProgramParameters = {
  program: 'node',
  constants,
  ztunnelAddress: '10.244.1.2',
  ztunnelDevice: 'vethza',
  hostAddress: '10.244.1.1',
  tunnel: { kind: 'vxlan', mtu: 1450 },
  membership: 'ipset',
  dns: false,
};
const ztunnel: ProgramParameters = {
  program: 'ztunnel',
  constants,
  ztunnelAddress: '10.244.1.2',
  hostAddress: '10.244.1.1',
  device: 'eth0',
  tunnel: { kind: 'vxlan', mtu: 1450 },
};
const programs: readonly (readonly [string, ProgramParameters])[] = [
  ['node', node],
  ['node with one rule per pod and DNS', { ...node, membership: 'rules', dns: true }],
  ['node with devices that are there', { ...node, tunnel: { kind: 'existing' } }],
  ['ztunnel', ztunnel],
  ['host by socket', { program: 'host', constants, membership: 'ipset', returnPath: 'socket' }],
  [
    'host by connmark with one rule per pod',
    { program: 'host', constants, membership: 'rules', returnPath: 'connmark' },
  ],
  ['inpod', { program: 'inpod', constants, dns: false, ipv6: false }],
  ['inpod with DNS and IPv6', { program: 'inpod', constants, dns: true, ipv6: true }],
];
const sleep = { ip: '10.244.1.4', hostVeth: 'vethsl', comment: 'uid-of-sleep' };
const productpage = { ip: '10.244.1.9', hostVeth: 'vethpp' };

interface Fixture {
  readonly namespace: TestNamespace;
  readonly redirection: Redirection;
  /** A redirection of the same namespace whose commands go through `wrap`. */
  through(wrap: (runner: Runner) => Runner): Redirection;
}

async function makeFixture(t: Test): Promise<Fixture | undefined> {
  const namespace = await makeNamespace(t);
  if (namespace === undefined) return undefined;
  const pairs = ['vethza ztpeer', 'vethsl slpeer', 'vethpp pppeer', 'eth0 node'];
  for (const pair of pairs) await addPair(namespace, pair, true);
  await namespace.run('ip address add 10.244.1.1/32 dev vethza');
  // Values that only a restored setting brings back.
  await namespace.run('sysctl -qw net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.vethsl.rp_filter=1');
  const directory = await mkdtemp(join(tmpdir(), 'ambit-redirect-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const store = createFileStateStore(directory, await networkNamespaceId(namespace.path));
  const through = (wrap: (runner: Runner) => Runner) =>
    createRedirection({ runner: wrap(namespace.runner), store, iptables: 'auto', logger: silentLogger });
  return { namespace, redirection: through((runner) => runner), through };
}

async function addPair(namespace: TestNamespace, pair: string, up: boolean): Promise<void> {
  const [one, other] = pair.split(' ');
  await namespace.run(`ip link add ${one} type veth peer name ${other}`);
  if (!up) return;
  await namespace.run(`ip link set ${one} up`);
  await namespace.run(`ip link set ${other} up`);
}

for (const [name, parameters] of programs) {
  test(`${name}: applied twice is applied once, removed is as before`, async (t) => {
    const fixture = await makeFixture(t);
    if (fixture === undefined) return;
    const { namespace, redirection } = fixture;
    if ('tunnel' in parameters && parameters.tunnel.kind === 'existing') {
      await addPair(namespace, 'istioin pistioin', false);
      await addPair(namespace, 'istioout pistioout', false);
    }
    const before = await namespace.snapshot();
    const plan = planProgram(parameters);
    t.ok((await redirection.apply(plan)) > 0, 'the first apply changes something');
    const hasMembers = plan.program === 'node' || plan.program === 'host';
    if (hasMembers) {
      await redirection.addMember(plan.program, sleep);
      await redirection.addMember(plan.program, productpage);
    }
    const applied = await namespace.snapshot();
    t.not(applied, before);
    t.equal(await redirection.apply(plan), 0, 'the second apply changes nothing');
    t.equal(await namespace.snapshot(), applied);
    const outcome = await redirection.remove(plan.program);
    t.equal(outcome.kind, 'removed');
    t.equal(await namespace.snapshot(), before);
  });
}
