/**
 * One request, drawn as the way it takes: each program on it, and between them what was captured and logged. A single
 * rail is plain text, a double one a tunnel.
 */
import { formatSocketAddress } from '../../base/address.ts';
import { systemClock } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import { formatSpiffeId } from '../../base/spiffe.ts';
import { type PacketCapture, startCapture } from '../../lab/capture.ts';
import type { LabAnswer } from '../../lab/request.ts';
import { ztunnelName } from '../../lab/topology.ts';
import type { AccessEntry } from '../lab-access.ts';
import type { LabMesh } from '../lab-mesh.ts';
import type { DemoConsole } from './console.ts';
import {
  articleHops,
  type HopSpec,
  inpodHops,
  opensConnection,
  type PathPod,
  packetText,
  type RequestPath,
  type SeenHop,
  watchHops,
} from './hops.ts';
import { client, describeAnswer, get, patienceMs, port, server, serviceVip, statusOf } from './requests.ts';

/** In a header of the request: where it is seen, the request can be read. */
const secret = 'ambit-demo-in-the-clear';

export async function tellJourney(mesh: LabMesh, say: DemoConsole): Promise<void> {
  const path = requestPath(mesh);
  const url = `http://${path.vip}:${port}/productpage`;
  const marks = new Map(mesh.proxies.map((name) => [name, mesh.access.mark(name)]));
  using wire = startCapture(mesh.lab.namespace(path.client.node), { interface: 'eth0' });
  const specs = mesh.preset.capture === 'node' ? articleHops(path) : inpodHops(path);
  let answer: LabAnswer | undefined;
  const { hops, readable } = await watchHops(mesh, specs, secret, async () => {
    answer = await mesh.lab.request(client, get(url, patienceMs(mesh, say), { 'x-secret': secret }));
  });

  say.heading(`One request: ${client} → ${url}`, '│ plain text  ║ tunnel');
  const logs = new JourneyLogs(mesh, marks, say);
  const tell = (from: HopSpec['from'], rail: string) => {
    for (const hop of hops.filter(({ spec }) => spec.from === from)) tellHop(hop, say, rail);
  };
  const seen = (from: HopSpec['from']) => hops.some(({ spec, packet }) => spec.from === from && packet !== undefined);
  const plain = `${say.style('gray', '│')} `;
  const tunnel = `${say.style('cyan', '║')} `;
  const [sending, receiving] = [path.client.node, path.server.node].map((name) => ztunnelName({ name }));

  tellStation(say, path.client.pod, `${path.client.ip} on ${path.client.node}`);
  tell('client', plain);
  say.line(`  ${say.style('gray', '▼')}`);
  tellStation(say, sending, ztunnelAddress(mesh, path.client));
  tell('client-ztunnel', tunnel);
  await logs.tunnel({
    name: sending,
    expected: seen('client-ztunnel'),
    authority: formatSocketAddress({ ip: path.vip, port }),
    identities: [path.client, path.waypoint],
    direction: 'outbound',
    rail: tunnel,
  });
  say.line(`  ${say.style('cyan', '▼')}`);
  tellStation(say, path.waypoint.pod, `${path.waypoint.ip} on ${path.waypoint.node}`);
  await logs.stages(path.waypoint.pod, seen('waypoint'), tunnel);
  tell('waypoint', tunnel);
  await logs.tunnel({
    name: receiving,
    expected: seen('server-ztunnel'),
    authority: formatSocketAddress({ ip: path.server.ip, port }),
    identities: [path.waypoint, path.server],
    direction: 'inbound',
    rail: tunnel,
  });
  say.line(`  ${say.style('cyan', '▼')}`);
  tellStation(say, receiving, ztunnelAddress(mesh, path.server));
  tell('server-ztunnel', plain);
  say.line(`  ${say.style('gray', '▼')}`);
  tellStation(say, path.server.pod, `${path.server.ip} on ${path.server.node}`);
  say.line('');
  tellPage(answer, say);
  tellSecrecy({ mesh, wire, readable, path }, say);
}

function tellStation(say: DemoConsole, name = '', where: string): void {
  say.line(`  ${say.style('bold', `● ${name}`)}  ${say.style('gray', where)}`);
}

function tellHop({ spec, packet, instead }: SeenHop, say: DemoConsole, rail: string): void {
  const wanted = `${spec.source} → ${spec.destination}:${spec.port}`;
  const seen = instead.length === 0 ? 'nothing' : instead.slice(0, 2).map(packetText).join(', ');
  const where = `on ${spec.device} of ${spec.place}`;
  const text = packet ? `${packetText(packet)}  ${where}` : `wanted ${wanted} ${where}, saw ${seen}`;
  say.check(spec.title, packet !== undefined, text, rail);
}

function tellPage(answer: LabAnswer | undefined, say: DemoConsole): void {
  const page = answer?.kind === 'http' ? answer.body : '';
  const whole = /Reviews/i.test(page) && /Details/i.test(page) && !/Error fetching/.test(page);
  const missing = statusOf(answer) === 200 && !whole ? ', details or reviews are missing' : '';
  const ok = statusOf(answer) === 200 && whole;
  say.check('the page came, with details and reviews', ok, describeAnswer(answer) + missing);
}

interface Secrecy {
  readonly mesh: LabMesh;
  readonly wire: PacketCapture;
  readonly readable: ReadonlySet<string>;
  readonly path: RequestPath;
}

