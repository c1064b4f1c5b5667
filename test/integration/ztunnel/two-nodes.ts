/**
 * Two ztunnels and a waypoint stand-in on loopback, without privileges: pods are addresses of 127/8, and the outbound
 * listener is bound to every address, so that whatever a client dials on its port is the original destination.
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { Test } from 'tap';
import type { SocketAddress } from '../../../src/base/address.ts';
import { type Clock, systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { systemRandom } from '../../../src/base/random.ts';
import type { Preset } from '../../../src/config/preset.ts';
import { createRelay } from '../../../src/hbone/relay.ts';
import type { CapturedConnection, ConnectRequest, Relay } from '../../../src/hbone/seam.ts';
import type { PeerRevocation } from '../../../src/identity/revocation.ts';
import type { AddressDemand } from '../../../src/mesh/demand.ts';
import type { MeshChange, Service, Workload } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import type { Tracing } from '../../../src/telemetry/tracing/span.ts';
import type { AccessLogFields } from '../../../src/telemetry/traffic.ts';
import type { TrafficLabels } from '../../../src/telemetry/traffic-labels.ts';
import type { Place } from '../../../src/ztunnel/context.ts';
import { type RunningProxy, startProxy } from '../../../src/ztunnel/proxy.ts';
import { createZtunnel, type Ztunnel } from '../../../src/ztunnel/services.ts';
import { defaultPorts, defaultZtunnelSettings, type ZtunnelSettings } from '../../../src/ztunnel/settings.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../../support/mesh-records.ts';
import { TestCa, TestSecretStore } from '../../support/test-ca.ts';

export interface LogLine {
  readonly node: string;
  readonly event: 'opened' | 'complete' | 'denied';
  readonly fields: Readonly<Record<string, string | number | undefined>>;
}

export interface MetricEvent {
  readonly node: string;
  readonly labels: TrafficLabels;
  readonly event: 'opened' | 'closed' | 'bytes';
  readonly detail: string;
}

export interface Node {
  readonly ztunnel: Ztunnel;
  readonly relay: Relay;
  readonly proxy: RunningProxy;
}

export interface TwoNodes {
  readonly ca: TestCa;
  readonly mesh: MeshStore;
  readonly a: Node;
  readonly b: Node;
  /** Port of every service, and of the outbound listener. */
  readonly port: number;
  readonly lines: LogLine[];
  readonly metrics: MetricEvent[];
  readonly connects: ConnectRequest[];
  readonly sleep: Workload;
  readonly productpage: Workload;
  readonly reviews: Workload;
  readonly productpageService: Service;
  /** The mesh's records, for changes: `withWaypoint` binds productpage. */
  readonly records: (withWaypoint: boolean) => MeshChange;
  /** From sleep. */
  dial(ip: string, from?: string): Promise<Socket>;
  /** From sleep in clear to productpage's application, by way of the plaintext listener. */
  dialPlaintext(): Promise<Socket>;
}

export interface TwoNodesOptions {
  readonly tracing?: Tracing | undefined;
  readonly demand?: AddressDemand | undefined;
  /** Of both nodes' relays. */
  readonly relayClock?: Clock;
  readonly revocation?: PeerRevocation;
}

export const vip = '127.96.0.71';
export const reviewsVip = '127.96.0.7';

