/**
 * The two places where policies apply. Service stage: those on the gateway and on the service, before routing. Pod stage:
 * those that select the chosen pod, after balancing, anew for every try. Which of the two holds policies is the preset's
 * binding rule; both are always asked, so no policy that was compiled is left out.
 */
import { parseSpiffeId } from '../base/spiffe.ts';
import { otherIds } from '../base/trust-domains.ts';
import { ConnectionPolicies, type L7Evaluation } from '../policy/l7.ts';
import type { L7Connection, L7Request } from '../policy/l7-conditions.ts';
import type { L7Model, L7Policy } from '../route/model.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { isOwn, type OwnGateway } from './gateway.ts';

const allowed: L7Evaluation = { verdict: { kind: 'allow', policy: undefined }, audited: [] };
const noPolicies: readonly L7Policy[] = [];

/** Whether any policy of the gateway or of the service concerns requests of the tunnel. */
export function hasServicePolicies(model: L7Model, own: OwnGateway | undefined, { destination }: Tunnel): boolean {
  const ofGateway = own === undefined ? undefined : model.gatewayPolicies.get(own.key);
  const ofService = destination.kind === 'service' ? model.servicePolicies.get(destination.service.key) : undefined;
  return (ofGateway?.length ?? 0) + (ofService?.length ?? 0) > 0;
}

/** Whether policies ask which server a TLS client names; only then is it waited for. */
export function policiesAskServerName(services: WaypointServices, { destination }: Tunnel): boolean {
  const model = services.model();
  const own = services.own();
  const { gateways, services: ofServices } = model.customAuthorizations;
  const key = destination.kind === 'service' ? destination.service.key : '';
  const lists = [
    own === undefined ? undefined : model.gatewayPolicies.get(own.key),
    model.servicePolicies.get(key),
    ...[...((own && gateways.get(own.key)) ?? []), ...(ofServices.get(key) ?? [])].map(({ policies }) => policies),
  ];
  if (lists.some((list) => list !== undefined && askServerName.getOrInsertComputed(list, asksServerName))) return true;
  // Which pod it will be is not known yet.
  return podsAskServerName.getOrInsertComputed(model.workloadPolicies, (ofPods) =>
    [...ofPods.values()].some(asksServerName),
  );
}

const askServerName = new WeakMap<readonly L7Policy[], boolean>();
const podsAskServerName = new WeakMap<L7Model['workloadPolicies'], boolean>();

function asksServerName(policies: readonly L7Policy[]): boolean {
  return policies.some(({ rules }) =>
    rules.some(({ clauses }) => clauses.flat(2).some(({ kind }) => kind === 'server-name')),
  );
}

/** Decides for one tunnel. What its policies say about the tunnel itself is decided once, until they change. */
export class TunnelAuthorizer {
  readonly #services: WaypointServices;
  readonly #tunnel: Tunnel;
  readonly #serverName: string | undefined;
  /** By list of policies, another one once it has changed, and by where they are enforced. */
  #decided: WeakMap<readonly L7Policy[], WeakMap<Tunnel | UpstreamEndpoint, ConnectionPolicies>> | undefined;
  /** Of the service, for the next request. */
  #last: { readonly policies: readonly L7Policy[]; readonly decided: ConnectionPolicies } | undefined;

  /** `serverName`: of the TLS client in the tunnel, on a connection that is no HTTP. */
  constructor(services: WaypointServices, tunnel: Tunnel, serverName?: string) {
    this.#services = services;
    this.#tunnel = tunnel;
    this.#serverName = serverName;
  }

  /** `request` undefined: the connection is no HTTP. */
  service(model: L7Model, request: L7Request | undefined): L7Evaluation {
    const gateway = this.#services.own();
    const { destination } = this.#tunnel;
    const ofGateway = gateway === undefined ? undefined : model.gatewayPolicies.get(gateway.key);
    const ofService = destination.kind === 'service' ? model.servicePolicies.get(destination.service.key) : undefined;
    const policies = both(ofGateway ?? noPolicies, ofService ?? noPolicies);
    if (policies.length === 0) return allowed;
    if (this.#last?.policies !== policies) {
      this.#last = { policies, decided: this.#decidedAt(policies, this.#tunnel, model) };
    }
    return this.#last.decided.evaluate(request);
  }

  /**
   * Ports and addresses in a pod's policies are the pod's own: what a Service in front of it is called by is nothing to
   * it. A pod of another waypoint is guarded by that one and by its own ztunnel: its policies are not ours to read.
   */
  pod(endpoint: UpstreamEndpoint, model: L7Model, request: L7Request | undefined): L7Evaluation {
    const { workload } = endpoint;
    const policies = model.workloadPolicies.get(workload.uid);
    if (policies === undefined) return allowed;
    const gateway = this.#services.own();
    if (gateway === undefined || !isOwn(this.#services.mesh, gateway, workload.waypoint)) return allowed;
    return policies.length === 0 ? allowed : this.#decidedAt(policies, endpoint, model).evaluate(request);
  }

  #decidedAt(policies: readonly L7Policy[], place: Tunnel | UpstreamEndpoint, model: L7Model): ConnectionPolicies {
    this.#decided ??= new WeakMap();
    return this.#decided
      .getOrInsertComputed(policies, newPlaces)
      .getOrInsertComputed(place, () => this.#decide(policies, place, model));
  }

  #decide(policies: readonly L7Policy[], place: Tunnel | UpstreamEndpoint, model: L7Model): ConnectionPolicies {
    const address = 'workload' in place ? place.address : this.#tunnel.destination.address;
    return new ConnectionPolicies(
      policies,
      tunnelFacts(this.#services, this.#tunnel, model, address, this.#serverName),
    );
  }
}

/** What policies may ask about the tunnel itself, at a place that is called by the address. */
export function tunnelFacts(
  services: Pick<WaypointServices, 'trustDomainAliases' | 'identity'>,
  { clientIdentity, client, destination }: Tunnel,
  model: L7Model,
  address = destination.address,
  serverName?: string,
): L7Connection {
  const aliases = [...services.trustDomainAliases, ...model.meshConfig.trustDomainAliases];
  const own = parseSpiffeId(services.identity)?.trustDomain ?? '';
  return {
    principal: clientIdentity,
    otherPrincipals: otherIds(clientIdentity, own, aliases),
    serverName,
    sourceIp: client.ip,
    remoteIp: client.ip,
    destinationIp: address.ip,
    destinationPort: address.port,
  };
}

const joined = new WeakMap<readonly L7Policy[], WeakMap<readonly L7Policy[], readonly L7Policy[]>>();

/** One list for the same two. */
function both(ofGateway: readonly L7Policy[], ofService: readonly L7Policy[]): readonly L7Policy[] {
  if (ofGateway.length === 0) return ofService;
  if (ofService.length === 0) return ofGateway;
  return joined
    .getOrInsertComputed(ofGateway, newWeakMap)
    .getOrInsertComputed(ofService, () => [...ofGateway, ...ofService]);
}

function newWeakMap(): WeakMap<readonly L7Policy[], readonly L7Policy[]> {
  return new WeakMap();
}

function newPlaces(): WeakMap<Tunnel | UpstreamEndpoint, ConnectionPolicies> {
  return new WeakMap();
}
