/**
 * A waypoint between a client and pods, on real tunnels over loopback: the client's ztunnel, the waypoint and the pods'
 * ztunnel are three relays. Pods live on 127.0.0.x; the VIP exists only in the mesh.
 */
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Test } from 'tap';
import { parseCidr, parseSocketAddress } from '../../../src/base/address.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import type { SpiffeId } from '../../../src/base/spiffe.ts';
import { legacyPreset, type Preset } from '../../../src/config/preset.ts';
import { createRelay } from '../../../src/hbone/relay.ts';
import type { ConnectRequest, OpenOutcome, Relay, RunningListener, TunnelHeaders } from '../../../src/hbone/seam.ts';
import type { AppProtocol, Service, Workload } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import type { NameSource } from '../../../src/net/name-resolver.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { emptyL7Model, type L7Model, type L7Policy } from '../../../src/route/model.ts';
import type { RequestLabels, TrafficLabels } from '../../../src/telemetry/traffic-labels.ts';
import { defaultOverloadSettings, type OverloadSettings } from '../../../src/waypoint/protection/overload.ts';
import { defaultWaypointSettings } from '../../../src/waypoint/settings.ts';
import type { TelemetryOutputs } from '../../../src/waypoint/telemetry/waypoint-telemetry.ts';
import { createWaypoint, type Waypoint } from '../../../src/waypoint/waypoint.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../../support/mesh-records.ts';
import { TestCa, TestSecretStore, testIdentity } from '../../support/test-ca.ts';

export const sleepId = testIdentity('spiffe://cluster.local/ns/default/sa/sleep');
export const notSleepId = testIdentity('spiffe://cluster.local/ns/default/sa/notsleep');
export const productId = testIdentity('spiffe://cluster.local/ns/default/sa/bookinfo-productpage');
const zoneIds = [sleepId, notSleepId, productId];

export const vip = '10.96.179.71';
export const host = 'productpage.default.svc.cluster.local';
export const serviceKey = `default/${host}`;
export const onlySleep: L7Policy = {
  source: { kind: 'AuthorizationPolicy', namespace: 'default', name: 'sleep-only' },
  action: 'allow',
  dryRun: false,
  rules: [
    { clauses: [[[{ kind: 'principal', values: [{ kind: 'exact', value: sleepId.slice(9) }], notValues: [] }]]] },
  ],
};

const gatewayService = 'default/bookinfo-productpage.default.waypoint.internal';
const gateway = { kind: 'hostname', service: gatewayService, hbonePort: 15006 } as const;

export interface RequestReport {
  readonly labels: TrafficLabels;
  readonly request: RequestLabels;
}

export interface Harness {
  readonly waypoint: Waypoint;
  readonly mesh: MeshStore;
  readonly podPort: number;
  model: L7Model;
  readonly requests: RequestReport[];
  readonly lines: Map<string, string | number | undefined>[];
  /** Mirrored requests that are over, by outcome; only those that happened. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** What was counted under a metric's name, by the values of its labels. */
  counters(name: string): Readonly<Record<string, number>>;
  /** CONNECTs that reached the pods' ztunnel. */
  readonly arrived: ConnectRequest[];
  readonly messages: { received: number; sent: number };
  readonly tcp: { opened: number; closed: string[]; received: number; sent: number };
  /** The pods' ztunnel stops accepting and tells its clients to go; resolves when none of them is left. */
  drainPods(): Promise<void>;
  /** Opens a tunnel as the client would. */
  connect(authority: string, identity?: SpiffeId, headers?: TunnelHeaders): Promise<OpenOutcome>;
  /** The stream of a tunnel that must stand. */
  tunnel(authority?: string, identity?: SpiffeId, headers?: TunnelHeaders): Promise<Duplex>;
}

export interface HarnessOptions {
  readonly preset?: Preset;
  readonly appProtocol?: AppProtocol;
  readonly sniffTimeoutMs?: number;
  readonly bodyTimeoutMs?: number;
  /** One entry per pod, on 127.0.0.2, 127.0.0.3, …; `down`: in the mesh, but nothing listens. */
  readonly pods: readonly (RequestListener | ((socket: Socket) => void) | 'down')[];
  readonly podKind?: 'http' | 'tcp';
  readonly servers?: readonly (Server | 'down')[] | undefined;
  readonly tunnelProtocol?: Workload['tunnelProtocol'];
  readonly jwksOrigins?: readonly string[];
  /** The waypoint's own workload. */
  readonly self?: Workload;
  readonly extensionsDirectory?: string;
  /** Answers for names outside the mesh. */
  readonly nameSource?: NameSource;
  /** Blocks that may be called though they are local. */
  readonly egressAddresses?: readonly string[];
  readonly overload?: Partial<OverloadSettings>;
  readonly outputs?: TelemetryOutputs;
  readonly http10?: boolean;
}

