/**
 * The node's namespace in the article: two tunnels to the node's ztunnel, marks that tell captured, skipped and returning
 * packets apart, and routing by those marks. seed-design.md §3.1; docs/redirection.md explains each rule.
 * I1: a packet of ztunnel is never captured; I2: a virtual IP is still itself when it reaches ztunnel.
 */
import { captureChains, captureRule, type MemberCapture } from './member-capture.ts';
import type { NodeParameters } from './parameters.ts';
import type { Match, Rule } from './rule.ts';
import type { FilterStep, RoutingStep, Step, SysctlStep } from './step.ts';
import { tunnelSteps } from './tunnel-steps.ts';

export function planNode(parameters: NodeParameters): Step[] {
  const { constants: c, ztunnelDevice, membership } = parameters;
  return [
    { kind: 'device', device: ztunnelDevice, why: 'the ztunnel pod must run before its node is redirected' },
    ...tunnelSteps(c, parameters.tunnel, 'node', parameters.ztunnelAddress),
    ...nodeSysctls(parameters),
    ...(membership === 'ipset'
      ? ([{ kind: 'set', set: c.node.set, family: 'ipv4', why: 'addresses of the captured pods' }] as const)
      : []),
    ...nodeRouting(parameters),
    mangleTable(parameters),
    natTable(parameters),
  ];
}

export function nodeCaptures(parameters: NodeParameters): MemberCapture[] {
  const { constants: c } = parameters;
  const outbound: MemberCapture = {
    table: 'mangle',
    chain: `${c.node.chainPrefix}PODS`,
    direction: 'src',
    rule: {
      protocol: 'tcp',
      target: { kind: 'mark', mark: c.node.marks.outbound },
      why: 'capture what a member pod sends',
    },
  };
  const dns: MemberCapture = {
    table: 'nat',
    chain: `${c.node.chainPrefix}PODS-DNS`,
    direction: 'src',
    rule: {
      protocol: 'udp',
      matches: [{ kind: 'destination-port', port: 53 }],
      target: { kind: 'destination-nat', to: `${parameters.ztunnelAddress}:${c.ports.dns}` },
      why: 'DNS of member pods is answered by ztunnel',
    },
  };
  return parameters.dns ? [outbound, dns] : [outbound];
}

function nodeSysctls({ constants: c, ztunnelDevice }: NodeParameters): SysctlStep[] {
  const devices = [ztunnelDevice, c.tunnels.inbound.nodeDevice, c.tunnels.outbound.nodeDevice];
  const reversePath = 'packets come in by devices that no route back would use';
  return [
    ...['all', 'default', ...devices].map((name) => sysctl(name, 'rp_filter', '0', reversePath)),
    ...devices.map((name) => sysctl(name, 'accept_local', '1', 'a source address may be one of the node’s own')),
  ];
}

function sysctl(name: string, setting: string, value: string, why: string): SysctlStep {
  return { kind: 'sysctl', path: `net/ipv4/conf/${name}/${setting}`, value, why };
}

function nodeRouting(parameters: NodeParameters): RoutingStep[] {
  const { constants: c, ztunnelAddress, ztunnelDevice } = parameters;
  const { tables, priorities, marks } = c.node;
  const direct = (table: number, why: string): RoutingStep => ({
    kind: 'route',
    family: 'ipv4',
    table,
    to: ztunnelAddress,
    device: ztunnelDevice,
    scope: 'link',
    why,
  });
  const route = { kind: 'route', family: 'ipv4', to: 'default' } as const;
  const rule = { kind: 'policy-rule', family: 'ipv4' } as const;
  return [
    direct(
      tables.outbound,
      'the encapsulated packet keeps the mark: without this route it would enter the tunnel again',
    ),
    {
      ...route,
      table: tables.outbound,
      via: c.tunnels.outbound.podAddress,
      device: c.tunnels.outbound.nodeDevice,
      why: 'captured outbound traffic goes to ztunnel with its destination untouched',
    },
    direct(tables.proxyReturn, 'next hop of the default route below'),
    {
      ...route,
      table: tables.proxyReturn,
      via: ztunnelAddress,
      device: ztunnelDevice,
      onlink: true,
      why: 'replies to ztunnel’s spoofed sockets go straight to its own device',
    },
    direct(tables.inbound, 'ztunnel itself is reached directly'),
    {
      ...rule,
      priority: priorities.skip,
      mark: marks.skip,
      action: { kind: 'goto', priority: 32766 },
      why: 'skipped traffic sees the main table only',
    },
    {
      ...rule,
      priority: priorities.outbound,
      mark: marks.outbound,
      action: { kind: 'lookup', table: tables.outbound },
      why: 'captured outbound traffic',
    },
    {
      ...rule,
      priority: priorities.proxyReturn,
      mark: marks.proxyReturn,
      action: { kind: 'lookup', table: tables.proxyReturn },
      why: 'replies to spoofed sockets',
    },
    {
      ...rule,
      priority: priorities.inbound,
      action: { kind: 'lookup', table: tables.inbound },
      why: 'traffic to member pods; the table has no default, so all else goes on to main',
    },
  ];
}

