/**
 * The hops of one request as packets showed them: where the first segment of each connection was seen, with which
 * addresses, and where the request could be read. What is expected of each hop is the preset's and the configuration's;
 * what is told is what was captured.
 */
import { type CapturedPacket, type PacketCapture, startCapture } from '../../lab/capture.ts';
import { ztunnelName } from '../../lab/topology.ts';
import type { LabMesh } from '../lab-mesh.ts';

export interface HopSpec {
  readonly title: string;
  /** Whose step it is. */
  readonly from: 'client' | 'client-ztunnel' | 'waypoint' | 'server-ztunnel';
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

export interface SeenPath {
  readonly hops: readonly SeenHop[];
  /** Namespaces in which a packet held the request in clear. */
  readonly readable: ReadonlySet<string>;
}

export interface RequestPath {
  readonly client: PathPod;
  readonly vip: string;
  readonly servicePort: number;
  readonly waypoint: PathPod;
  readonly server: PathPod;
}

export interface PathPod {
  readonly pod: string;
  readonly ip: string;
  readonly node: string;
  readonly serviceAccount: string;
}

/** The article's five connections, in order, as its access logs of 2022 have them. */
export function articleHops({ client, vip, servicePort, waypoint, server }: RequestPath): readonly HopSpec[] {
  const clientZtunnel = ztunnelName({ name: client.node });
  const serverZtunnel = ztunnelName({ name: server.node });
  return [
    {
      from: 'client',
      title: 'calls the service by its virtual address',
      place: client.pod,
      device: 'eth0',
      source: client.ip,
      destination: vip,
      port: servicePort,
    },
    {
      from: 'client',
      title: 'the node hands it over, destination kept',
      place: clientZtunnel,
      device: 'pistioout',
      source: client.ip,
      destination: vip,
      port: servicePort,
    },
    {
      from: 'client-ztunnel',
      title: 'tunnels to the waypoint, as the client',
      place: waypoint.pod,
      device: 'eth0',
      source: client.ip,
      destination: waypoint.ip,
      port: 15006,
    },
    {
      from: 'waypoint',
      title: 'tunnels to the pod; its node hands it over',
      place: serverZtunnel,
      device: 'pistioin',
      source: waypoint.ip,
      destination: server.ip,
      port: 15008,
    },
    {
      from: 'server-ztunnel',
      title: 'calls the application, as its peer',
      place: server.pod,
      device: 'eth0',
      source: waypoint.ip,
      destination: server.ip,
      port: servicePort,
    },
  ];
}

/** Today's: ztunnel's sockets are inside the pods, so a redirected packet shows on loopback only. */
export function inpodHops({ client, servicePort, waypoint, server }: RequestPath): readonly HopSpec[] {
  return [
    {
      from: 'client',
      title: 'its own rules turn the call to ztunnel',
      place: client.pod,
      device: 'lo',
      source: client.ip,
      destination: '127.0.0.1',
      port: 15001,
    },
    {
      from: 'client-ztunnel',
      title: 'tunnels to the waypoint from inside the pod',
      place: client.pod,
      device: 'eth0',
      source: client.ip,
      destination: waypoint.ip,
      port: 15008,
    },
    {
      from: 'client-ztunnel',
      title: 'arrives there with the client’s address',
      place: waypoint.pod,
      device: 'eth0',
      source: client.ip,
      destination: waypoint.ip,
      port: 15008,
    },
    {
      from: 'waypoint',
      title: 'tunnels to ztunnel’s socket inside the pod',
      place: server.pod,
      device: 'eth0',
      source: waypoint.ip,
      destination: server.ip,
      port: 15008,
    },
    {
      from: 'server-ztunnel',
      title: 'calls the application, as its peer',
      place: server.pod,
      device: 'lo',
      source: waypoint.ip,
      destination: server.ip,
      port: servicePort,
    },
  ];
}

/** Watches for all hops, and for `secret`, while `act` runs. Packets of the same connection seen before do not count. */
export async function watchHops(
  mesh: LabMesh,
  specs: readonly HopSpec[],
  secret: string,
  act: () => Promise<unknown>,
): Promise<SeenPath> {
  const captures = new Map<string, PacketCapture>();
  const filter = (packet: CapturedPacket) => opensConnection(packet) || packet.payload.includes(secret);
  for (const { place } of specs) {
    if (!captures.has(place)) captures.set(place, startCapture(mesh.lab.namespace(place), { filter }));
  }
  try {
    await act();
  } finally {
    for (const capture of captures.values()) capture.close();
  }
  const hops = specs.map((spec) => {
    const opened = captures.get(spec.place)?.packets.filter(opensConnection) ?? [];
    const there = opened.filter((packet) => packet.interface === spec.device && packet.destinationPort === spec.port);
    const packet = there.find(({ source, destination }) => source === spec.source && destination === spec.destination);
    return { spec, packet, instead: packet === undefined ? there : [] };
  });
  const readable = [...captures].filter(([, capture]) => capture.holds(secret)).map(([place]) => place);
  return { hops, readable: new Set(readable) };
}

export function opensConnection(packet: CapturedPacket): boolean {
  return packet.protocol === 'tcp' && packet.flags.syn && !packet.flags.ack;
}

export function packetText({ source, sourcePort, destination, destinationPort }: CapturedPacket): string {
  return `${source}:${sourcePort} → ${destination}:${destinationPort}`;
}
