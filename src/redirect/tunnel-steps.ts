/**
 * The two tunnels between node and ztunnel, seen from one end. The encapsulation may differ (GENEVE, VXLAN on GENEVE's
 * port, or devices that are there already); names and addresses never do.
 */
import type { RedirectConstants, TunnelConstants } from './constants.ts';
import type { Tunnel } from './parameters.ts';
import type { LinkStep } from './step.ts';

export function tunnelSteps(
  constants: RedirectConstants,
  tunnel: Tunnel,
  end: 'node' | 'pod',
  remote: string,
): LinkStep[] {
  const why = {
    inbound: 'carries traffic to captured pods between node and ztunnel',
    outbound: 'carries traffic from captured pods between node and ztunnel',
  };
  return (['inbound', 'outbound'] as const).flatMap((direction) =>
    oneTunnel(constants.tunnels[direction], constants.tunnelPort, tunnel, end, remote, why[direction]),
  );
}

function oneTunnel(
  constants: TunnelConstants,
  port: number,
  tunnel: Tunnel,
  end: 'node' | 'pod',
  remote: string,
  why: string,
): LinkStep[] {
  const device = end === 'node' ? constants.nodeDevice : constants.podDevice;
  const address = `${end === 'node' ? constants.nodeAddress : constants.podAddress}/${constants.prefix}`;
  const link: LinkStep =
    tunnel.kind === 'existing'
      ? { kind: 'device', device, why }
      : { kind: 'link', device, tunnel: { kind: tunnel.kind, id: constants.id, remote, port, mtu: tunnel.mtu }, why };
  return [
    link,
    { kind: 'address', device, address, why: 'the routes name this network’s far end as next hop' },
    { kind: 'up', device, why: 'packets flow' },
  ];
}
