/**
 * What a waypoint would do, as plain data and from live state: listeners with their routes, clusters with their
 * endpoints, in the order a request passes them (R30, R31). Made per request of an operator and bounded.
 */
import { formatSocketAddress } from '../base/address.ts';
import type { Service, Workload } from '../mesh/model.ts';
import type { L7Policy, Route } from '../route/model.ts';
import type { WaypointServices } from './context.ts';
import { endpointAt } from './endpoints.ts';
import { type OwnGateway, serves } from './gateway.ts';
import { declaredKind } from './protocol.ts';
import { customTexts, matchText, policyText } from './route-text.ts';

export interface RouteView {
  readonly name: string;
  readonly match: string;
  readonly to: string;
}

export interface ListenerView {
  readonly name: string;
  readonly address: string | undefined;
  readonly routes: readonly RouteView[];
  /** `action namespace/name` of policies decided here. */
  readonly policies: readonly string[];
}

export interface EndpointView {
  readonly address: string;
  readonly workload: string | undefined;
  readonly identity: string | undefined;
  readonly health: 'HEALTHY' | 'UNHEALTHY' | undefined;
}

export interface ClusterView {
  readonly name: string;
  readonly type: 'STATIC' | 'EDS' | 'ORIGINAL_DST';
  readonly endpoints: readonly EndpointView[];
}

export interface WaypointViews {
  readonly gateway: string | undefined;
  readonly listeners: readonly ListenerView[];
  readonly clusters: readonly ClusterView[];
  /** Something was left out: raise the limit. */
  readonly truncated: boolean;
}

/** `limit`: listeners and clusters shown at most, of each. */
export function buildWaypointViews(services: WaypointServices, listenAddress: string, limit: number): WaypointViews {
  const own = services.own();
  const tree = new Tree(services, own, limit);
  if (own !== undefined) tree.addAll(own);
  const { terminate, originate } = services.names;
  const first = { name: terminate, address: listenAddress, routes: tree.connectRoutes, policies: [] };
  const last = {
    name: originate,
    address: undefined,
    routes: [{ name: 'default', match: 'any', to: `cluster ${originate}` }],
    policies: [],
  };
  return {
    gateway: own?.key,
    listeners: [first, ...tree.listeners.values(), last],
    clusters: [...tree.clusters.values(), { name: originate, type: 'ORIGINAL_DST', endpoints: tree.tunnels }],
    truncated: tree.truncated,
  };
}

class Tree {
  readonly connectRoutes: RouteView[] = [];
  readonly listeners = new Map<string, ListenerView>();
  readonly clusters = new Map<string, ClusterView>();
  readonly tunnels: EndpointView[] = [];
  truncated = false;
  readonly #services: WaypointServices;
  readonly #own: OwnGateway | undefined;
  readonly #limit: number;

  constructor(services: WaypointServices, own: OwnGateway | undefined, limit: number) {
    this.#services = services;
    this.#own = own;
    this.#limit = limit;
  }

