/**
 * ztunnel in the node's own namespace: TPROXY straight to its listeners, no tunnels. seed-design.md §6.3.
 * ztunnel's own packets need no exception: what the node sends itself does not pass PREROUTING.
 */
import { captureChains, captureRule, type MemberCapture } from './member-capture.ts';
import type { HostParameters } from './parameters.ts';
import type { Rule } from './rule.ts';
import type { Chain, FilterStep, Step } from './step.ts';

export function planHost(parameters: HostParameters): Step[] {
  const { constants: c, membership } = parameters;
  return [
    { kind: 'sysctl', path: 'net/ipv4/ip_forward', value: '1', why: 'pods reach each other through the node' },
    ...(['all', 'default'] as const).map(
      (name): Step => ({
        kind: 'sysctl',
        path: `net/ipv4/conf/${name}/rp_filter`,
        value: '0',
        why: 'packets of spoofed connections have no route back by the device they come in',
      }),
    ),
    ...(membership === 'ipset'
      ? ([{ kind: 'set', set: c.host.set, family: 'ipv4', why: 'addresses of the captured pods' }] as const)
      : []),
    {
      kind: 'route',
      family: 'ipv4',
      table: c.host.table,
      type: 'local',
      to: 'default',
      device: 'lo',
      why: 'whatever the address, it is ours',
    },
    {
      kind: 'policy-rule',
      family: 'ipv4',
      priority: c.host.priority,
      mark: c.host.tproxyMark,
      action: { kind: 'lookup', table: c.host.table },
      why: 'deliver captured packets locally',
    },
    mangleTable(parameters),
    natTable(parameters),
  ];
}

export function hostCaptures({ constants: c }: HostParameters): MemberCapture[] {
  const tproxy = (port: number): Rule['target'] => ({
    kind: 'tproxy',
    port,
    ip: '127.0.0.1',
    mark: c.host.tproxyMark,
  });
  const prefix = c.host.chainPrefix;
  return [
    {
      table: 'mangle',
      chain: `${prefix}PODS-HBONE`,
      direction: 'dst',
      rule: {
        protocol: 'tcp',
        matches: [{ kind: 'destination-port', port: c.ports.inbound }],
        target: tproxy(c.ports.inbound),
        why: 'HBONE to a member pod',
      },
    },
    {
      table: 'mangle',
      chain: `${prefix}PODS-OUT`,
      direction: 'src',
      rule: { protocol: 'tcp', target: tproxy(c.ports.outbound), why: 'whatever a member pod sends' },
    },
    {
      table: 'mangle',
      chain: `${prefix}PODS-PLAIN`,
      direction: 'dst',
      rule: { protocol: 'tcp', target: tproxy(c.ports.inboundPlaintext), why: 'plaintext to a member pod' },
    },
  ];
}

function mangleTable(parameters: HostParameters): FilterStep {
  const { constants: c, membership, returnPath } = parameters;
  const { chainPrefix: prefix, tproxyMark, spoofedSocketMark, set } = c.host;
  const captures = hostCaptures(parameters);
  const ours: Rule = {
    matches: [
      returnPath === 'socket'
        ? { kind: 'socket', transparent: true }
        : { kind: 'connection-mark', mark: spoofedSocketMark },
    ],
    target: { kind: 'mark', mark: tproxyMark },
    why: 'reply to a spoofed socket, or a later packet of a captured connection',
  };
  const output: Chain = {
    name: `${prefix}OUTPUT`,
    rules: [
      {
        protocol: 'tcp',
        matches: [{ kind: 'mark', mark: spoofedSocketMark }],
        target: { kind: 'save-mark', mask: spoofedSocketMark.mask },
        why: 'remember on the connection that its socket is spoofed',
      },
    ],
  };
  const marked = returnPath === 'connmark';
  return {
    kind: 'table',
    family: 'ipv4',
    table: 'mangle',
    chains: [
      {
        name: `${prefix}PREROUTING`,
        rules: [
          ours,
          {
            matches: [{ kind: 'mark', mark: tproxyMark }],
            target: { kind: 'accept' },
            why: 'it has its socket: no capture, and no other agent’s rule after this',
          },
          {
            protocol: 'tcp',
            matches: [{ kind: 'local-destination' }, { kind: 'socket', transparent: false }],
            target: { kind: 'return' },
            why: 'a reply to a connection of the node’s own: probes, and ztunnel as itself',
          },
          ...captures.map((capture) => captureRule(capture, membership, set)),
        ],
      },
      ...(marked ? [output] : []),
      ...captureChains(captures, membership, 'mangle'),
    ],
    jumps: [
      { hook: 'PREROUTING', protocol: 'tcp', chain: `${prefix}PREROUTING` },
      ...(marked ? ([{ hook: 'OUTPUT', chain: `${prefix}OUTPUT` }] as const) : []),
    ],
    why: 'hand member pods’ traffic to the three listeners, its destination kept',
  };
}

/** nat comes after mangle: without this rule kube-proxy would rewrite a packet that already has its socket. */
function natTable({ constants: c }: HostParameters): FilterStep {
  const { chainPrefix: prefix, tproxyMark } = c.host;
  const keep: Rule = {
    matches: [{ kind: 'mark', mark: tproxyMark }],
    target: { kind: 'accept' },
    why: 'kube-proxy must not turn the virtual IP of captured traffic into a pod’s address',
  };
  return {
    kind: 'table',
    family: 'ipv4',
    table: 'nat',
    chains: [{ name: `${prefix}PREROUTING`, rules: [keep] }],
    jumps: [{ hook: 'PREROUTING', protocol: 'tcp', chain: `${prefix}PREROUTING` }],
    why: 'keep the destination of captured traffic',
  };
}
