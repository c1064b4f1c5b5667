/**
 * A small world for relay tests on loopback: one authority, a client's and a server's identity, a relay for each, an
 * application behind the server and a captured listener in front of the client. Everything is closed with the test.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Test } from 'tap';
import type { SocketAddress } from '../../src/base/address.ts';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import type { AmbitError } from '../../src/base/errors.ts';
import { silentLogger } from '../../src/base/logger.ts';
import type { RelayDependencies } from '../../src/hbone/relay.ts';
import type {
  CapturedConnection,
  ConnectRequest,
  ConnectVerdict,
  End,
  JoinObserver,
  OuterLeg,
  Relay,
  RunningListener,
  ServeOptions,
  TunnelRequest,
  TunnelTarget,
} from '../../src/hbone/seam.ts';
import type { PeerRevocation } from '../../src/identity/revocation.ts';
import { type ListenSpec, plainSocket } from '../../src/net/socket-spec.ts';
import { TestCa, TestSecretStore, testIdentity } from './test-ca.ts';

export const clientId = testIdentity('spiffe://cluster.local/ns/shop/sa/client');
export const serverId = testIdentity('spiffe://cluster.local/ns/shop/sa/server');
export const gatewayId = testIdentity('spiffe://cluster.local/ns/istio-gateways/sa/east');

export const onLoopback: ListenSpec = {
  ip: '127.0.0.1',
  port: 0,
  transparent: false,
  mark: undefined,
  namespace: undefined,
  reusePort: false,
  redirected: false,
};

export interface MakeRelay {
  (dependencies: RelayDependencies): Relay;
  /** Every tunnel of the world goes through a gateway, inside another one. */
  readonly nested?: boolean;
}

/** The same relay, with a gateway between the client's and the server's. */
export function behindGateway(make: MakeRelay): MakeRelay {
  return Object.assign((dependencies: RelayDependencies) => make(dependencies), { nested: true });
}

export interface WorldOptions {
  readonly clock?: Clock;
  readonly clientClock?: Clock;
  readonly serverClock?: Clock;
  readonly options?: RelayDependencies['options'];
  readonly onConnect?: (request: ConnectRequest, world: World) => ConnectVerdict | Promise<ConnectVerdict>;
  /** What a gateway does in a nested world, in place of handing the bytes on to the server. */
  readonly onGateway?: (request: ConnectRequest, world: World) => ConnectVerdict | Promise<ConnectVerdict>;
  readonly serve?: Partial<ServeOptions>;
  readonly clientRevocation?: PeerRevocation;
  readonly serverRevocation?: PeerRevocation;
  readonly onConnection?: (connection: CapturedConnection, world: World) => void;
}

export interface World {
  readonly ca: TestCa;
  readonly clientSecrets: TestSecretStore;
  readonly serverSecrets: TestSecretStore;
  readonly client: Relay;
  readonly server: Relay;
  readonly served: RunningListener;
  /** Before the server, when the world is nested. */
  readonly gateway: RunningListener | undefined;
  /** What the gateway was asked for. */
  readonly gatewayRequests: ConnectRequest[];
  readonly captured: RunningListener;
  /** Where the application listens. */
  readonly app: SocketAddress;
  /** Accepted application sockets, in order. */
  readonly appSockets: Socket[];
  readonly clientEnds: End[];
  readonly serverEnds: End[];
  readonly denied: AmbitError[];
  readonly clientObserver: JoinObserver;
  readonly serverObserver: JoinObserver;
  target(changes?: Partial<TunnelTarget>): TunnelTarget;
  request(changes?: Partial<TunnelTarget>): TunnelRequest;
  /** Connects to the captured listener. */
  connect(): Promise<Socket>;
  /** The next application socket not yet taken. */
  accepted(): Promise<Socket>;
}

