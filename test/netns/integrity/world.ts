/**
 * A small mesh for tests of what happens to bytes: a client on one node, servers on the other, of which `shop` is behind
 * a waypoint and `plain` is not. The proxies are the real programs; client and servers are sockets of the test itself.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import path from 'node:path';
import type { Test } from 'tap';
import { type LabMesh, startLabMesh } from '../../../src/app/lab-mesh.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import type { Preset } from '../../../src/config/preset.ts';
import { connectFrom, listenIn } from '../../../src/lab/sockets.ts';
import { within } from '../../support/eventually.ts';
import { builtPrograms } from '../../support/program-files.ts';

/** Both services have it; for `shop` it is declared TCP, so that the waypoint carries bytes. */
export const tcpPort = 7000;
/** Of `shop` alone, declared HTTP. */
export const httpPort = 8080;

export const vips = { plain: '10.96.0.10', shop: '10.96.0.20' } as const;
export type ServiceName = keyof typeof vips;

export interface WorldOptions {
  readonly preset: Preset;
  /** A directory of the test's own; the mesh's folder is written there. */
  readonly directory: string;
  readonly environment?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** A server in a pod. */
export interface Listening {
  /** Frees the port; what was accepted goes on. */
  stop(): void;
  /** Destroys what was accepted, too. */
  close(): Promise<void>;
}

export interface World {
  readonly mesh: LabMesh;
  /** A connection from pod `client` to a service. The caller destroys it. */
  connect(service: ServiceName, port?: number): Promise<Socket>;
  listen(pod: string, port: number, onConnection: (socket: Socket) => void): Promise<Listening>;
  close(): Promise<void>;
}

export async function startWorld({ preset, directory, environment }: WorldOptions): Promise<World> {
  const folder = path.join(directory, preset.name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'mesh.yaml'), meshText(preset));
  const mesh = await startLabMesh({
    ...builtPrograms,
    preset,
    folder,
    logger: silentLogger,
    ...(environment === undefined ? {} : { environment }),
  });
  return {
    mesh,
    connect: (service, port = tcpPort) => connectFrom(mesh.lab.namespace('client'), { host: vips[service], port }),
    listen: async (pod, port, onConnection) => {
      const open = new Set<Socket>();
      const { server } = await listenIn(mesh.lab.namespace(pod), { port }, (socket) => {
        open.add(socket);
        socket.once('close', () => open.delete(socket));
        onConnection(socket);
      });
      return { stop: () => void server.close(), close: () => closeServer(server, open) };
    },
    close: () => mesh.close(),
  };
}

function closeServer(server: Server, open: ReadonlySet<Socket>): Promise<void> {
  for (const socket of open) socket.destroy();
  return new Promise((resolve) => server.close(() => resolve()));
}

/** A connection from pod `client`, and the socket its server got. */
export async function pair(t: Test, world: World, service: ServiceName): Promise<{ client: Socket; server: Socket }> {
  const accepted = Promise.withResolvers<Socket>();
  const listening = await world.listen(service, tcpPort, (socket) => accepted.resolve(socket));
  const client = await world.connect(service);
  t.teardown(() => client.destroy());
  const server = await within('the connection to the server', accepted.promise);
  t.teardown(() => server.destroy());
  listening.stop();
  return { client, server };
}

interface PodText {
  readonly name: string;
  readonly ip: string;
  readonly node: string;
  readonly serviceAccount?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ready?: boolean;
}

export function podText({ name, ip, node, serviceAccount = name, labels, ready = true }: PodText): string {
  const conditions = [{ type: 'Ready', status: ready ? 'True' : 'False' }];
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: default, labels: ${JSON.stringify(labels)}}
spec: {serviceAccountName: ${serviceAccount}, nodeName: ${node}}
status: {phase: Running, podIP: ${ip}, conditions: ${JSON.stringify(conditions)}}
`;
}

interface ServiceText {
  readonly name: string;
  readonly vip: string;
  readonly selector: Readonly<Record<string, string>>;
  readonly ports: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
}

function serviceText({ name, vip, selector, ports, labels = {} }: ServiceText): string {
  const list = Object.entries(ports).map(([portName, port]) => ({ name: portName, port, targetPort: port }));
  return `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: default, labels: ${JSON.stringify(labels)}}
spec: {clusterIP: ${vip}, selector: ${JSON.stringify(selector)}, ports: ${JSON.stringify(list)}}
`;
}

/** Labels of what `shop`'s waypoint stands before. */
export function shopLabels({ waypointBinding }: Preset): Readonly<Record<string, string>> {
  return { app: 'shop', ...(waypointBinding === 'label' ? { 'istio.io/use-waypoint': 'waypoint' } : {}) };
}

function meshText(preset: Preset): string {
  const bound = shopLabels(preset);
  return [
    `apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {istio.io/dataplane-mode: ambient}}
`,
    podText({ name: 'client', ip: '10.244.1.4', node: 'node-a', labels: { app: 'client' } }),
    podText({
      name: 'outsider',
      ip: '10.244.1.5',
      node: 'node-a',
      labels: { app: 'outsider', 'istio.io/dataplane-mode': 'none' },
    }),
    podText({ name: 'plain', ip: '10.244.2.5', node: 'node-b', labels: { app: 'plain' } }),
    podText({ name: 'shop', ip: '10.244.2.6', node: 'node-b', labels: bound }),
    serviceText({ name: 'plain', vip: vips.plain, selector: { app: 'plain' }, ports: { 'tcp-raw': tcpPort } }),
    serviceText({
      name: 'shop',
      vip: vips.shop,
      selector: { app: 'shop' },
      ports: { 'tcp-raw': tcpPort, http: httpPort },
      labels: bound,
    }),
    ...(preset.waypointBinding === 'label' ? gatewayByLabel() : gatewayByAccount()),
  ].join('---\n');
}

function gatewayByAccount(): readonly string[] {
  return [
    `apiVersion: gateway.networking.k8s.io/v1alpha2
kind: Gateway
metadata: {name: shop, namespace: default, annotations: {istio.io/service-account: shop}}
spec: {gatewayClassName: istio-mesh}
`,
    podText({
      name: 'waypoint',
      ip: '10.244.1.8',
      node: 'node-a',
      serviceAccount: 'shop',
      labels: { 'ambient-type': 'waypoint' },
    }),
  ];
}

function gatewayByLabel(): readonly string[] {
  const labels = { 'gateway.networking.k8s.io/gateway-name': 'waypoint' };
  return [
    `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: default, labels: {istio.io/waypoint-for: all}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`,
    serviceText({ name: 'waypoint', vip: '10.96.0.30', selector: labels, ports: { hbone: 15008 } }),
    podText({ name: 'waypoint', ip: '10.244.1.8', node: 'node-a', labels }),
  ];
}
