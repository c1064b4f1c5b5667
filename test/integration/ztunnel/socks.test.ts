/** SOCKS5 in front of the outbound path: real clients, curl among them, and hostile ones. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { type Clock, systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { modernPreset } from '../../../src/config/preset.ts';
import { DnsProxy } from '../../../src/dns/proxy.ts';
import { createRelay } from '../../../src/hbone/relay.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import type { Place } from '../../../src/ztunnel/context.ts';
import { startProxy } from '../../../src/ztunnel/proxy.ts';
import { createZtunnel } from '../../../src/ztunnel/services.ts';
import { defaultPorts, defaultZtunnelSettings, type ZtunnelSettings } from '../../../src/ztunnel/settings.ts';
import { eventually, within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../../support/mesh-records.ts';
import { TestCa, TestSecretStore } from '../../support/test-ca.ts';

const run = promisify(execFile);

interface World {
  readonly port: number;
  readonly httpPort: number;
  readonly echoPort: number;
  readonly closedPort: number;
  readonly lines: Readonly<Record<string, string | number | undefined>>[];
  /** Connections that the relay holds. */
  captured(): number;
  /** A client that has said these bytes. */
  client(...bytes: readonly (string | readonly number[])[]): Promise<Client>;
}

interface Client {
  readonly socket: Socket;
  /** The next so many bytes, in hex. */
  read(bytes: number): Promise<string>;
  readonly closed: Promise<void>;
}

const greeting = [5, 1, 0];
const accepted = '0500';
const reply = (code: number) => `050${code}0001000000000000`;
const toIp = (ip: string, port: number) => [5, 1, 0, 1, ...ip.split('.').map(Number), port >> 8, port & 255];
const toName = (name: string, port: number) => [5, 1, 0, 3, name.length, ...Buffer.from(name), port >> 8, port & 255];

async function startWorld(t: Test, changed: Partial<ZtunnelSettings> = {}, clock: Clock = systemClock): Promise<World> {
  const http = createHttpServer((request, response) => response.end(`hello ${request.headers.host}`)).listen(
    0,
    '127.3.0.1',
  );
  const echo = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).pipe(socket)).listen(
    0,
    '127.3.0.1',
  );
  const closing = createServer().listen(0, '127.3.0.1');
  await Promise.all([http, echo, closing].map((server) => once(server, 'listening')));
  const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port;
  const [httpPort, echoPort, closedPort] = [portOf(http), portOf(echo), portOf(closing)];
  closing.close();
  t.teardown(() => {
    http.close();
    http.closeAllConnections();
    echo.close();
  });

  const mesh = new MeshStore();
  const sleep = makeWorkload({ name: 'sleep', serviceAccount: 'sleep', addresses: ['127.3.0.9'] });
  const ports = new Map([httpPort, echoPort, closedPort].map((each) => [each, makePort(each, each)]));
  const web = makeService({ name: 'web', addresses: [{ network: '', ip: '127.96.0.80' }], ports });
  const targets = new Map([httpPort, echoPort, closedPort].map((each) => [each, each]));
  const server = makeWorkload({
    name: 'web',
    addresses: ['127.3.0.1'],
    tunnelProtocol: 'none',
    services: new Map([[web.key, targets]]),
  });
  const inMesh = makeService({ name: 'in-mesh', addresses: [{ network: '', ip: '127.96.0.81' }], ports });
  const near = makeWorkload({
    name: 'near',
    serviceAccount: 'near',
    addresses: ['127.3.0.1'],
    services: new Map([[inMesh.key, targets]]),
  });
  mesh.apply(makeChange({ services: [web, inMesh], workloads: [sleep, server, near] }));
  mesh.markComplete();

  const ca = await TestCa.create();
  const secrets = new TestSecretStore([await ca.issue(sleep.identity), await ca.issue(near.identity)]);
  const relay = createRelay({ secrets, logger: silentLogger, clock });
  t.teardown(() => relay.close());
  const lines: World['lines'][number][] = [];
  const place: Place = {
    name: 'default/sleep',
    namespace: undefined,
    ip: '127.3.0.9',
    sourceAt: () => sleep,
    workloadAt: (ip) => mesh.workloadByAddress('', ip),
  };
  const upstream = { servers: [{ ip: '127.0.0.1', port: 1 }], searchDomains: [] };
  const rules = { clusterDomain: 'cluster.local', searchDomains: undefined, preferredNamespace: undefined, ipv6: true };
  const common = { mesh, random: systemRandom, logger: silentLogger, metrics: unscrapedMetrics };
  const ztunnel = createZtunnel({
    ...common,
    clock,
    preset: { ...modernPreset, marks: { ...modernPreset.marks, own: undefined } },
    settings: {
      ...defaultZtunnelSettings,
      spoofing: false,
      transparentListeners: false,
      listenerMarks: false,
      reusePort: false,
      ports: { ...defaultPorts, outbound: 0, inbound: 0, inboundPlaintext: 0, socks: 0 },
      ...changed,
    },
    relay,
    secrets,
    traffic: { connection: () => ({ opened() {}, transferred() {}, closed() {} }), request() {}, messages() {} },
    accessLog: { verbose: false, write: (_event, fields) => lines.push(Object.fromEntries(fields)) },
    resolve: async () => undefined,
    placeOf: (workload) => (workload.uid === near.uid ? place : undefined),
    dns: new DnsProxy({ ...common, clock, rules, listen: { ips: ['127.0.0.1'], port: 0 }, upstream: () => upstream }),
  });
  t.teardown(() => ztunnel.close());
  const proxy = await startProxy(ztunnel.services, place);
  t.teardown(() => proxy.destroy());
  const port = proxy.socks?.address.port ?? 0;
  return {
    port,
    httpPort,
    echoPort,
    closedPort,
    lines,
    captured: () => relay.stats().captured,
    async client(...pieces) {
      const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
      t.teardown(() => socket.destroy());
      socket.on('error', () => {});
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      await once(socket, 'connect');
      for (const piece of pieces) socket.write(typeof piece === 'string' ? piece : Uint8Array.from(piece));
      return {
        socket,
        get closed() {
          return within('the end', closed);
        },
        read: (bytes) => eventually(`${bytes} bytes`, () => (socket.read(bytes) as Buffer | null)?.toString('hex')),
      };
    },
  };
}

