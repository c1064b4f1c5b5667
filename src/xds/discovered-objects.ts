/**
 * A mesh that a control plane told of, as the Kubernetes objects which stand for it: what routes and policies of a folder
 * name as parents, targets and backends. Only for compiling those: the records themselves go on as they came.
 *
 * I1: an unchanged record is the same object again, so that it is parsed once.
 */
import type { ConfigObject } from '../compile/object.ts';
import type { AppProtocol, Service } from '../mesh/model.ts';

/** The Gateway that this process is, as its environment says: nobody sends it. */
export interface OwnGatewayFacts {
  readonly namespace: string;
  readonly name: string;
  readonly className: string;
  readonly serviceAccount: string;
}

/** Where diagnostics about these objects say that they stand. They are of no use to a user. */
export const discoveredFile = 'control plane';

const groups = { gateway: 'gateway.networking.k8s.io/v1', istio: 'networking.istio.io/v1' } as const;
const nowhere = { file: discoveredFile, line: 1, column: 1 };

export class DiscoveredObjects {
  readonly #own: OwnGatewayFacts;
  readonly #clusterDomain: string;
  readonly #bound = new WeakMap<Service, ConfigObject>();
  readonly #unbound = new WeakMap<Service, ConfigObject>();
  readonly #gateway: readonly ConfigObject[];

  constructor(own: OwnGatewayFacts, clusterDomain: string) {
    this.#own = own;
    this.#clusterDomain = clusterDomain;
    this.#gateway = [gatewayObject(own), podObject(own)];
  }

  /** `serves`: whether the service is bound to this waypoint. */
  *of(services: Iterable<Service>, serves: (service: Service) => boolean): Generator<ConfigObject> {
    for (const object of this.#gateway) yield object;
    const entries = new Map<string, Service[]>();
    for (const service of services) {
      if (this.#isKubernetes(service)) yield this.#service(service, serves(service));
      else entries.getOrInsertComputed(`${service.namespace}/${service.name}`, () => []).push(service);
    }
    // One ServiceEntry has several hosts, each of which came as a service.
    for (const hosts of entries.values()) yield this.#entry(hosts, hosts.some(serves));
  }

  #isKubernetes({ hostname, name, namespace }: Service): boolean {
    return hostname === `${name}.${namespace}.svc.${this.#clusterDomain}`;
  }

  #service(service: Service, bound: boolean): ConfigObject {
    return this.#kept(service, bound, () => {
      const [ip = 'None'] = service.addresses.map((address) => address.ip);
      return object('v1', 'Service', service, this.#labels(bound), {
        clusterIP: ip,
        clusterIPs: service.addresses.map((address) => address.ip),
        ...(this.#isOwn(service) ? { selector: { [gatewayNameLabel]: this.#own.name } } : {}),
        ports: [...service.ports.values()].map(({ servicePort, targetPort, appProtocol }) => ({
          name: portName(servicePort, appProtocol),
          port: servicePort,
          targetPort: targetPort || servicePort,
          ...(words[appProtocol] === undefined ? {} : { appProtocol: words[appProtocol] }),
        })),
      });
    });
  }

  /** Of one host it is kept; those of several are few. */
  #entry(hosts: readonly Service[], bound: boolean): ConfigObject {
    const [first] = hosts as readonly [Service];
    const make = () =>
      object(groups.istio, 'ServiceEntry', first, this.#labels(bound), {
        hosts: hosts.map(({ hostname }) => hostname),
        location: 'MESH_EXTERNAL',
        // What can be bound: how its endpoints are found is not asked of it.
        resolution: 'STATIC',
        ports: [...first.ports.values()].map(({ servicePort, targetPort, appProtocol }) => ({
          number: servicePort,
          name: portName(servicePort, appProtocol),
          protocol: (words[appProtocol] ?? '').toUpperCase(),
          ...(targetPort === 0 ? {} : { targetPort }),
        })),
      });
    return hosts.length === 1 ? this.#kept(first, bound, make) : make();
  }

  #kept(service: Service, bound: boolean, make: () => ConfigObject): ConfigObject {
    return (bound ? this.#bound : this.#unbound).getOrInsertComputed(service, make);
  }

  #labels(bound: boolean): Record<string, string> {
    const { name, namespace } = this.#own;
    return bound ? { 'istio.io/use-waypoint': name, 'istio.io/use-waypoint-namespace': namespace } : {};
  }

  #isOwn({ namespace, name }: Service): boolean {
    return namespace === this.#own.namespace && name === this.#own.name;
  }
}

const gatewayNameLabel = 'gateway.networking.k8s.io/gateway-name';

/** As appProtocol of a Service names them; what is not said is found out from the first bytes. */
const words: Readonly<Record<AppProtocol, string | undefined>> = {
  unknown: undefined,
  http11: 'http',
  http2: 'http2',
  grpc: 'grpc',
  tcp: 'tcp',
  tls: 'tls',
};

/** No beginning of it is a protocol where there is none. */
function portName(port: number, appProtocol: AppProtocol): string {
  return `${words[appProtocol] ?? 'port'}-${port}`;
}

/** Open to all: whoever is bound to it was allowed to be by the control plane. */
function gatewayObject({ namespace, name, className }: OwnGatewayFacts): ConfigObject {
  const listener = { name: 'mesh', port: 15008, protocol: 'HBONE', allowedRoutes: { namespaces: { from: 'All' } } };
  return object(
    groups.gateway,
    'Gateway',
    { namespace, name },
    { 'istio.io/waypoint-for': 'all' },
    {
      gatewayClassName: className,
      listeners: [listener],
    },
  );
}

/** This process. Its address is of no interest, only that there is one. */
function podObject({ namespace, name, serviceAccount }: OwnGatewayFacts): ConfigObject {
  const labels = { [gatewayNameLabel]: name };
  const spec = { serviceAccountName: serviceAccount };
  return object('v1', 'Pod', { namespace, name }, labels, spec, { podIP: '192.0.2.1' });
}

function object(
  apiVersion: string,
  kind: string,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  labels: Readonly<Record<string, string>>,
  spec: Readonly<Record<string, unknown>>,
  status: Readonly<Record<string, unknown>> = {},
): ConfigObject {
  const metadata = { name, namespace, labels, annotations: {}, createdMs: 0, deleting: false };
  return { apiVersion, kind, metadata, content: { apiVersion, kind, metadata, spec, status }, at: () => nowhere };
}
