/**
 * A pod's own namespace, as today's Istio redirects it: ztunnel's sockets live here and are known by their mark.
 * ztunnel.md §1.6, seed-design.md §6.4. IPv6 is the same once more with its own addresses.
 */
import type { InpodParameters } from './parameters.ts';
import type { Family, Match, Rule, TableName } from './rule.ts';
import type { Step, TableStep } from './step.ts';

export function planInpod(parameters: InpodParameters): Step[] {
  const families: Family[] = parameters.ipv6 ? ['ipv4', 'ipv6'] : ['ipv4'];
  return families.flatMap((family) => familySteps(parameters, family));
}

function familySteps(parameters: InpodParameters, family: Family): Step[] {
  const { inpod } = parameters.constants;
  return [
    {
      kind: 'route',
      family,
      table: inpod.table,
      type: 'local',
      to: 'default',
      device: 'lo',
      why: 'whatever the address, it is ours',
    },
    {
      kind: 'policy-rule',
      family,
      priority: inpod.priority,
      mark: inpod.connectionMark,
      action: { kind: 'lookup', table: inpod.table },
      why: 'the app’s replies to a source address that ztunnel borrowed come back to ztunnel',
    },
    ...(parameters.dns ? [rawTable(parameters, family)] : []),
    mangleTable(parameters, family),
    natTable(parameters, family),
  ];
}

function table(
  { constants: { inpod } }: InpodParameters,
  family: Family,
  name: TableName,
  prerouting: readonly Rule[],
  output: readonly Rule[],
  why: string,
): TableStep {
  return {
    kind: 'table',
    family,
    table: name,
    chains: [
      { name: inpod.preroutingChain, rules: prerouting },
      { name: inpod.outputChain, rules: output },
    ],
    jumps: [
      { hook: 'PREROUTING', chain: inpod.preroutingChain },
      { hook: 'OUTPUT', chain: inpod.outputChain },
    ],
    why,
  };
}

function mangleTable(parameters: InpodParameters, family: Family): TableStep {
  const { proxyMark, connectionMark } = parameters.constants.inpod;
  return table(
    parameters,
    family,
    'mangle',
    [
      {
        matches: [{ kind: 'mark', mark: proxyMark }],
        target: { kind: 'connection-mark', mark: connectionMark },
        why: 'a connection that ztunnel opened to the app',
      },
    ],
    [
      {
        matches: [{ kind: 'connection-mark', mark: connectionMark }],
        target: { kind: 'restore-mark', mask: connectionMark.mask },
        why: 'the app’s reply on it',
      },
    ],
    'know ztunnel’s own connections in both directions',
  );
}

function natTable(parameters: InpodParameters, family: Family): TableStep {
  const { inpod, ports } = parameters.constants;
  const loopback = family === 'ipv4' ? '127.0.0.1' : '::1';
  const probe = inpod.probeAddress[family];
  const notProxy: Match = { kind: 'mark', mark: inpod.proxyMark, negate: true };
  const prerouting: Rule[] = [
    {
      from: probe,
      protocol: 'tcp',
      target: { kind: 'accept' },
      why: 'kubelet’s probes, which the node sends from here',
    },
    {
      notTo: loopback,
      protocol: 'tcp',
      matches: [{ kind: 'destination-port', port: ports.inbound, negate: true }, notProxy],
      target: { kind: 'redirect', port: ports.inboundPlaintext },
      why: 'plaintext to the pod; HBONE reaches its listener by itself',
    },
  ];
  const output: Rule[] = [
    { to: probe, protocol: 'tcp', target: { kind: 'accept' }, why: 'answers to probes' },
    ...(parameters.dns ? dnsRules(loopback, ports.dns, notProxy) : []),
    {
      protocol: 'tcp',
      matches: [{ kind: 'mark', mark: inpod.connectionMark }],
      target: { kind: 'accept' },
      why: 'the app’s replies to ztunnel',
    },
    { notTo: loopback, out: 'lo', target: { kind: 'accept' }, why: 'the app talks to itself' },
    {
      notTo: loopback,
      protocol: 'tcp',
      matches: [notProxy],
      target: { kind: 'redirect', port: ports.outbound },
      why: 'whatever the app sends',
    },
  ];
  return table(parameters, family, 'nat', prerouting, output, 'hand the pod’s traffic to ztunnel’s listeners in it');
}

function dnsRules(loopback: string, port: number, notProxy: Match): Rule[] {
  const query: Match = { kind: 'destination-port', port: 53 };
  const target: Rule['target'] = { kind: 'redirect', port };
  return [
    { notOut: 'lo', protocol: 'udp', matches: [notProxy, query], target, why: 'the app’s DNS queries' },
    { notTo: loopback, protocol: 'tcp', matches: [query, notProxy], target, why: 'the app’s DNS queries over TCP' },
  ];
}

function rawTable(parameters: InpodParameters, family: Family): TableStep {
  const { proxyMark, dnsZone } = parameters.constants.inpod;
  const target: Rule['target'] = { kind: 'conntrack-zone', zone: dnsZone };
  return table(
    parameters,
    family,
    'raw',
    [
      {
        protocol: 'udp',
        matches: [
          { kind: 'mark', mark: proxyMark, negate: true },
          { kind: 'source-port', port: 53 },
        ],
        target,
        why: 'answers of the upstream resolver',
      },
    ],
    [
      {
        protocol: 'udp',
        matches: [
          { kind: 'mark', mark: proxyMark },
          { kind: 'destination-port', port: 53 },
        ],
        target,
        why: 'ztunnel’s queries to the upstream resolver',
      },
    ],
    'keep ztunnel’s DNS apart from the app’s, which may use the same ports',
  );
}