/** The request is readable at both ends, which shows that this would be noticed, and nowhere on the way. */
function tellSecrecy({ mesh, wire, readable, path }: Secrecy, say: DemoConsole): void {
  const segments = wire.packets.filter((packet) => packet.protocol === 'tcp');
  const ports = [...new Set(segments.filter(opensConnection).map((packet) => packet.destinationPort))];
  const tunnelPorts = [15008, mesh.preset.waypointPort];
  say.check(
    'between the nodes there are tunnels only',
    ports.length > 0 && ports.every((opened) => tunnelPorts.includes(opened)),
    `${segments.length} segments, connections to ${ports.map((opened) => `port ${opened}`).join(' and ') || 'nowhere'}`,
  );
  const places = [...readable, ...(wire.holds(secret) || wire.holds('GET /productpage') ? ['the wire'] : [])];
  const ends = [path.client.pod, path.server.pod].every((pod) => readable.has(pod));
  const leaks = places.includes('the wire') || readable.has(path.waypoint.pod);
  const text = `read in ${places.join(', ') || 'no place'}${leaks ? '' : '; not on the wire, nor before the waypoint'}`;
  say.check('the request is in clear at its ends only', ends && !leaks, text);
}

interface LoggedTunnel {
  readonly name: string | undefined;
  /** Packets showed that the proxy came so far; otherwise its line is not waited for. */
  readonly expected: boolean;
  readonly authority: string;
  readonly identities: readonly [PathPod, PathPod];
  readonly direction: 'outbound' | 'inbound';
  readonly rail: string;
}

/** What the proxies logged of the request: who proved to be whom, and which stages it went through. */
class JourneyLogs {
  readonly #mesh: LabMesh;
  readonly #marks: ReadonlyMap<string, number>;
  readonly #say: DemoConsole;

  constructor(mesh: LabMesh, marks: ReadonlyMap<string, number>, say: DemoConsole) {
    this.#mesh = mesh;
    this.#marks = marks;
    this.#say = say;
  }

  async tunnel({ name = '', expected, authority, identities, direction, rail }: LoggedTunnel): Promise<void> {
    const title =
      direction === 'outbound' ? 'client and waypoint prove who they are' : 'waypoint and pod prove who they are';
    const entry = await this.#find(
      name,
      expected,
      ({ fields }) => fields['dst.hbone_addr'] === authority && fields.direction === direction,
    );
    if (typeof entry === 'string') {
      this.#say.check(title, false, entry, rail);
      return;
    }
    const { error, 'src.identity': source, 'dst.identity': destination } = entry.fields;
    const [from, to] = identities.map(identityOf);
    const text = `${shortIdentity(source)} ⇄ ${shortIdentity(destination)}  CONNECT ${authority}`;
    const ok = error === undefined && source === from && destination === to;
    this.#say.check(title, ok, error === undefined ? text : String(error), rail);
  }

  /** A line a stage in the article's waypoint, innermost first; one line in today's. */
  async stages(name: string, expected: boolean, rail: string): Promise<void> {
    const wanted = this.#mesh.preset.names === 'article' ? 3 : 1;
    const last = this.#mesh.preset.names === 'article' ? 'inbound_CONNECT_terminate' : 'main_internal';
    const found = await this.#find(name, expected, ({ fields }) => fields.stage === last);
    const lines = this.#mesh.access.since(name, this.#marks.get(name) ?? 0);
    const stages = lines.map((entry) => String(entry.fields.stage ?? '')).reverse();
    const ok = typeof found !== 'string' && stages.length === wanted;
    const text = typeof found === 'string' ? found : stages.join(' › ');
    this.#say.check('goes through its stages', ok, text, rail);
  }

  async #find(
    name: string,
    expected: boolean,
    matches: (entry: AccessEntry) => boolean,
  ): Promise<AccessEntry | string> {
    if (!this.#mesh.proxies.includes(name)) return `${name} does not run`;
    const deadlineMs = expected ? 10_000 : 500;
    try {
      return await this.#mesh.access.waitFor(name, matches, systemClock, this.#marks.get(name), deadlineMs);
    } catch (error) {
      return expected ? errorText(error) : `${name} logged nothing of it`;
    }
  }
}

function requestPath(mesh: LabMesh): RequestPath {
  const pathPod = (name: string): PathPod => {
    const { ip, node, serviceAccount } = mesh.lab.pod(name);
    return { pod: name, ip, node, serviceAccount };
  };
  const waypoint = mesh.plan.waypoints.find(({ gateway }) => gateway.name.startsWith(server));
  return {
    client: pathPod(client),
    vip: serviceVip(mesh, server),
    servicePort: port,
    waypoint: pathPod(waypoint?.pod ?? ''),
    server: pathPod(server),
  };
}

function ztunnelAddress({ plan }: LabMesh, { node }: PathPod): string {
  return `${plan.topology.nodes.find(({ name }) => name === node)?.ztunnelIp} on ${node}`;
}

function identityOf({ serviceAccount }: PathPod): string {
  return formatSpiffeId({ trustDomain: 'cluster.local', namespace: 'default', serviceAccount });
}

function shortIdentity(identity: string | number | undefined): string {
  return String(identity ?? 'nobody').replace('spiffe://cluster.local/ns/default', '…');
}
