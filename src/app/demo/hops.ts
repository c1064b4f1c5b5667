/**
 * The hops of one request as packets showed them: where the first segment of each connection was seen, with which
 * addresses. What is expected of each hop is the preset's and the configuration's; what is printed is what was captured.
 */
import { type CapturedPacket, type PacketCapture, startCapture } from '../../lab/capture.ts';
import { ztunnelName } from '../../lab/topology.ts';
import type { LabMesh } from '../lab-mesh.ts';

export interface HopSpec {
  readonly title: string;
  /** Node, ztunnel or pod in whose namespace it is seen, and on which device. */
  readonly place: string;
  readonly device: string;
  readonly source: string;
  readonly destination: string;
  readonly port: number;
}

export interface SeenHop {
  readonly spec: HopSpec;
  /** Undefined: no such connection was opened, or with other addresses. */
  readonly packet: CapturedPacket | undefined;
  /** Connections to the same port on the same device with other addresses, when there was none as expected. */
  readonly instead: readonly CapturedPacket[];
}

export interface RequestPath {
  readonly client: { readonly pod: string; readonly ip: string; readonly node: string };
  readonly vip: string;
  readonly servicePort: number;
  readonly waypoint: { readonly pod: string; readonly ip: string };
  readonly server: { readonly pod: string; readonly ip: string; readonly node: string };
}

/** The article's five connections, in order (seed of the hop table: the 2022 access logs). */
export function articleHops({ client, vip, servicePort, waypoint, server }: RequestPath): readonly HopSpec[] {
  const clientZtunnel = ztunnelName({ name: client.node });
  const serverZtunnel = ztunnelName({ name: server.node });
  return [
    hop(`${client.pod} calls the service`, client.pod, 'eth0', client.ip, vip, servicePort),
    hop(
      'the node hands the packet to ztunnel, destination kept',
      clientZtunnel,
      'pistioout',
      client.ip,
      vip,
      servicePort,
    ),
    hop('ztunnel reaches the waypoint, as the client', waypoint.pod, 'eth0', client.ip, waypoint.ip, 15006),
    hop('the waypoint reaches the pod’s ztunnel', serverZtunnel, 'pistioin', waypoint.ip, server.ip, 15008),
    hop('ztunnel hands it to the application, as its peer', server.pod, 'eth0', waypoint.ip, server.ip, servicePort),
  ];
}

/** Today's: ztunnel's sockets are inside the pods, so a redirected packet shows on loopback only. */
export function inpodHops({ client, servicePort, waypoint, server }: RequestPath): readonly HopSpec[] {
  return [
    hop('the pod’s own rules turn the call to ztunnel’s socket', client.pod, 'lo', client.ip, '127.0.0.1', 15001),
    hop('ztunnel reaches the waypoint from inside the pod', client.pod, 'eth0', client.ip, waypoint.ip, 15008),
    hop('the waypoint is reached by the client’s own address', waypoint.pod, 'eth0', client.ip, waypoint.ip, 15008),
    hop('the waypoint reaches ztunnel’s socket inside the pod', server.pod, 'eth0', waypoint.ip, server.ip, 15008),
    hop('ztunnel hands it to the application, as its peer', server.pod, 'lo', waypoint.ip, server.ip, servicePort),
  ];
}

function hop(title: string, place: string, device: string, source: string, destination: string, port: number): HopSpec {
  return { title, place, device, source, destination, port };
}

/** Watches for all hops while `act` runs. Packets of the same connection seen before do not count. */
export async function watchHops(
  mesh: LabMesh,
  specs: readonly HopSpec[],
  act: () => Promise<unknown>,
): Promise<readonly SeenHop[]> {
  const captures = new Map<string, PacketCapture>();
  const opening = (packet: CapturedPacket) => packet.protocol === 'tcp' && packet.flags.syn && !packet.flags.ack;
  for (const { place } of specs) {
    if (!captures.has(place)) captures.set(place, startCapture(mesh.lab.namespace(place), { filter: opening }));
  }
  try {
    await act();
  } finally {
    for (const capture of captures.values()) capture.close();
  }
  return specs.map((spec) => {
    const seen = captures.get(spec.place)?.packets ?? [];
    const there = seen.filter((packet) => packet.interface === spec.device && packet.destinationPort === spec.port);
    const packet = there.find(({ source, destination }) => source === spec.source && destination === spec.destination);
    return { spec, packet, instead: packet === undefined ? there : [] };
  });
}

export function packetText({ source, sourcePort, destination, destinationPort }: CapturedPacket): string {
  return `${source}:${sourcePort} → ${destination}:${destinationPort}`;
}
