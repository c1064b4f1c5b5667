/**
 * The stages of a request in their order, which is Envoy's (waypoint.md §2.5): a new stage is a file here and a line in
 * one of the two lists. What a tunnel's requests need of them is found once and kept while the model stands.
 */
import { routesFor } from '../../route/match-route.ts';
import type { L7Model, Route } from '../../route/model.ts';
import { clientFacts } from '../client-facts.ts';
import type { Tunnel, WaypointServices } from '../context.ts';
import type { OwnGateway } from '../gateway.ts';
import { admissionStage } from './admission.ts';
import { corsStage } from './cors.ts';
import { customStage } from './custom.ts';
import { authnExtensions, authzExtensions, lateExtensions } from './extensions.ts';
import { faultStage } from './fault.ts';
import { policyStage } from './policies.ts';
import { protectionStage, sizeStage } from './protection.ts';
import type { AfterRoute, BeforeRoute, Stage, StageContext } from './stage.ts';
import { tokenStage } from './tokens.ts';

const beforeRoute: readonly BeforeRoute[] = [
  admissionStage,
  sizeStage,
  customStage,
  authnExtensions,
  tokenStage,
  authzExtensions,
  policyStage,
];

const afterRoute: readonly AfterRoute[] = [protectionStage, faultStage, corsStage, lateExtensions];

/** Those of one tunnel, and the routes between them. */
export class TunnelStages {
  readonly #services: WaypointServices;
  readonly #tunnel: Tunnel;
  #context: StageContext | undefined;
  #before: readonly Stage[] = [];
  #after = new Map<Route | undefined, readonly Stage[]>();
  #routes: readonly Route[] | undefined;

  constructor(services: WaypointServices, tunnel: Tunnel) {
    this.#services = services;
    this.#tunnel = tunnel;
  }

  before(model: L7Model): readonly Stage[] {
    this.#follow(model, this.#services.own());
    return this.#before;
  }

  /** None: requests are forwarded to their service. */
  routes(model: L7Model): readonly Route[] {
    this.#follow(model, this.#services.own());
    this.#routes ??= routesOf(model, this.#tunnel);
    return this.#routes;
  }

  after(model: L7Model, route: Route | undefined): readonly Stage[] {
    const context = this.#follow(model, this.#services.own());
    const known = this.#after.get(route);
    if (known !== undefined) return known;
    const stages = afterRoute.map((stage) => stage(context, route)).filter(isNeeded);
    this.#after.set(route, stages);
    return stages;
  }

  #follow(model: L7Model, own: OwnGateway | undefined): StageContext {
    const known = this.#context;
    if (known !== undefined && known.model === model && known.own === own) return known;
    const context = { services: this.#services, tunnel: this.#tunnel, model, own };
    this.#context = context;
    this.#before = beforeRoute.map((stage) => stage(context)).filter(isNeeded);
    this.#after = new Map();
    this.#routes = undefined;
    return context;
  }
}

const noRoutes: readonly Route[] = [];

function routesOf(model: L7Model, tunnel: Tunnel): readonly Route[] {
  const { destination } = tunnel;
  if (destination.kind !== 'service') return noRoutes;
  const ports = model.ports.get(`${destination.service.key}:${destination.port.servicePort}`);
  return ports === undefined ? noRoutes : routesFor(ports, clientFacts(tunnel).namespace).routes;
}

function isNeeded(stage: Stage | undefined): stage is Stage {
  return stage !== undefined;
}
