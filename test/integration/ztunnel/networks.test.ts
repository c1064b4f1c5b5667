/** Two networks on real sockets: a ztunnel in the west, a gateway before the east, and a ztunnel there. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { modernPreset } from '../../../src/config/preset.ts';
import { createRelay } from '../../../src/hbone/relay.ts';
import type { ConnectRequest } from '../../../src/hbone/seam.ts';
import type { Service } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import type { TrafficLabels } from '../../../src/telemetry/traffic-labels.ts';
import type { Place } from '../../../src/ztunnel/context.ts';
import { startProxy } from '../../../src/ztunnel/proxy.ts';
import { createZtunnel } from '../../../src/ztunnel/services.ts';
import { defaultPorts, defaultZtunnelSettings } from '../../../src/ztunnel/settings.ts';
import { eventually, within } from '../../support/eventually.ts';
import { makeChange, makeMatch, makePolicy, makePort, makeService, makeWorkload } from '../../support/mesh-records.ts';
import { addressOf, onLoopback, tcpServer } from '../../support/relay-world.ts';
import { TestCa, TestSecretStore, testIdentity } from '../../support/test-ca.ts';
import { captureAnywhere, fieldsOf, type LogLine } from './two-nodes.ts';

const gatewayId = testIdentity('spiffe://cluster.local/ns/istio-gateways/sa/east');
const reviewsId = testIdentity('spiffe://cluster.local/ns/default/sa/reviews');
const vip = '127.96.0.7';

interface Side {
  readonly mesh: MeshStore;
  readonly lines: LogLine[];
  readonly labels: TrafficLabels[];
}

async function makeNetworks(t: Test, service: Partial<Service> = {}) {
  const ca = await TestCa.create();
  const app = addressOf(
    await tcpServer(t, (socket) => {
      socket.pipe(socket);
    }),
  );
  const sleep = makeWorkload({ name: 'sleep', serviceAccount: 'sleep', network: 'west', addresses: ['127.1.0.4'] });
  const gatewayRequests: ConnectRequest[] = [];

  const east = await startSide(t, ca, 'east', '127.0.0.1', [reviewsId]);
  const gatewaySecret = await ca.issue(gatewayId);
  const gatewayRelay = createRelay({
    secrets: new TestSecretStore([gatewaySecret]),
    logger: silentLogger,
    clock: systemClock,
  });
  t.teardown(() => gatewayRelay.close());
  const gateway = await gatewayRelay.serve(onLoopback, {
    secretFor: () => gatewaySecret,
    trusts: () => true,
    maxStreamsPerSession: 200,
    onConnect(request) {
      gatewayRequests.push(request);
      const observer = { ended: () => {} };
      return { kind: 'dial', destination: east.proxy.inbound.address, socket: plainSocket, headers: [], observer };
    },
  });
  const west = await startSide(t, ca, 'west', '127.1.0.9', [sleep.identity]);
  const { port } = west.proxy.outbound.address;
  const reviews = makeService({
    name: 'reviews',
    addresses: [{ network: 'west', ip: vip }],
    ports: new Map([[port, makePort(port, app.port)]]),
    subjectAltNames: [reviewsId],
    ...service,
  });
  const { ip, port: hbonePort } = gateway.address;
  west.mesh.apply(
    makeChange({
      workloads: [
        sleep,
        makeWorkload({
          name: 'east-gateway',
          serviceAccount: 'east',
          network: 'east',
          addresses: [ip],
          namespace: 'istio-gateways',
        }),
        makeWorkload({
          name: 'split',
          uid: 'east/SplitHorizonWorkload/reviews',
          network: 'east',
          networkGateway: { kind: 'address', network: 'east', ip, hbonePort },
          services: new Map([[reviews.key, new Map()]]),
        }),
      ],
      services: [reviews],
    }),
  );
  east.mesh.apply(
    makeChange({
      workloads: [
        makeWorkload({
          name: 'reviews-v1',
          serviceAccount: 'reviews',
          network: 'east',
          addresses: ['127.0.0.1'],
          workloadName: 'reviews-v1',
          clusterId: 'east-cluster',
          services: new Map([[reviews.key, new Map([[port, app.port]])]]),
        }),
      ],
      services: [{ ...reviews, addresses: [] }],
    }),
  );
  return {
    west,
    east,
    port,
    gatewayRequests,
    async dial(): Promise<Socket> {
      const socket = connect({ host: vip, port, localAddress: '127.1.0.4', allowHalfOpen: true });
      socket.on('error', () => {});
      t.teardown(() => socket.destroy());
      // A refusal may arrive before the client has seen its connection stand.
      await new Promise<void>((resolve) => {
        socket.once('connect', resolve);
        socket.once('close', () => resolve());
      });
      return socket;
    },
  };
}

async function startSide(t: Test, ca: TestCa, network: string, ip: string, identities: readonly (typeof gatewayId)[]) {
  const mesh = new MeshStore();
  mesh.markComplete();
  const secrets = new TestSecretStore();
  for (const identity of identities) secrets.put(await ca.issue(identity));
  const relay = createRelay({ secrets, logger: silentLogger, clock: systemClock });
  t.teardown(() => relay.close());
  const at = (address: string) => mesh.workloadByAddress(network, address);
  const place: Place = { name: network, namespace: undefined, ip, sourceAt: at, workloadAt: at };
  const side: Side = { mesh, lines: [], labels: [] };
  const ztunnel = createZtunnel({
    preset: { ...modernPreset, marks: { ...modernPreset.marks, own: undefined } },
    settings: {
      ...defaultZtunnelSettings,
      network,
      spoofing: false,
      transparentListeners: false,
      listenerMarks: false,
      reusePort: false,
      ports: { ...defaultPorts, inbound: 0, inboundPlaintext: 0 },
    },
    mesh,
    relay: captureAnywhere(relay, 1),
    secrets,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    metrics: unscrapedMetrics,
    traffic: {
      connection: (labels) => ({
        opened: () => side.labels.push(labels),
        transferred: () => {},
        closed: () => {},
      }),
      request: () => {},
      messages: () => {},
    },
    accessLog: {
      verbose: false,
      write: (event, fields) => side.lines.push({ node: network, event, fields: fieldsOf(fields) }),
    },
    resolve: async () => undefined,
    placeOf: () => undefined,
  });
  t.teardown(() => ztunnel.close());
  return { ...side, relay, proxy: await startProxy(ztunnel.services, place) };
}

async function exchange(socket: Socket, sent: string): Promise<string> {
  socket.end(sent);
  return await within('the echo', text(socket));
}

function closed(socket: Socket): Promise<void> {
  const end = new Promise<void>((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())));
  return within('the end', end);
}

async function refused(socket: Socket): Promise<boolean> {
  socket.resume();
  await closed(socket);
  return socket.bytesRead === 0;
}

t.test('a service on another network is reached through its gateway, and both ends know each other', async (t) => {
  const { west, east, port, gatewayRequests, dial } = await makeNetworks(t);
  t.equal(await exchange(await dial(), 'hello over there'), 'hello over there');
  const authority = `reviews.default.svc.cluster.local:${port}`;
  t.match(gatewayRequests[0], { authority, peerIdentity: /sa\/sleep$/ });
  t.equal(gatewayRequests[0]?.header('forwarded'), 'for="127.1.0.4";host=reviews.default.svc.cluster.local');
  await eventually('both lines', () => west.lines.length === 1 && east.lines.length === 1);
  t.match(west.lines[0], {
    event: 'complete',
    fields: {
      'src.workload': 'sleep',
      'dst.hbone_addr': authority,
      'dst.service': 'reviews.default.svc.cluster.local',
      'dst.workload': 'reviews-v1',
      'dst.cluster': 'east-cluster',
      'dst.identity': reviewsId,
      bytes_sent: 16,
      bytes_recv: 16,
    },
  });
  t.notOk(west.lines[0]?.fields.error);
  t.match(east.lines[0], {
    event: 'complete',
    fields: {
      'src.workload': 'sleep',
      'src.namespace': 'default',
      'src.identity': /sa\/sleep$/,
      'dst.service': 'reviews.default.svc.cluster.local',
      'dst.hbone_addr': authority,
    },
  });
  t.match(west.labels, [{ destination: { workload: 'reviews-v1', principal: reviewsId, cluster: 'east-cluster' } }]);
  t.match(east.labels, [{ source: { workload: 'sleep', canonicalService: 'sleep', cluster: 'Kubernetes' } }]);
});

t.test('policies over there decide by the identity inside', async (t) => {
  const { west, east, dial } = await makeNetworks(t);
  const deny = makePolicy({
    name: 'no-sleep',
    scope: 'namespace',
    action: 'deny',
    rules: [[[makeMatch({ principals: [{ kind: 'exact', value: 'cluster.local/ns/default/sa/sleep' }] })]]],
  });
  const held = await dial();
  held.write('before');
  await within('the echo', once(held, 'data'));
  east.mesh.apply(makeChange({ policies: [deny] }));
  await closed(held);
  t.ok(await refused(await dial()));
  await eventually('lines', () => west.lines.length === 2);
  t.match(west.lines[1], { fields: { error: 'http status: 401', 'dst.identity': reviewsId } });
  t.match(east.lines.at(-1), { fields: { error: /explicitly denied by: default\/no-sleep/ } });
});

t.test('without names for who may answer nothing is dialled', async (t) => {
  const { west, gatewayRequests, dial } = await makeNetworks(t, { subjectAltNames: [] });
  t.ok(await refused(await dial()));
  t.equal(gatewayRequests.length, 0);
  t.match(west.lines, [{ event: 'denied', fields: { error: /no subjectAltNames say who may answer/ } }]);
});

t.test('whoever answers over there with another identity gets nothing', async (t) => {
  const other = testIdentity('spiffe://cluster.local/ns/default/sa/other');
  const { west, east, dial } = await makeNetworks(t, { subjectAltNames: [other] });
  t.ok(await refused(await dial()));
  await eventually('a line', () => west.lines.length === 1);
  t.match(west.lines[0], { fields: { error: /behind the gateway 127\.0\.0\.1:\d+: the peer is .*reviews/ } });
  t.equal(east.lines.filter(({ event }) => event === 'complete').length, 0);
});
