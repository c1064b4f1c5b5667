/**
 * What becomes of one CONNECT at the receiving end: who is meant, whether the peer may, and what to dial. Pure; order and
 * statuses of ztunnel.md §4.1, with R39 and R40 of seed-design.md.
 *
 * I1: only the workload that the connection really reached is dialled, at the address it was reached at: the authority must
 *     agree with that, name a service of the workload, or something the workload is the waypoint of. An address of the
 *     other family is no exception, though the mesh may say that it is the pod's: should the record be old, plain text
 *     would go to somebody else. No header is ever a destination.
 * I2: the peer's identity comes from its certificate alone.
 */
import { canonicalIp, formatSocketAddress, ipFamily, type SocketAddress, splitHostPort } from '../base/address.ts';
import type { ResponseFlag } from '../base/errors.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { TunnelHeaders } from '../hbone/seam.ts';
import type { PolicyKey, Service, Workload } from '../mesh/model.ts';
import { serviceByHostname, vipOf } from '../mesh/named-service.ts';
import { isGatewayEndpoint, waypointsOf } from '../mesh/waypoint.ts';
import type { SocketProfile } from '../net/socket-spec.ts';
import { type AuthorizationContext, authorize, type PolicyOutcome } from './authorization.ts';
import { objectText } from './chains.ts';
import { isOwnPort } from './settings.ts';
import { applicationSocket, ownSocket, type SocketRules } from './socket-rules.ts';
import { baggage } from './tunnel-headers.ts';

export interface InboundEvent {
  readonly peerIdentity: SpiffeId;
  /** Whom policies and the application see; `source` undefined: the tunnel carried our own address. */
  readonly peer: SocketAddress;
  readonly source: string | undefined;
  /** The address the tunnel's connection was made to. */
  readonly local: SocketAddress;
  readonly authority: string;
}

export interface InboundContext extends AuthorizationContext {
  readonly sockets: SocketRules;
  /** The workload of this process that has the address; undefined when none has. */
  readonly workloadAt: (ip: string) => Workload | undefined;
  /** The only ports of the place that a tunnel reaches; undefined: any. */
  readonly reachablePorts?: ReadonlySet<number> | undefined;
}

/** PROXY protocol v2 towards an application tunnel. */
export interface ProxyPreface {
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
  readonly identity: SpiffeId;
}

export type InboundDecision =
  | {
      readonly kind: 'dial';
      readonly workload: Workload;
      readonly service: Service | undefined;
      readonly destination: SocketAddress;
      readonly socket: SocketProfile;
      readonly preface: ProxyPreface | undefined;
      readonly headers: TunnelHeaders;
      readonly reason: string;
      readonly outcome: PolicyOutcome;
    }
  | {
      readonly kind: 'refuse';
      readonly status: 400 | 401 | 503;
      readonly flag: ResponseFlag;
      readonly reason: string;
      readonly workload: Workload | undefined;
      /** Undefined: it was refused before policies were asked. */
      readonly outcome: PolicyOutcome | undefined;
      readonly emptyMatchOf: PolicyKey | undefined;
    }
  /** Ask again after a change of the mesh, or when this time is over. */
  | { readonly kind: 'wait'; readonly forMs: number };