export async function makeTwoNodes(
  t: Test,
  preset: Preset,
  overrides: Partial<ZtunnelSettings> = {},
  { tracing, demand, relayClock = systemClock, revocation }: TwoNodesOptions = {},
): Promise<TwoNodes> {
  const ca = await TestCa.create();
  const app = await echoServer(t, '0.0.0.0');
  const sleep = makeWorkload({
    name: 'sleep',
    serviceAccount: 'sleep',
    addresses: ['127.1.0.4'],
    workloadName: 'sleep',
  });
  const waypoint = makeWorkload({
    name: 'waypoint',
    serviceAccount: 'bookinfo-productpage',
    addresses: ['127.1.0.8'],
    tunnelProtocol: 'none',
  });
  const servicesOf = (service: Service, port: number) => new Map([[service.key, new Map([[port, app.port]])]]);

  const mesh = new MeshStore();
  mesh.markComplete();
  const lines: LogLine[] = [];
  const metrics: MetricEvent[] = [];
  const connects: ConnectRequest[] = [];

  const b = await startNode('node-b', '127.2.0.5', defaultPorts.hbone);
  const hbone = b.proxy.inbound.address.port;
  const a = await startNode('node-a', '127.1.0.9', hbone);
  const { port } = a.proxy.outbound.address;

  const productpageService = makeService({
    name: 'productpage',
    addresses: [{ network: '', ip: vip }],
    ports: new Map([[port, makePort(port, app.port, { name: 'http' })]]),
  });
  const reviewsService = makeService({
    name: 'reviews',
    addresses: [{ network: '', ip: reviewsVip }],
    ports: new Map([[port, makePort(port, app.port, { name: 'http' })]]),
  });
  const productpage = makeWorkload({
    name: 'productpage-v1',
    serviceAccount: 'bookinfo-productpage',
    addresses: ['127.2.0.5'],
    node: 'node-b',
    services: servicesOf(productpageService, port),
  });
  const reviews = makeWorkload({
    name: 'reviews-v1',
    serviceAccount: 'bookinfo-reviews',
    addresses: ['127.1.0.9'],
    services: servicesOf(reviewsService, port),
  });

  const waypointSecret = await ca.issue(waypoint.identity);
  const waypointRelay = createRelay({
    secrets: new TestSecretStore([waypointSecret]),
    logger: silentLogger,
    clock: systemClock,
  });
  t.teardown(() => waypointRelay.close());
  const waypointListener = await waypointRelay.serve(
    {
      ip: '127.1.0.8',
      port: 0,
      transparent: false,
      mark: undefined,
      namespace: undefined,
      reusePort: false,
      redirected: false,
    },
    {
      secretFor: () => waypointSecret,
      trusts: () => true,
      maxStreamsPerSession: 100,
      onConnect(request) {
        connects.push(request);
        return {
          kind: 'tunnel',
          headers: [],
          observer: { ended: () => {} },
          request: {
            target: {
              peer: { ip: '127.2.0.5', port: hbone },
              sourceIdentity: waypoint.identity,
              expectedIdentities: [productpage.identity],
              socket: { ...plainSocket, source: '127.1.0.8' },
            },
            authority: `127.2.0.5:${app.port}`,
            headers: [],
          },
        };
      },
    },
  );
  const gateway = {
    kind: 'address' as const,
    network: '',
    ip: '127.1.0.8',
    hbonePort: waypointListener.address.port,
  };
  const records = (withWaypoint: boolean) => {
    const bound = withWaypoint ? { waypoint: gateway } : {};
    return makeChange({
      workloads: [sleep, waypoint, { ...productpage, ...bound }, reviews],
      services: [{ ...productpageService, ...bound }, reviewsService],
    });
  };
  for (const node of [a, b]) {
    for (const workload of [sleep, productpage, reviews]) node.secrets.put(await ca.issue(workload.identity));
  }

  return {
    ca,
    mesh,
    a,
    b,
    port,
    lines,
    metrics,
    connects,
    sleep,
    productpage,
    reviews,
    productpageService,
    records,
    dial: (ip, from = '127.1.0.4') => dialFrom(ip, port, from),
    dialPlaintext: () => dialFrom('127.2.0.5', b.proxy.plaintext.address.port, '127.1.0.4'),
  };

  async function dialFrom(host: string, toPort: number, localAddress: string) {
    const socket = connect({ host, port: toPort, localAddress, allowHalfOpen: true });
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    // A refusal may arrive before the client has seen its connection stand.
    await new Promise<void>((resolve) => {
      socket.once('connect', resolve);
      socket.once('close', () => resolve());
    });
    return socket;
  }

  async function startNode(node: string, ip: string, hbonePort: number) {
    const secrets = new TestSecretStore();
    const relay = createRelay({ secrets, logger: silentLogger, clock: relayClock, revocation });
    t.teardown(() => relay.close());
    const settings: ZtunnelSettings = {
      ...defaultZtunnelSettings,
      node,
      spoofing: false,
      transparentListeners: false,
      listenerMarks: false,
      reusePort: false,
      ports: { ...defaultPorts, inbound: 0, inboundPlaintext: 0, hbone: hbonePort },
      ...overrides,
    };
    const place: Place = {
      name: node,
      namespace: undefined,
      ip,
      sourceAt: (address) => mesh.workloadByAddress('', address),
      workloadAt: (address) => {
        const workload = mesh.workloadByAddress('', address);
        return workload?.node === node ? workload : undefined;
      },
    };
    const ztunnel = createZtunnel({
      preset: { ...preset, marks: { ...preset.marks, own: undefined } },
      settings,
      mesh,
      relay: captureAnywhere(relay, app.port),
      secrets,
      revocation,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      metrics: unscrapedMetrics,
      tracing,
      traffic: {
        connection: (labels) => ({
          opened: () => metrics.push({ node, labels, event: 'opened', detail: '' }),
          transferred: (received, sent) =>
            metrics.push({ node, labels, event: 'bytes', detail: `${received}/${sent}` }),
          closed: (flag) => metrics.push({ node, labels, event: 'closed', detail: flag }),
        }),
        request: () => {},
        messages: () => {},
      },
      accessLog: {
        verbose: false,
        write: (event, fields) => lines.push({ node, event, fields: fieldsOf(fields) }),
      },
      resolve: async () => undefined,
      demand,
      placeOf: (workload) => (workload.node === node ? place : undefined),
    });
    t.teardown(() => ztunnel.close());
    return { ztunnel, relay, secrets, proxy: await startProxy(ztunnel.services, place) };
  }
}

/**
 * The outbound listener goes to a port of the kernel's choice, on every address; what reaches the plaintext one was meant
 * for the application.
 */
export function captureAnywhere(relay: Relay, appPort: number): Relay {
  return {
    capture: (listen, onConnection, gate) =>
      listen.port === defaultPorts.outbound
        ? relay.capture({ ...listen, ip: '0.0.0.0', port: 0 }, onConnection, gate)
        : relay.capture(listen, (connection) => onConnection(meantFor(connection, appPort)), gate),
    serve: (listen, options) => relay.serve(listen, options),
    open: (request, signal) => relay.open(request, signal),
    forgetPeer: (ip) => relay.forgetPeer(ip),
    forgetIdentity: (identity) => relay.forgetIdentity(identity),
    stats: () => relay.stats(),
    drained: () => relay.drained(),
    close: () => relay.close(),
  };
}

function meantFor(connection: CapturedConnection, port: number): CapturedConnection {
  const { peer, local } = connection;
  return {
    peer,
    local,
    originalDestination: { ip: local.ip, port },
    tunnel: (request, observer) => connection.tunnel(request, observer),
    dial: (destination, socket, observer, preface) => connection.dial(destination, socket, observer, preface),
    refuse: () => connection.refuse(),
    get gone() {
      return connection.gone;
    },
  };
}

async function echoServer(t: Test, ip: string): Promise<SocketAddress> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.pipe(socket);
  });
  server.listen(0, ip);
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  return { ip, port: address.port };
}

export function fieldsOf(fields: AccessLogFields) {
  return Object.fromEntries(fields.filter(([, value]) => value !== undefined));
}