t.test('curl reaches a service by its name, as the pod’s DNS has it, and by its address', async (t) => {
  const world = await startWorld(t);
  const curl = (scheme: string, host: string) =>
    run('curl', [
      '-sS',
      '--max-time',
      '10',
      '--proxy',
      `${scheme}://127.0.0.1:${world.port}`,
      `http://${host}:${world.httpPort}/`,
    ]);
  for (const host of ['web', 'web.default.svc.cluster.local']) {
    t.equal((await curl('socks5h', host)).stdout, `hello ${host}:${world.httpPort}`);
  }
  t.equal((await curl('socks5', '127.96.0.80')).stdout, `hello 127.96.0.80:${world.httpPort}`);
  await t.rejects(curl('socks5h', 'nowhere.example'), { code: 97 });
});

t.test(
  'success is said once the upstream stands; what was sent early follows, and halves close by themselves',
  async (t) => {
    const world = await startWorld(t);
    const { socket, read, closed } = await world.client(greeting, toIp('127.96.0.80', world.echoPort), 'early ');
    t.equal(await read(2), accepted);
    t.equal(await read(10), reply(0));
    socket.end('late');
    t.equal(Buffer.from(await read(10), 'hex').toString(), 'early late');
    socket.resume();
    await closed;
    await eventually('the line', () => world.lines.length === 1);
  },
);

t.test('a handshake in single bytes is understood', async (t) => {
  const world = await startWorld(t);
  const bytes = [...greeting, ...toName('web', world.echoPort), 0x68, 0x69];
  const { read } = await world.client(...bytes.map((byte) => [byte]));
  t.equal(await read(14), `${accepted}${reply(0)}6869`);
});

t.test('to the far end the client is the workload, with its address', async (t) => {
  const world = await startWorld(t);
  const { socket, read, closed } = await world.client(greeting, toName('in-mesh', world.echoPort), 'x');
  t.equal(await read(13), `${accepted}${reply(0)}78`);
  socket.end();
  socket.resume();
  await closed;
  await eventually('both lines', () => world.lines.length === 2);
  for (const line of world.lines)
    t.match(line, { 'src.addr': /^127\.3\.0\.9:/, 'src.workload': 'sleep', 'dst.workload': 'near' });
});

t.test('a client is told the reason there is no connection', async (t) => {
  const world = await startWorld(t);
  const told = async (request: readonly number[], ...rest: readonly string[]) => {
    const { socket, read, closed } = await world.client(greeting, request, ...rest);
    const answer = await read(12);
    socket.resume();
    socket.end();
    await closed;
    return answer.slice(4);
  };
  t.equal(await told(toIp('127.96.0.80', world.closedPort)), reply(5), 'nobody listens');
  t.equal(await told(toIp('127.96.0.80', 7)), reply(2), 'no such port of the service');
  t.equal(await told(toName('nowhere.example', 80), 'and bytes that came early'), reply(4), 'no such name');
  t.equal(await told([5, 2, 0, 1, 1, 2, 3, 4, 0, 80]), reply(7), 'BIND');
  t.equal(await told([5, 1, 0, 9, 1, 2, 3, 4, 0, 80]), reply(8), 'an unknown kind of address');
  const strict = await startWorld(t, { outboundPolicy: 'REGISTRY_ONLY' });
  const { read } = await strict.client(greeting, toIp('127.5.5.5', 80));
  t.equal(await read(12), accepted + reply(2));
});

t.test('its own port is no destination', async (t) => {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port: socks } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  const world = await startWorld(t, {
    ports: { ...defaultPorts, outbound: 0, inbound: 0, inboundPlaintext: 0, socks },
  });
  const { read } = await world.client(greeting, toIp('127.0.0.1', socks));
  t.equal(await read(12), accepted + reply(2));
});

t.test('who speaks something else, wants authentication, leaves or is too slow is let go', async (t) => {
  const clock = new FakeClock();
  const world = await startWorld(t, {}, clock);
  await (await world.client('GET / HTTP/1.1\r\n\r\n')).closed;
  const authenticating = await world.client([5, 1, 2]);
  t.equal(await authenticating.read(2), '05ff');
  authenticating.socket.resume();
  t.ok(world.captured() > 0);
  clock.advance(1000);
  await eventually('the server has forgotten it', () => world.captured() === 0);
  const leaving = await world.client(greeting);
  leaving.socket.end();
  leaving.socket.resume();
  await leaving.closed;
  const pending = clock.pending;
  const slow = await world.client(greeting, [5, 1]);
  t.equal(await slow.read(2), accepted);
  clock.advance(4999);
  t.notOk(slow.socket.closed);
  clock.advance(1);
  slow.socket.resume();
  await slow.closed;
  t.equal(clock.pending, pending, 'no timer is left');
});
