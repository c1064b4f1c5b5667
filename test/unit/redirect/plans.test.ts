/** The plans against the recorded facts of the article (seed-design.md §3.1, §3.2, §6.3) and of today's Istio (ztunnel.md §1.6). */
import { test } from 'tap';
import { defaultRedirectConstants as constants, type Mark } from '../../../src/redirect/constants.ts';
import { jumpText } from '../../../src/redirect/filter-applier.ts';
import { addLine } from '../../../src/redirect/link-applier.ts';
import type { NodeParameters, ProgramParameters } from '../../../src/redirect/parameters.ts';
import { planMember, planProgram } from '../../../src/redirect/plan.ts';
import { addRoutingLine } from '../../../src/redirect/routing-applier.ts';
import { type Rule, ruleText } from '../../../src/redirect/rule.ts';
import type { Step, TableStep } from '../../../src/redirect/step.ts';

const node: NodeParameters = {
  program: 'node',
  constants,
  ztunnelAddress: '10.244.1.2',
  ztunnelDevice: 'vethza',
  hostAddress: '10.244.1.1',
  tunnel: { kind: 'geneve', mtu: 1450 },
  membership: 'ipset',
  dns: false,
};
const every: readonly ProgramParameters[] = [
  node,
  { ...node, membership: 'rules', dns: true },
  {
    program: 'ztunnel',
    constants,
    ztunnelAddress: '10.244.1.2',
    hostAddress: '10.244.1.1',
    device: 'eth0',
    tunnel: { kind: 'vxlan', mtu: 1450 },
  },
  { program: 'host', constants, membership: 'ipset', returnPath: 'socket' },
  { program: 'host', constants, membership: 'rules', returnPath: 'connmark' },
  { program: 'inpod', constants, dns: true, ipv6: true },
];

const stepsOf = (parameters: ProgramParameters) => planProgram(parameters).steps;

function chainLines(steps: readonly Step[], table: string, chain: string, family = 'ipv4'): string[] {
  return tables(steps)
    .filter((step) => step.table === table && step.family === family)
    .flatMap((step) => step.chains)
    .filter(({ name }) => name === chain)
    .flatMap(({ rules }) => rules.map(ruleText));
}

function tables(steps: readonly Step[]): TableStep[] {
  return steps.filter((step) => step.kind === 'table');
}

function routingLines(steps: readonly Step[]): string[] {
  return steps.flatMap((step) => (step.kind === 'route' || step.kind === 'policy-rule' ? [addRoutingLine(step)] : []));
}

function linkLines(steps: readonly Step[]): string[] {
  return steps.flatMap((step) => (step.kind === 'link' || step.kind === 'address' ? [addLine(step)] : []));
}

function sysctlLines(steps: readonly Step[]): string[] {
  return steps.flatMap((step) => (step.kind === 'sysctl' ? [`${step.path}=${step.value}`] : []));
}

test('the node’s PREROUTING has the article’s fifteen rules in their order', async (t) => {
  t.same(chainLines(stepsOf(node), 'mangle', 'ztunnel-PREROUTING'), [
    '-i istioin -j MARK --set-xmark 0x200/0x200',
    '-i istioin -j RETURN',
    '-i istioout -j MARK --set-xmark 0x200/0x200',
    '-i istioout -j RETURN',
    '-p udp -m udp --dport 6081 -j RETURN',
    '-m connmark --mark 0x220/0x220 -j MARK --set-xmark 0x200/0x200',
    '-m mark --mark 0x200/0x200 -j RETURN',
    '! -i vethza -m connmark --mark 0x210/0x210 -j MARK --set-xmark 0x40/0x40',
    '-m mark --mark 0x40/0x40 -j RETURN',
    '! -s 10.244.1.2/32 -i vethza -j MARK --set-xmark 0x210/0x210',
    '-m mark --mark 0x200/0x200 -j RETURN',
    '-i vethza -j MARK --set-xmark 0x220/0x220',
    '-p udp -j MARK --set-xmark 0x220/0x220',
    '-m mark --mark 0x200/0x200 -j RETURN',
    '-p tcp -m set --match-set ztunnel-pods-ips src -j MARK --set-xmark 0x100/0x100',
  ]);
});