  addAll(own: OwnGateway): void {
    const { mesh } = this.#services;
    for (const service of mesh.services()) {
      if (!serves(mesh, own, service)) continue;
      for (const port of service.ports.keys()) {
        if (this.#full()) return;
        this.#addPort(service, port);
      }
    }
    for (const workload of mesh.workloads()) {
      if (!serves(mesh, own, workload)) continue;
      if (this.#full()) return;
      this.#addDirect(workload);
    }
  }

  #full(): boolean {
    this.truncated ||= this.clusters.size >= this.#limit || this.connectRoutes.length >= this.#limit;
    return this.truncated;
  }

  #addPort(service: Service, port: number): void {
    const { names, mesh } = this.#services;
    const model = this.#services.model();
    const entry = names.serviceEntry(port, service.hostname);
    for (const { ip } of service.addresses) {
      const authority = formatSocketAddress({ ip, port });
      this.connectRoutes.push({ name: authority, match: `CONNECT ${authority}`, to: `cluster ${entry.cluster}` });
    }
    this.#internalCluster(entry.cluster, entry.listener);
    const routes = model.ports.get(`${service.key}:${port}`)?.routes ?? [];
    const kind = declaredKind(service.ports.get(port)?.appProtocol ?? 'unknown');
    const protocols = kind === 'unknown' ? (['http', 'tcp'] as const) : [kind];
    const plain = protocols.map((protocol) => ({
      name: `default-${protocol}`,
      match: protocol,
      to: `cluster ${names.serviceCluster(port, service.hostname, protocol)}`,
    }));
    const shown = routes.map((route) => ({ name: route.name, match: matchText(route), to: this.#target(route) }));
    const tcpOnly = plain.filter(({ match }) => match === 'tcp');
    const { services: custom, gateways } = model.customAuthorizations;
    const asked = [...(custom.get(service.key) ?? []), ...((this.#own && gateways.get(this.#own.key)) ?? [])];
    const policies = [
      ...asked.flatMap(customTexts),
      ...[...(model.servicePolicies.get(service.key) ?? []), ...this.#gatewayPolicies()].map(policyText),
    ];
    const before = this.listeners.get(entry.listener);
    this.listeners.set(entry.listener, {
      name: entry.listener,
      address: undefined,
      routes: [...(before?.routes ?? []), ...(routes.length === 0 ? plain : [...shown, ...tcpOnly])],
      policies: [...new Set([...(before?.policies ?? []), ...policies])],
    });
    const endpoints = mesh.endpoints(service.key);
    for (const protocol of protocols) {
      const views = endpoints.map((workload) => this.#endpoint(service, port, workload));
      const name = names.serviceCluster(port, service.hostname, protocol);
      this.clusters.set(name, { name, type: 'EDS', endpoints: views });
    }
  }

  /** One pod of a cluster, with the stages behind it. */
  #endpoint(service: Service, port: number, workload: Workload): EndpointView {
    const target = workload.services.get(service.key)?.get(port) ?? service.ports.get(port)?.targetPort ?? port;
    const [ip] = workload.addresses;
    if (ip !== undefined && target !== 0) this.#addPod(workload, ip, target);
    return {
      address: ip === undefined ? workload.hostname : formatSocketAddress({ ip, port: target }),
      workload: `${workload.namespace}/${workload.name}`,
      identity: workload.tunnelProtocol === 'none' ? undefined : workload.identity,
      health: workload.healthy ? 'HEALTHY' : 'UNHEALTHY',
    };
  }

  #addPod(workload: Workload, ip: string, port: number): void {
    const { names, settings } = this.#services;
    const { transport } = endpointAt(this.#services, workload, ip, port);
    if (transport.kind === 'tunnel') {
      const address = formatSocketAddress({ ip, port: settings.hbonePort });
      if (!this.tunnels.some((tunnel) => tunnel.address === address)) {
        const { namespace, name, identity, healthy } = workload;
        const health = healthy ? 'HEALTHY' : 'UNHEALTHY';
        this.tunnels.push({ address, workload: `${namespace}/${name}`, identity, health });
      }
    }
    const pod = names.pod(port, ip);
    if (pod === undefined || this.#full()) return;
    const policies = this.#services.model().workloadPolicies.get(workload.uid) ?? [];
    this.listeners.set(pod.listener, {
      name: pod.listener,
      address: undefined,
      routes: [{ name: 'default', match: 'any', to: `cluster ${pod.cluster}` }],
      policies: policies.map(policyText),
    });
    this.#internalCluster(
      pod.cluster,
      transport.kind === 'tunnel' ? names.originate : formatSocketAddress({ ip, port }),
    );
  }

  #addDirect(workload: Workload): void {
    const ports = new Set([...workload.services.values()].flatMap((mapping) => [...mapping.values()]));
    for (const ip of workload.addresses) {
      for (const port of ports) {
        const authority = formatSocketAddress({ ip, port });
        const pod = this.#services.names.pod(port, ip);
        if (pod !== undefined) this.#internalCluster(pod.entry, pod.listener);
        const to = pod === undefined ? 'listener direct-http | direct-tcp' : `cluster ${pod.entry}`;
        this.connectRoutes.push({ name: authority, match: `CONNECT ${authority}`, to });
      }
    }
  }

  #internalCluster(name: string, listener: string): void {
    if (this.clusters.has(name)) return;
    const endpoint = { address: `envoy://${listener}`, workload: undefined, identity: undefined, health: undefined };
    this.clusters.set(name, { name, type: 'STATIC', endpoints: [endpoint] });
  }

  #gatewayPolicies(): readonly L7Policy[] {
    return this.#own === undefined ? [] : (this.#services.model().gatewayPolicies.get(this.#own.key) ?? []);
  }

  #target(route: Route): string {
    const { action } = route;
    if (action.kind === 'redirect') return `redirect ${action.redirect.status}`;
    if (action.kind === 'respond') return `respond ${action.status}`;
    if (action.backends.length === 0) return 'respond 500';
    return action.backends
      .map(
        ({ service, port, weight }) => `${service === undefined ? 'invalid' : `${service}:${port}`} weight ${weight}`,
      )
      .join(', ');
  }
}