let ca: Promise<TestCa> | undefined;

export async function createHarness(t: Test, options: HarnessOptions): Promise<Harness> {
  const { preset = legacyPreset } = options;
  ca ??= TestCa.create();
  const authority = await ca;
  const secrets = new TestSecretStore(await Promise.all(zoneIds.map((id) => authority.issue(id))));
  const relays = [0, 1, 2].map(() => createRelay({ secrets, logger: silentLogger, clock: systemClock }));
  const [clientRelay, waypointRelay, podRelay] = relays as [Relay, Relay, Relay];
  t.teardown(() => Promise.all(relays.map((relay) => relay.close())));

  const podPort = await listenPods(t, options);
  const arrived: ConnectRequest[] = [];
  const listeners: RunningListener[] = [];
  const hbonePort = await serveTunnels(podRelay, secrets, options.pods, arrived, listeners);

  const mesh = new MeshStore();
  mesh.apply(
    makeChange({
      services: [productpage(options.appProtocol ?? 'http11')],
      workloads: [
        makeWorkload({ name: 'sleep', serviceAccount: 'sleep', addresses: ['127.0.0.1'] }),
        ...options.pods.map((_, i) => pod(i, podPort, options.tunnelProtocol ?? 'hbone')),
        makeWorkload({ name: 'other', addresses: ['10.244.9.9'] }),
      ],
    }),
  );
  mesh.markComplete();

  const harness = { model: emptyL7Model };
  const requests: RequestReport[] = [];
  const lines: Map<string, string | number | undefined>[] = [];
  const mirrored = new Map<string, { readonly value: number }>();
  const messages = { received: 0, sent: 0 };
  const counted: { readonly name: string; readonly labels: string; readonly cell: { readonly value: number } }[] = [];
  const tcp = { opened: 0, closed: [] as string[], received: 0, sent: 0 };
  const waypoint = createWaypoint({
    preset,
    settings: {
      ...defaultWaypointSettings,
      hbonePort,
      sniffTimeoutMs: options.sniffTimeoutMs ?? 200,
      bodyTimeoutMs: options.bodyTimeoutMs ?? defaultWaypointSettings.bodyTimeoutMs,
      jwksOrigins: options.jwksOrigins ?? [],
      extensionsDirectory: options.extensionsDirectory,
      egressAddresses: (options.egressAddresses ?? []).flatMap((text) => parseCidr(text) ?? []),
      http10: options.http10 ?? false,
      overload: { ...defaultOverloadSettings, ...options.overload },
    },
    identity: productId,
    trustDomainAliases: [],
    ...(options.nameSource === undefined ? {} : { nameSource: options.nameSource }),
    mesh,
    model: () => harness.model,
    own: () => ({ key: 'default/productpage', namespace: 'default', address: gateway, service: gatewayService }),
    self: () => options.self,
    relay: waypointRelay,
    secrets,
    traffic: {
      request: (labels, request) => void requests.push({ labels, request }),
      messages: (_labels, received, sent) => {
        messages.received += received;
        messages.sent += sent;
      },
      connection: () => ({
        opened: () => void tcp.opened++,
        transferred: (received, sent) => {
          tcp.received += received;
          tcp.sent += sent;
        },
        closed: (flag) => void tcp.closed.push(flag),
      }),
    },
    accessLog: {
      verbose: false,
      write: (_event, fields, ...repeated) => void lines.push(new Map([...repeated, fields].flat())),
    },
    metrics: {
      ...unscrapedMetrics,
      counter: (name, _help, labels) => {
        const cell = { value: 0 };
        counted.push({ name, labels: Object.values(labels ?? {}).join(' '), cell });
        if (name === 'ambit_mirrored_requests_total') mirrored.set(labels?.outcome ?? '', cell);
        return cell;
      },
    },
    clock: systemClock,
    random: { next: Math.random },
    logger: silentLogger,
    ...(options.outputs === undefined ? {} : { outputs: options.outputs }),
  });
  t.teardown(() => waypoint.close());
  const { address } = await waypoint.listen('127.0.0.1', 0);

  const connect = (named: string, identity: SpiffeId = sleepId, headers: TunnelHeaders = []) =>
    clientRelay.open({
      target: { peer: address, sourceIdentity: identity, expectedIdentities: [productId], socket: plainSocket },
      authority: named,
      headers,
    });
  Object.defineProperty(harness, 'outcomes', {
    get: () => {
      const happened = [...mirrored].filter(([, { value }]) => value > 0);
      return Object.fromEntries(happened.map(([outcome, { value }]) => [outcome, value]));
    },
  });
  return Object.assign(harness as typeof harness & Pick<Harness, 'outcomes'>, {
    waypoint,
    mesh,
    podPort,
    requests,
    lines,
    arrived,
    messages,
    tcp,
    counters: (name: string) =>
      Object.fromEntries(counted.flatMap((one) => (one.name === name ? [[one.labels, one.cell.value]] : []))),
    async drainPods() {
      await Promise.all(listeners.map((listener) => listener.close()));
      await podRelay.drained();
    },
    connect,
    async tunnel(named = `${vip}:9080`, identity: SpiffeId = sleepId, headers: TunnelHeaders = []) {
      const outcome = await connect(named, identity, headers);
      if (outcome.kind !== 'open') throw new Error(`no tunnel: ${outcome.kind}`);
      t.teardown(() => outcome.stream.destroy());
      return outcome.stream;
    },
  });
}