test('the node’s other chains save marks after routing, spare its own traffic and keep virtual IPs', async (t) => {
  const steps = stepsOf(node);
  const saved = [
    '-m mark --mark 0x220/0x220 -j CONNMARK --save-mark --nfmask 0x220 --ctmask 0x220',
    '-m mark --mark 0x210/0x210 -j CONNMARK --save-mark --nfmask 0x210 --ctmask 0x210',
  ];
  t.same(chainLines(steps, 'mangle', 'ztunnel-INPUT'), saved);
  t.same(chainLines(steps, 'mangle', 'ztunnel-FORWARD'), saved);
  t.same(chainLines(steps, 'mangle', 'ztunnel-OUTPUT'), ['-s 10.244.1.1/32 -j MARK --set-xmark 0x220/0x220']);
  t.same(chainLines(steps, 'nat', 'ztunnel-PREROUTING'), ['-m mark --mark 0x100/0x100 -j ACCEPT']);
  t.same(chainLines(steps, 'nat', 'ztunnel-POSTROUTING'), ['-m mark --mark 0x100/0x100 -j ACCEPT']);
});

test('the node’s devices, routing and settings are the article’s', async (t) => {
  const steps = stepsOf(node);
  t.same(linkLines(steps), [
    'link add name istioin mtu 1450 type geneve id 1000 remote 10.244.1.2 dstport 6081',
    'address add 192.168.126.1/30 dev istioin',
    'link add name istioout mtu 1450 type geneve id 1001 remote 10.244.1.2 dstport 6081',
    'address add 192.168.127.1/30 dev istioout',
  ]);
  t.same(routingLines(steps), [
    'route add 10.244.1.2 dev vethza scope link table 101',
    'route add default via 192.168.127.2 dev istioout table 101',
    'route add 10.244.1.2 dev vethza scope link table 102',
    'route add default via 10.244.1.2 dev vethza onlink table 102',
    'route add 10.244.1.2 dev vethza scope link table 100',
    'rule add priority 100 fwmark 0x200/0x200 goto 32766',
    'rule add priority 101 fwmark 0x100/0x100 lookup 101',
    'rule add priority 102 fwmark 0x40/0x40 lookup 102',
    'rule add priority 103 lookup 100',
  ]);
  t.same(sysctlLines(steps), [
    ...['all', 'default', 'vethza', 'istioin', 'istioout'].map((name) => `net/ipv4/conf/${name}/rp_filter=0`),
    ...['vethza', 'istioin', 'istioout'].map((name) => `net/ipv4/conf/${name}/accept_local=1`),
  ]);
});

test('a member has its three effects', async (t) => {
  const steps = planMember(node, { ip: '10.244.1.4', hostVeth: 'vethsl', comment: 'uid' });
  t.same(routingLines(steps), ['route add 10.244.1.4 via 192.168.126.2 dev istioin src 10.244.1.1 table 100']);
  t.same(sysctlLines(steps), ['net/ipv4/conf/vethsl/rp_filter=0']);
  t.match(steps.at(-1), { kind: 'set-member', set: 'ztunnel-pods-ips', ip: '10.244.1.4', comment: 'uid' });
});

