/**
 * The namespace of the article's ztunnel pod: far ends of the tunnels, the three TPROXY captures in the article's order,
 * and routing that delivers packets for foreign addresses locally. seed-design.md §3.2.
 * Both return paths work with it: the rules for marked listeners (E) are simply not met by unmarked ones (R).
 */
import type { ZtunnelParameters } from './parameters.ts';
import type { Rule } from './rule.ts';
import type { FilterStep, RoutingStep, Step, SysctlStep } from './step.ts';
import { tunnelSteps } from './tunnel-steps.ts';

export function planZtunnel(parameters: ZtunnelParameters): Step[] {
  const { constants: c, device } = parameters;
  return [
    { kind: 'device', device, why: 'the pod’s own device' },
    ...tunnelSteps(c, parameters.tunnel, 'pod', parameters.hostAddress),
    ...ztunnelSysctls(parameters),
    ...ztunnelRouting(parameters),
    mangleTable(parameters),
    natTable(parameters),
  ];
}

function ztunnelSysctls({ constants: c, device }: ZtunnelParameters): SysctlStep[] {
  const names = ['all', 'default', device, c.tunnels.inbound.podDevice, c.tunnels.outbound.podDevice];
  return names.map((name) => ({
    kind: 'sysctl',
    path: `net/ipv4/conf/${name}/rp_filter`,
    value: '0',
    why: 'packets come in by devices that no route back would use',
  }));
}

function ztunnelRouting(parameters: ZtunnelParameters): RoutingStep[] {
  const { constants: c, hostAddress, device } = parameters;
  const { tables, priorities, marks } = c.ztunnel;
  const route = { kind: 'route', family: 'ipv4' } as const;
  const node = (table: number): RoutingStep => ({
    ...route,
    table,
    to: hostAddress,
    device,
    scope: 'link',
    why: 'the encapsulated packet leaves by the pod’s own device',
  });
  const rule = (
    priority: number,
    mark: { readonly value: number; readonly mask: number },
    table: number,
    why: string,
  ): RoutingStep => ({
    kind: 'policy-rule',
    family: 'ipv4',
    priority,
    mark,
    action: { kind: 'lookup', table },
    why,
  });
  return [
    {
      ...route,
      table: tables.local,
      type: 'local',
      to: 'default',
      device: 'lo',
      why: 'whatever the address, it is ours',
    },
    node(tables.outboundListener),
    {
      ...route,
      table: tables.outboundListener,
      to: 'default',
      via: c.tunnels.outbound.nodeAddress,
      device: c.tunnels.outbound.podDevice,
      why: 'replies of the outbound listener go back by the tunnel they came from',
    },
    node(tables.inboundListener),
    {
      ...route,
      table: tables.inboundListener,
      to: 'default',
      via: c.tunnels.inbound.nodeAddress,
      device: c.tunnels.inbound.podDevice,
      why: 'replies of the inbound listeners go back by the tunnel they came from',
    },
    rule(priorities.tproxy, marks.tproxy, tables.local, 'deliver captured packets locally'),
    rule(
      priorities.outboundListener,
      marks.outboundListener,
      tables.outboundListener,
      'sockets of the outbound listener, when it is marked',
    ),
    rule(
      priorities.inboundListener,
      marks.inboundListener,
      tables.inboundListener,
      'sockets of the inbound listeners, when they are marked',
    ),
    rule(priorities.spoofedReply, marks.spoofedReply, tables.local, 'deliver replies to spoofed sockets locally'),
  ];
}

function mangleTable(parameters: ZtunnelParameters): FilterStep {
  const { constants: c } = parameters;
  const { chainPrefix: prefix, marks } = c.ztunnel;
  const tproxy = (port: number): Rule['target'] => ({ kind: 'tproxy', port, ip: '127.0.0.1', mark: marks.tproxy });
  return {
    kind: 'table',
    family: 'ipv4',
    table: 'mangle',
    chains: [
      {
        name: `${prefix}PREROUTING`,
        rules: [
          {
            in: c.tunnels.inbound.podDevice,
            protocol: 'tcp',
            matches: [{ kind: 'destination-port', port: c.ports.inbound }],
            target: tproxy(c.ports.inbound),
            why: 'HBONE to a pod of this node',
          },
          {
            in: c.tunnels.outbound.podDevice,
            protocol: 'tcp',
            target: tproxy(c.ports.outbound),
            why: 'whatever a pod of this node sends',
          },
          {
            in: c.tunnels.inbound.podDevice,
            protocol: 'tcp',
            target: tproxy(c.ports.inboundPlaintext),
            why: 'plaintext to a pod of this node',
          },
          {
            notTo: parameters.ztunnelAddress,
            in: parameters.device,
            protocol: 'tcp',
            target: { kind: 'mark', mark: marks.spoofedReply },
            why: 'a reply to a socket on which ztunnel speaks as somebody else',
          },
        ],
      },
    ],
    jumps: [{ hook: 'PREROUTING', chain: `${prefix}PREROUTING` }],
    why: 'hand tunnelled traffic to the three listeners, its destination kept',
  };
}

function natTable({ constants: c }: ZtunnelParameters): FilterStep {
  return {
    kind: 'table',
    family: 'ipv4',
    table: 'nat',
    chains: [
      {
        name: `${c.ztunnel.chainPrefix}OUTPUT`,
        rules: [
          {
            protocol: 'tcp',
            matches: [{ kind: 'destination-port', port: c.ports.sameNode }],
            target: { kind: 'redirect', port: c.ports.inbound },
            why: 'a pod of the same node: ztunnel’s own packets are never captured, so it dials itself',
          },
        ],
      },
    ],
    jumps: [{ hook: 'OUTPUT', chain: `${c.ztunnel.chainPrefix}OUTPUT` }],
    why: 'reach the own inbound listener',
  };
}
