/**
 * What a stage of a request is (docs/development.md, "How to add a stage"). A stage that nobody configured is in nobody's
 * list: whether it applies is asked once per tunnel and model, or once per route, never per request.
 *
 * I1: a stage that cannot decide replies; only `go` lets a request on. I2: whoever waits ends its waiting when
 * `record.gone` is cancelled; the flow has told the log by then, and hears no late answer.
 */
import type { HeaderList } from '../../http/header-list.ts';
import type { ServiceKey } from '../../mesh/model.ts';
import type { L7Model, Route } from '../../route/model.ts';
import type { Tunnel, WaypointServices } from '../context.ts';
import type { OwnGateway } from '../gateway.ts';
import type { RequestRecord } from '../request-record.ts';

/** An answer of our own instead of an upstream's. Response changes made so far apply to it. */
export interface StageReply {
  readonly kind: 'reply';
  readonly status: number;
  readonly body: string;
  /** Envoy's response flags, `-` for none. */
  readonly flags: string;
  /** Envoy's response code details. */
  readonly details: string;
  readonly headers?: HeaderList | undefined;
  /** For a gRPC client, where the HTTP status alone would say something else. */
  readonly grpcStatus?: number | undefined;
}

export type StageAnswer = { readonly kind: 'go' } | StageReply;

/** The answer at once wherever nothing has to be waited for. A throw or a rejection is a broken invariant: 500. */
export type Stage = (record: RequestRecord) => StageAnswer | Promise<StageAnswer>;

/** What a stage may look at to know whether it is needed. */
export interface StageContext {
  readonly services: WaypointServices;
  readonly tunnel: Tunnel;
  readonly model: L7Model;
  readonly own: OwnGateway | undefined;
}

/** Before a route is chosen: what hangs on the gateway or on the service. Undefined: nothing is configured. */
export type BeforeRoute = (context: StageContext) => Stage | undefined;

/** Once the route is chosen. `route` undefined: plain forwarding. */
export type AfterRoute = (context: StageContext, route: Route | undefined) => Stage | undefined;

export const go: StageAnswer = { kind: 'go' };

/** What hangs on the waypoint's gateway, then what hangs on the service that the tunnel leads to. */
export function attachedTo<T>(
  { own, tunnel: { destination } }: Pick<StageContext, 'own' | 'tunnel'>,
  gateways: ReadonlyMap<string, readonly T[]>,
  services: ReadonlyMap<ServiceKey, readonly T[]>,
): readonly T[] {
  const ofGateway = own === undefined ? undefined : gateways.get(own.key);
  const ofService = destination.kind === 'service' ? services.get(destination.service.key) : undefined;
  return [...(ofGateway ?? []), ...(ofService ?? [])];
}