test('the ztunnel pod has the article’s three captures in order, and delivers foreign addresses locally', async (t) => {
  const steps = stepsOf({
    program: 'ztunnel',
    constants,
    ztunnelAddress: '10.244.1.2',
    hostAddress: '10.244.1.1',
    device: 'eth0',
    tunnel: { kind: 'vxlan', mtu: 1450 },
  });
  t.same(chainLines(steps, 'mangle', 'ambit-PREROUTING'), [
    '-i pistioin -p tcp -m tcp --dport 15008 -j TPROXY --on-port 15008 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff',
    '-i pistioout -p tcp -j TPROXY --on-port 15001 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff',
    '-i pistioin -p tcp -j TPROXY --on-port 15006 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff',
    '! -d 10.244.1.2/32 -i eth0 -p tcp -j MARK --set-xmark 0x4d3/0xfff',
  ]);
  t.same(chainLines(steps, 'nat', 'ambit-OUTPUT'), ['-p tcp -m tcp --dport 15088 -j REDIRECT --to-ports 15008']);
  t.same(linkLines(steps), [
    'link add name pistioin mtu 1450 type vxlan id 1000 remote 10.244.1.1 dstport 6081',
    'address add 192.168.126.2/30 dev pistioin',
    'link add name pistioout mtu 1450 type vxlan id 1001 remote 10.244.1.1 dstport 6081',
    'address add 192.168.127.2/30 dev pistioout',
  ]);
  t.same(routingLines(steps), [
    'route add local 0.0.0.0/0 dev lo table 100',
    'route add 10.244.1.1 dev eth0 scope link table 101',
    'route add default via 192.168.127.1 dev pistioout table 101',
    'route add 10.244.1.1 dev eth0 scope link table 102',
    'route add default via 192.168.126.1 dev pistioin table 102',
    'rule add priority 20000 fwmark 0x400/0xfff lookup 100',
    'rule add priority 20001 fwmark 0x401/0xfff lookup 101',
    'rule add priority 20002 fwmark 0x402/0xfff lookup 102',
    'rule add priority 20003 fwmark 0x4d3/0xfff lookup 100',
  ]);
  const names = ['all', 'default', 'eth0', 'pistioin', 'pistioout'];
  t.same(
    sysctlLines(steps),
    names.map((name) => `net/ipv4/conf/${name}/rp_filter=0`),
  );
});

test('ztunnel on the host is captured for by TPROXY alone, replies known by socket or by connection mark', async (t) => {
  const captures = [
    '-p tcp -m tcp --dport 15008 -m set --match-set ambient-pods dst -j TPROXY --on-port 15008 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff',
    '-p tcp -m set --match-set ambient-pods src -j TPROXY --on-port 15001 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff',
    '-p tcp -m set --match-set ambient-pods dst -j TPROXY --on-port 15006 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff',
  ];
  const ownReply = '-p tcp -m addrtype --dst-type LOCAL -m socket -j RETURN';
  const bySocket = stepsOf({ program: 'host', constants, membership: 'ipset', returnPath: 'socket' });
  t.same(chainLines(bySocket, 'mangle', 'ambit-PREROUTING'), [
    '-m socket --transparent -j MARK --set-xmark 0x400/0xfff',
    '-m mark --mark 0x400/0xfff -j ACCEPT',
    ownReply,
    ...captures,
  ]);
  t.same(chainLines(bySocket, 'nat', 'ambit-PREROUTING'), ['-m mark --mark 0x400/0xfff -j ACCEPT']);
  for (const { jumps } of tables(bySocket)) t.same(jumps.map(jumpText), ['-p tcp -j ambit-PREROUTING']);
  const byMark = stepsOf({ program: 'host', constants, membership: 'ipset', returnPath: 'connmark' });
  t.same(chainLines(byMark, 'mangle', 'ambit-PREROUTING'), [
    '-m connmark --mark 0x4d2/0xfff -j MARK --set-xmark 0x400/0xfff',
    '-m mark --mark 0x400/0xfff -j ACCEPT',
    ownReply,
    ...captures,
  ]);
  t.same(chainLines(byMark, 'mangle', 'ambit-OUTPUT'), [
    '-p tcp -m mark --mark 0x4d2/0xfff -j CONNMARK --save-mark --nfmask 0xfff --ctmask 0xfff',
  ]);
  t.same(routingLines(bySocket), [
    'route add local 0.0.0.0/0 dev lo table 100',
    'rule add priority 100 fwmark 0x400/0xfff lookup 100',
  ]);
});