function mangleTable(parameters: NodeParameters): FilterStep {
  const { constants: c, membership } = parameters;
  const { chainPrefix: prefix, marks } = c.node;
  const captures = nodeCaptures(parameters);
  const saved = [saveMark(marks.skipConnection, 'skipped'), saveMark(marks.spoofed, 'spoofed')];
  return {
    kind: 'table',
    family: 'ipv4',
    table: 'mangle',
    chains: [
      { name: `${prefix}PREROUTING`, rules: preroutingRules(parameters, captures) },
      { name: `${prefix}INPUT`, rules: saved },
      { name: `${prefix}FORWARD`, rules: saved },
      {
        name: `${prefix}OUTPUT`,
        rules: [
          {
            from: parameters.hostAddress,
            target: { kind: 'mark', mark: marks.skipConnection },
            why: 'the node’s own traffic, such as kubelet probes, is not captured',
          },
        ],
      },
      { name: `${prefix}POSTROUTING`, rules: [] },
      ...captureChains(captures, membership, 'mangle'),
    ],
    jumps: (['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'] as const).map((hook) => ({
      hook,
      chain: `${prefix}${hook}`,
    })),
    why: 'tell captured, skipped and returning packets apart by mark',
  };
}

function preroutingRules(parameters: NodeParameters, captures: readonly MemberCapture[]): Rule[] {
  const { constants: c, ztunnelAddress, ztunnelDevice, membership } = parameters;
  const { marks, set } = c.node;
  const mark = (value: Rule['target'] & { kind: 'mark' }) => value;
  const skip = mark({ kind: 'mark', mark: marks.skip });
  const stop: Rule['target'] = { kind: 'return' };
  const skipped: Match[] = [{ kind: 'mark', mark: marks.skip }];
  const fromTunnels = [c.tunnels.inbound.nodeDevice, c.tunnels.outbound.nodeDevice].flatMap((device): Rule[] => [
    { in: device, target: skip, why: 'came out of the tunnel: not captured again' },
    { in: device, target: stop, why: 'done' },
  ]);
  return [
    ...fromTunnels,
    {
      protocol: 'udp',
      matches: [{ kind: 'destination-port', port: c.tunnelPort }],
      target: stop,
      why: 'the kernel copies marks between outer and inner packet: leave the outer one alone',
    },
    {
      matches: [{ kind: 'connection-mark', mark: marks.skipConnection }],
      target: skip,
      why: 'other direction of a skipped connection',
    },
    { matches: skipped, target: stop, why: 'done' },
    {
      notIn: ztunnelDevice,
      matches: [{ kind: 'connection-mark', mark: marks.spoofed }],
      target: { kind: 'mark', mark: marks.proxyReturn },
      why: 'reply to a socket on which ztunnel speaks as somebody else',
    },
    { matches: [{ kind: 'mark', mark: marks.proxyReturn }], target: stop, why: 'done' },
    {
      notFrom: ztunnelAddress,
      in: ztunnelDevice,
      target: { kind: 'mark', mark: marks.spoofed },
      why: 'ztunnel speaks as somebody else',
    },
    { matches: skipped, target: stop, why: 'done' },
    {
      in: ztunnelDevice,
      target: { kind: 'mark', mark: marks.skipConnection },
      why: 'ztunnel speaks as itself: to the control plane, to other ztunnels, to pods',
    },
    { protocol: 'udp', target: { kind: 'mark', mark: marks.skipConnection }, why: 'UDP is untouched' },
    { matches: skipped, target: stop, why: 'done' },
    ...captures.filter((capture) => capture.table === 'mangle').map((capture) => captureRule(capture, membership, set)),
  ];
}

function saveMark(mark: { value: number; mask: number }, what: string): Rule {
  return {
    matches: [{ kind: 'mark', mark }],
    target: { kind: 'save-mark', mask: mark.mask },
    why: `after routing, remember on the connection that it is ${what}`,
  };
}

function natTable(parameters: NodeParameters): FilterStep {
  const { constants: c, membership } = parameters;
  const prefix = c.node.chainPrefix;
  const captures = nodeCaptures(parameters);
  const keep: Rule = {
    matches: [{ kind: 'mark', mark: c.node.marks.outbound }],
    target: { kind: 'accept' },
    why: 'kube-proxy must not turn the virtual IP of captured traffic into a pod’s address',
  };
  const dns = captures.filter((capture) => capture.table === 'nat');
  return {
    kind: 'table',
    family: 'ipv4',
    table: 'nat',
    chains: [
      {
        name: `${prefix}PREROUTING`,
        rules: [keep, ...dns.map((capture) => captureRule(capture, membership, c.node.set))],
      },
      { name: `${prefix}POSTROUTING`, rules: [keep] },
      ...captureChains(captures, membership, 'nat'),
    ],
    jumps: [
      { hook: 'PREROUTING', chain: `${prefix}PREROUTING` },
      { hook: 'POSTROUTING', chain: `${prefix}POSTROUTING` },
    ],
    why: 'keep the destination of captured traffic',
  };
}