export function podIp(index: number): string {
  return `127.0.0.${index + 2}`;
}

export function podUid(index: number): string {
  return `Kubernetes//Pod/default/productpage-${index}`;
}

function pod(index: number, port: number, tunnelProtocol: Workload['tunnelProtocol']): Workload {
  return makeWorkload({
    name: `productpage-${index}`,
    serviceAccount: 'bookinfo-productpage',
    addresses: [podIp(index)],
    services: new Map([[serviceKey, new Map([[9080, port]])]]),
    waypoint: gateway,
    tunnelProtocol,
    workloadName: 'productpage',
  });
}

function productpage(appProtocol: AppProtocol): Service {
  return makeService({
    name: 'productpage',
    addresses: [{ network: '', ip: vip }],
    ports: new Map([[9080, makePort(9080, 0, { appProtocol, name: 'http' })]]),
    waypoint: gateway,
  });
}

/** All pods listen on the port that the first one got. */
async function listenPods(t: Test, options: HarnessOptions): Promise<number> {
  let port = 0;
  for (const [index, serve] of options.pods.entries()) {
    if (serve === 'down') continue;
    const given = options.servers?.[index];
    const server =
      given !== undefined && given !== 'down'
        ? given
        : options.podKind === 'tcp'
          ? createTcpServer({ allowHalfOpen: true }, serve as (socket: Socket) => void)
          : createHttpServer(serve as RequestListener);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, podIp(index), resolve);
    });
    port = (server.address() as { port: number }).port;
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket.on('error', () => {}).once('close', () => sockets.delete(socket)));
    });
    t.teardown(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
  }
  return port;
}

async function serveTunnels(
  relay: Relay,
  secrets: TestSecretStore,
  pods: HarnessOptions['pods'],
  arrived: ConnectRequest[],
  listeners: RunningListener[],
): Promise<number> {
  let port = 0;
  for (const index of pods.keys()) {
    const listener = await relay.serve(
      {
        ip: podIp(index),
        port,
        transparent: false,
        mark: undefined,
        namespace: undefined,
        reusePort: false,
        redirected: false,
      },
      {
        secretFor: () => secrets.current(productId),
        trusts: () => true,
        maxStreamsPerSession: 200,
        onConnect: (request) => {
          arrived.push(request);
          const destination = parseSocketAddress(request.authority);
          if (destination === undefined) return { kind: 'refuse', status: 400, headers: [] };
          return { kind: 'dial', destination, socket: plainSocket, headers: [], observer: { ended: () => {} } };
        },
      },
    );
    listeners.push(listener);
    port = listener.address.port;
  }
  return port;
}