for (const [family, loopback, probe] of [
  ['ipv4', '127.0.0.1/32', '169.254.7.127/32'],
  ['ipv6', '::1/128', 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128'],
] as const) {
  test(`a pod’s own namespace is redirected as today’s Istio does it (${family})`, async (t) => {
    const steps = stepsOf({ program: 'inpod', constants, dns: true, ipv6: true });
    const lines = (table: string, chain: string) => chainLines(steps, table, chain, family);
    t.same(lines('mangle', 'ISTIO_PRERT'), ['-m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff']);
    t.same(lines('mangle', 'ISTIO_OUTPUT'), [
      '-m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xfff --ctmask 0xfff',
    ]);
    t.same(lines('nat', 'ISTIO_PRERT'), [
      `-s ${probe} -p tcp -j ACCEPT`,
      `! -d ${loopback} -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006`,
    ]);
    t.same(lines('nat', 'ISTIO_OUTPUT'), [
      `-d ${probe} -p tcp -j ACCEPT`,
      '! -o lo -p udp -m mark ! --mark 0x539/0xfff -m udp --dport 53 -j REDIRECT --to-ports 15053',
      `! -d ${loopback} -p tcp -m tcp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053`,
      '-p tcp -m mark --mark 0x111/0xfff -j ACCEPT',
      `! -d ${loopback} -o lo -j ACCEPT`,
      `! -d ${loopback} -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001`,
    ]);
    t.same(lines('raw', 'ISTIO_PRERT'), ['-p udp -m mark ! --mark 0x539/0xfff -m udp --sport 53 -j CT --zone 1']);
    t.same(lines('raw', 'ISTIO_OUTPUT'), ['-p udp -m mark --mark 0x539/0xfff -m udp --dport 53 -j CT --zone 1']);
  });
}

test('without ipset the capture is a jump to one rule per pod, and nothing else differs', async (t) => {
  const steps = stepsOf({ ...node, membership: 'rules' });
  const lines = chainLines(steps, 'mangle', 'ztunnel-PREROUTING');
  t.same(lines.slice(0, -1), chainLines(stepsOf(node), 'mangle', 'ztunnel-PREROUTING').slice(0, -1));
  t.equal(lines.at(-1), '-p tcp -j ztunnel-PODS');
  const [rule] = planMember({ ...node, membership: 'rules' }, { ip: '10.244.1.4', hostVeth: 'v' }).filter(
    (step) => step.kind === 'member-rule',
  );
  t.match(rule, { chain: 'ztunnel-PODS', table: 'mangle' });
  t.equal(rule && ruleText(rule.rule), '-s 10.244.1.4/32 -p tcp -j MARK --set-xmark 0x100/0x100');
});

test('every mark that is written names the bits that are ours, so that others’ stay', async (t) => {
  const marksOf = ({ target }: Rule): Mark[] => {
    if (target.kind === 'save-mark' || target.kind === 'restore-mark') return [{ value: 0, mask: target.mask }];
    return 'mark' in target ? [target.mark] : [];
  };
  for (const parameters of every) {
    for (const rule of tables(stepsOf(parameters)).flatMap((step) => step.chains.flatMap(({ rules }) => rules))) {
      for (const { value, mask } of marksOf(rule)) {
        t.equal(mask & ~0xfff, 0, `${ruleText(rule)}: no bit above the twelve`);
        t.equal(value & ~mask, 0, `${ruleText(rule)}: no bit outside the mask`);
      }
    }
  }
});

test('built-in chains get one jump each to a chain of the plan, and nothing else', async (t) => {
  for (const step of every.flatMap((parameters) => tables(stepsOf(parameters)))) {
    const names = step.chains.map(({ name }) => name);
    t.ok(step.jumps.every(({ chain }) => names.includes(chain)));
    t.equal(new Set(step.jumps.map(({ hook }) => hook)).size, step.jumps.length);
    t.notOk(names.some((name) => /^[A-Z]+$/.test(name)));
  }
});

test('a plan survives JSON, as the record keeps it', async (t) => {
  for (const parameters of every) t.same(JSON.parse(JSON.stringify(planProgram(parameters))), planProgram(parameters));
});

test('parameters that could break out of a line are refused, all at once', async (t) => {
  const odd = { ...node, ztunnelDevice: 'v\nlink del eth0', hostAddress: 'fe80::1', ztunnelAddress: 'x' };
  t.throws(() => planProgram(odd), {
    code: 'REDIRECT_BAD_PARAMETER',
    message: /ztunnelAddress.*\n.*hostAddress.*\n.*ztunnelDevice/,
  });
  for (const hostVeth of ['', '..', 'a b', 'a/b', 'sixteen-letters-']) {
    t.throws(() => planMember(node, { ip: '10.244.1.4', hostVeth }), { code: 'REDIRECT_BAD_PARAMETER' });
  }
  t.throws(() => planMember(node, { ip: '10.244.1.4', hostVeth: 'v', comment: 'a"b' }), { message: /comment/ });
});
