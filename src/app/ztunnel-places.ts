/**
 * Whose traffic this process serves: the whole node's, one workload's, or each pod's that the node agent hands over.
 * Starts their listeners once the mesh is known, and takes them down again.
 */
import { networkInterfaces } from 'node:os';
import type { AmbitError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import { type PodInfo, PodManager, type PodProxy } from '../inpod/pod-manager.ts';
import { ZdsClient } from '../inpod/zds-client.ts';
import type { Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { NetworkNamespace } from '../net/socket-spec.ts';
import type { PodState } from '../ztunnel/config-dump.ts';
import type { Place, ZtunnelServices } from '../ztunnel/context.ts';
import { type RunningProxy, startProxy } from '../ztunnel/proxy.ts';
import type { WorkloadName, ZtunnelProgramSettings } from './ztunnel-settings.ts';

export interface Places {
  /** What listeners bind to. */
  readonly listenIp: string;
  readonly placeOf: (workload: Workload) => Place | undefined;
  /** Starts listening. Rejects when the node's or the workload's own listeners cannot be made. */
  start(services: ZtunnelServices): Promise<void>;
  /** What readiness waits for. */
  pending(): readonly string[];
  pods(): Iterable<PodState>;
  /** Stops accepting; live connections go on. */
  close(): Promise<void>;
}

export interface PlacesDependencies {
  readonly mesh: MeshView;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly onFatal: (error: AmbitError) => void;
}

export function createPlaces(settings: ZtunnelProgramSettings, dependencies: PlacesDependencies): Places {
  const { mode } = settings;
  switch (mode.kind) {
    case 'node':
      return new OwnPlace(nodePlace(settings, dependencies.mesh));
    case 'dedicated': {
      const ip = settings.variables.AMBIT_LISTEN_IP ?? wildcard(settings.variables.IPV6_ENABLED);
      return new OwnPlace(workloadPlace(mode.workload, undefined, ip, settings, dependencies.mesh));
    }
    case 'pods':
      return new PodPlaces(settings, dependencies);
  }
}

/** One set of listeners in the process's own namespace. */
class OwnPlace implements Places {
  readonly listenIp: string;
  readonly #place: Place;
  #proxy: RunningProxy | undefined;

  constructor(place: Place) {
    this.listenIp = place.ip;
    this.#place = place;
  }

  readonly placeOf = (workload: Workload): Place | undefined => {
    const { addresses } = workload;
    return addresses.some((ip) => this.#place.workloadAt(ip)?.uid === workload.uid) ? this.#place : undefined;
  };

  async start(services: ZtunnelServices): Promise<void> {
    this.#proxy = await startProxy(services, this.#place);
  }

  pending(): readonly string[] {
    return this.#proxy === undefined ? ['proxy'] : [];
  }

  pods(): Iterable<PodState> {
    return [];
  }

  async close(): Promise<void> {
    await this.#proxy?.close();
  }
}

/** A set of listeners inside each pod. */
class PodPlaces implements Places {
  readonly listenIp: string;
  readonly #settings: ZtunnelProgramSettings;
  readonly #dependencies: PlacesDependencies;
  readonly #places = new Map<string, Place>();
  readonly #proxies = new Set<RunningProxy>();
  #pods: PodManager | undefined;
  #client: ZdsClient | undefined;

  constructor(settings: ZtunnelProgramSettings, dependencies: PlacesDependencies) {
    this.#settings = settings;
    this.#dependencies = dependencies;
    const { AMBIT_LISTEN_IP, IPV6_ENABLED } = settings.variables;
    this.listenIp = AMBIT_LISTEN_IP ?? (IPV6_ENABLED ? '::' : '0.0.0.0');
  }

  readonly placeOf = (workload: Workload): Place | undefined => this.#places.get(keyOf(workload));

  async start(services: ZtunnelServices): Promise<void> {
    const { logger, metrics, onFatal } = this.#dependencies;
    const { clock, random } = services;
    const startPod = (pod: PodInfo, namespace: NetworkNamespace) => this.#startPod(services, pod, namespace);
    this.#pods = new PodManager({ clock, logger: logger.topic('inpod'), metrics, startProxy: startPod });
    this.#client = new ZdsClient({
      path: this.#settings.variables.INPOD_UDS,
      pods: this.#pods,
      clock,
      random,
      logger: logger.topic('inpod'),
      onFatal,
    });
    this.#client.start();
  }

  pending(): readonly string[] {
    return this.#pods?.pending() ?? ['workload proxy manager'];
  }

  *pods(): Iterable<PodState> {
    for (const { info, up } of this.#pods?.pods() ?? []) {
      const { uid, name, namespace, serviceAccount } = info;
      const workload = findWorkload(this.#dependencies.mesh, info, this.#settings.node);
      yield { uid, state: up ? 'Up' : 'Pending', info: { name, namespace, serviceAccount }, workload };
    }
  }

  /** Pods keep their namespaces: connections made there are still draining. */
  async close(): Promise<void> {
    this.#client?.close();
    await Promise.all([...this.#proxies].map((proxy) => proxy.close()));
  }

  async #startPod(services: ZtunnelServices, pod: PodInfo, namespace: NetworkNamespace): Promise<PodProxy> {
    const { place, proxy } = await this.#listen(services, pod, namespace);
    const key = keyOf(pod);
    this.#proxies.add(proxy);
    this.#places.set(key, place);
    return {
      destroy: () => {
        this.#proxies.delete(proxy);
        if (this.#places.get(key) === place) this.#places.delete(key);
        proxy.destroy();
        // What was delivered to it in process came in by another pod's listener.
        const workload = findWorkload(this.#dependencies.mesh, pod, this.#settings.node);
        if (workload !== undefined) services.registry.stopWorkload(workload.uid, 'connection closed: its pod has left');
      },
    };
  }

  /** A namespace may be without IPv6 although we asked for both families. */
  async #listen(services: ZtunnelServices, pod: PodInfo, namespace: NetworkNamespace) {
    const { mesh } = this.#dependencies;
    const place = workloadPlace(pod, namespace, this.listenIp, this.#settings, mesh);
    try {
      return { place, proxy: await startProxy(services, place) };
    } catch (error) {
      if (this.listenIp !== '::') throw error;
      const narrow = { ...place, ip: '0.0.0.0' };
      return { place: narrow, proxy: await startProxy(services, narrow) };
    }
  }
}

function nodePlace(settings: ZtunnelProgramSettings, mesh: MeshView): Place {
  const { node, variables } = settings;
  const workloadAt = (ip: string) => {
    const workload = mesh.workloadByAddress(variables.NETWORK, ip);
    return workload !== undefined && (node === undefined || workload.node === node) ? workload : undefined;
  };
  // TPROXY hands connections to loopback; nobody can reach a listener there past it.
  return {
    name: node ?? 'this machine',
    namespace: undefined,
    ip: variables.AMBIT_LISTEN_IP ?? '127.0.0.1',
    sourceAt: workloadAt,
    workloadAt,
  };
}

/** Whatever address its traffic has, it is this workload's. */
function workloadPlace(
  name: WorkloadName,
  namespace: Place['namespace'],
  ip: string,
  settings: ZtunnelProgramSettings,
  mesh: MeshView,
): Place {
  const workload = () => findWorkload(mesh, name, settings.node);
  return {
    name: `${name.namespace}/${name.name}`,
    namespace,
    ip,
    sourceAt: workload,
    workloadAt(address) {
      const found = workload();
      return found?.addresses.includes(address) === true ? found : undefined;
    },
  };
}

function findWorkload(mesh: MeshView, name: WorkloadName, node: string | undefined): Workload | undefined {
  return mesh.workloadByName(name.namespace, name.name, name.serviceAccount, node ?? '');
}

/** Every address, of both families where this namespace has both. */
export function wildcard(ipv6Wanted: boolean): string {
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return ipv6Wanted && interfaces.some(({ family }) => family === 'IPv6') ? '::' : '0.0.0.0';
}

function keyOf(name: WorkloadName): string {
  return `${name.namespace}/${name.name}/${name.serviceAccount}`;
}