export function decideInbound(event: InboundEvent, context: InboundContext): InboundDecision {
  const target = splitHostPort(event.authority);
  if (target === undefined) return refuse(400, `authority is no address: ${JSON.stringify(event.authority)}`);
  const workload = context.workloadAt(event.local.ip);
  if (workload === undefined) return refuse(503, `no workload of this node has the address ${event.local.ip}`);
  const meant = findMeant(target, event, workload, context);
  if (meant.kind === 'wrong') return refuse(meant.status, meant.reason, workload);
  // A tunnel without a port of its own takes the bytes where they were meant to go.
  const port = workload.applicationTunnel?.port || meant.port;
  for (const each of [meant.port, port]) {
    if (isOwnPort(each, context.settings.ports)) {
      return refuse(503, `port ${each} is a listener of this proxy`, workload);
    }
  }
  const { reachablePorts } = context;
  if (reachablePorts !== undefined && (!reachablePorts.has(meant.port) || workload.applicationTunnel !== undefined)) {
    return refuse(503, `port ${meant.port} of this proxy is not reached through tunnels`, workload);
  }
  const { ip } = event.local;
  const authorization = authorize(
    workload,
    event.peerIdentity,
    { sourceIp: event.peer.ip, destinationIp: ip, destinationPort: port },
    context,
  );
  if (authorization.kind === 'wait') return authorization;
  if (authorization.kind === 'deny') {
    const { reason, outcome, emptyMatchOf } = authorization;
    return { ...refuse(401, reason, workload, 'DENY'), outcome, emptyMatchOf };
  }
  const headers: TunnelHeaders = context.settings.responseBaggage ? [['baggage', baggage(workload)]] : [];
  const { reason, outcome } = authorization;
  const common = { kind: 'dial', workload, service: meant.service, headers, reason, outcome } as const;
  if (workload.applicationTunnel?.protocol !== 'proxy') {
    const socket = applicationSocket(context.sockets, event.source, ip);
    return { ...common, destination: { ip, port }, socket, preface: undefined };
  }
  const { named } = meant;
  if (named === undefined) {
    return refuse(503, `${JSON.stringify(target.host)} has no address that PROXY protocol could name`, workload);
  }
  const preface: ProxyPreface = { source: event.peer, destination: named, identity: event.peerIdentity };
  if (!context.settings.localhostAppTunnel) {
    const socket = applicationSocket(context.sockets, event.source, ip);
    return { ...common, destination: { ip, port }, socket, preface };
  }
  const loopback = ipFamily(ip) === 6 ? '::1' : '127.0.0.1';
  return { ...common, destination: { ip: loopback, port }, socket: ownSocket(context.sockets), preface };
}

type Meant =
  | {
      readonly kind: 'meant';
      /** Of the workload's application. */
      readonly port: number;
      /** Which it asked for; undefined: an address of the workload's own. */
      readonly service: Service | undefined;
      /** What the peer asked for, as an address; undefined: a service that has none. */
      readonly named: SocketAddress | undefined;
    }
  | { readonly kind: 'wrong'; readonly status: 400 | 503; readonly reason: string };

interface Target {
  readonly host: string;
  readonly port: number;
}

function findMeant(target: Target, event: InboundEvent, workload: Workload, context: InboundContext): Meant {
  const ip = canonicalIp(target.host);
  if (ip === undefined) return findByHostname(target, workload, context);
  const { mesh } = context;
  const { port } = target;
  const named = { ip, port };
  if (ip === event.local.ip) return { kind: 'meant', port, service: undefined, named };
  // A waypoint, with or without a tunnel to it: it stands for those whose waypoint it is, and for nobody else.
  const served = mesh.workloadByAddress(workload.network, ip) ?? mesh.serviceByAddress(workload.network, ip, undefined);
  if (served !== undefined && isWaypointOf(served, workload, context)) {
    return { kind: 'meant', port, service: 'uid' in served ? undefined : served, named };
  }
  const reason = `ip mismatch: ${formatSocketAddress(event.local)} != ${formatSocketAddress(named)}`;
  return { kind: 'wrong', status: 400, reason };
}

/** A service of the workload, on the port it serves it on, or one that it is a waypoint of. */
function findByHostname({ host, port: servicePort }: Target, workload: Workload, context: InboundContext): Meant {
  const service = serviceByHostname(
    context.mesh,
    host,
    workload.namespace,
    (each) => workload.services.has(each.key) || isWaypointOf(each, workload, context),
  );
  if (service === undefined) {
    const reason = `${objectText(workload)}: is no endpoint of ${JSON.stringify(host)}`;
    return { kind: 'wrong', status: 503, reason };
  }
  const own = workload.services.get(service.key)?.get(servicePort) ?? 0;
  const port = own === 0 ? (service.ports.get(servicePort)?.targetPort ?? 0) : own;
  if (port === 0) return { kind: 'wrong', status: 503, reason: `${objectText(service)}: has no port ${servicePort}` };
  const vip = vipOf(service, workload.network);
  return { kind: 'meant', port, service, named: vip === undefined ? undefined : { ip: vip, port: servicePort } };
}

function isWaypointOf(object: Service | Workload, workload: Workload, { mesh }: InboundContext): boolean {
  return waypointsOf(object).some((gateway) => isGatewayEndpoint(mesh, gateway, workload));
}

function refuse(
  status: 400 | 401 | 503,
  reason: string,
  workload?: Workload,
  flag: ResponseFlag = 'CONNECT',
): Extract<InboundDecision, { kind: 'refuse' }> {
  return { kind: 'refuse', status, flag, reason, workload, outcome: undefined, emptyMatchOf: undefined };
}