export async function makeWorld(t: Test, make: MakeRelay, options: WorldOptions = {}): Promise<World> {
  const ca = await TestCa.create();
  const clientSecrets = new TestSecretStore([await ca.issue(clientId)]);
  const serverSecrets = new TestSecretStore([await ca.issue(serverId)]);
  const clock = options.clock ?? systemClock;
  const base = { logger: silentLogger, ...(options.options === undefined ? {} : { options: options.options }) };
  const client = make({
    ...base,
    clock: options.clientClock ?? clock,
    secrets: clientSecrets,
    revocation: options.clientRevocation,
  });
  const server = make({
    ...base,
    clock: options.serverClock ?? clock,
    secrets: serverSecrets,
    revocation: options.serverRevocation,
  });
  const appSockets: Socket[] = [];
  const waiting: ((socket: Socket) => void)[] = [];
  const untaken: Socket[] = [];
  const app = await tcpServer(t, (socket) => {
    appSockets.push(socket);
    const take = waiting.shift();
    if (take === undefined) untaken.push(socket);
    else take(socket);
  });
  const clientEnds: End[] = [];
  const serverEnds: End[] = [];
  const denied: AmbitError[] = [];
  const partial = {
    ca,
    clientSecrets,
    serverSecrets,
    client,
    server,
    app: addressOf(app),
    appSockets,
    clientEnds,
    serverEnds,
    denied,
    clientObserver: { ended: (end: End) => void clientEnds.push(end) },
    serverObserver: { ended: (end: End) => void serverEnds.push(end) },
    gatewayRequests: [] as ConnectRequest[],
    target: (changes: Partial<TunnelTarget> = {}): TunnelTarget => ({
      peer: world.gateway?.address ?? world.served.address,
      sourceIdentity: clientId,
      expectedIdentities: [serverId],
      socket: plainSocket,
      ...(world.gateway === undefined ? {} : { outer: outerLeg }),
      ...changes,
    }),
    request: (changes: Partial<TunnelTarget> = {}): TunnelRequest => ({
      target: world.target(changes),
      authority: '10.1.2.3:80',
      headers: [],
    }),
    connect: () => tcpClient(t, world.captured.address),
    accepted: () =>
      new Promise<Socket>((resolve) => {
        const socket = untaken.shift();
        if (socket === undefined) waiting.push(resolve);
        else resolve(socket);
      }),
  };
  const served = await server.serve(onLoopback, {
    secretFor: () => serverSecrets.current(serverId),
    trusts: (trustDomain) => trustDomain === 'cluster.local',
    maxStreamsPerSession: 200,
    onDenied: (_peer, _local, error) => denied.push(error),
    ...options.serve,
    onConnect: (request) => (options.onConnect ?? dialApp)(request, world),
  });
  const captured = await client.capture(onLoopback, (connection) =>
    (options.onConnection ?? tunnelOn)(connection, world),
  );
  const gateway =
    make.nested === true
      ? await startGateway(t, make, ca, (request) => {
          world.gatewayRequests.push(request);
          return (options.onGateway ?? handOn)(request, world);
        })
      : undefined;
  const world: World = { ...partial, served, captured, gateway };
  t.teardown(async () => {
    await Promise.all([client.close(), server.close()]);
  });
  return world;
}

export const outerLeg: OuterLeg = { expectedIdentities: [gatewayId], authority: 'shop.example:80', headers: [] };

/** What an east-west gateway does: it ends the outer tunnel and hands its bytes on. */
function handOn(_request: ConnectRequest, world: World): ConnectVerdict {
  const observer = { ended: () => {} };
  return { kind: 'dial', destination: world.served.address, socket: plainSocket, headers: [], observer };
}

async function startGateway(
  t: Test,
  make: MakeRelay,
  ca: TestCa,
  answer: (request: ConnectRequest) => ConnectVerdict | Promise<ConnectVerdict>,
): Promise<RunningListener> {
  const secret = await ca.issue(gatewayId);
  const relay = make({ logger: silentLogger, clock: systemClock, secrets: new TestSecretStore([secret]) });
  t.teardown(() => relay.close());
  return await relay.serve(onLoopback, {
    secretFor: () => secret,
    trusts: () => true,
    maxStreamsPerSession: 200,
    onConnect: answer,
  });
}

/** Streams of both relays, without those that carry the sessions behind a gateway. */
export function streamsLeft({ client, server, gatewayRequests }: World): number {
  const carriers = gatewayRequests.filter(({ gone }) => !gone.cancelled).length;
  return client.stats().streams + server.stats().streams - carriers;
}

/** The ordinary verdict: dial the application. */
export function dialApp(_request: ConnectRequest, world: World): ConnectVerdict {
  return { kind: 'dial', destination: world.app, socket: plainSocket, headers: [], observer: world.serverObserver };
}

export function tunnelOn(connection: CapturedConnection, world: World): void {
  connection.tunnel(world.request(), world.clientObserver);
}

/** A listening server on loopback, closed with the test, sockets included. */
export async function tcpServer(t: Test, onSocket: (socket: Socket) => void): Promise<Server> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return server;
}

export async function tcpClient(t: Test, to: SocketAddress): Promise<Socket> {
  const socket = connect({ host: to.ip, port: to.port, allowHalfOpen: true });
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

export function addressOf(server: Server): SocketAddress {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('not a TCP server');
  return { ip: address.address, port: address.port };
}

/** How a socket's reading side ended: its bytes, and whether by FIN or by reset. */
export async function readAll(stream: NodeJS.ReadableStream): Promise<{ data: Buffer; how: 'end' | 'reset' }> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  const how = await new Promise<'end' | 'reset'>((resolve) => {
    stream.once('end', () => resolve('end'));
    stream.once('error', () => resolve('reset'));
    stream.once('close', () => resolve('reset'));
  });
  return { data: Buffer.concat(chunks), how };
}
