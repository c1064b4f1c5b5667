/**
 * Each pod's own place, made and taken away as the node agent says: a set of listeners in the pod's network namespace.
 *
 * I1: of two pods with one name (the old one not yet gone, the new one there) the newer is the place of their workload,
 *     and the end of either takes only its own connections along.
 */
import { errorCode } from '../base/errors.ts';
import type { RunningListener } from '../hbone/seam.ts';
import { type PodInfo, PodManager, type PodProxy } from '../inpod/pod-manager.ts';
import { ZdsClient } from '../inpod/zds-client.ts';
import type { Workload } from '../mesh/model.ts';
import type { NetworkNamespace } from '../net/socket-spec.ts';
import type { PodState } from '../ztunnel/config-dump.ts';
import { drainReason } from '../ztunnel/connection-registry.ts';
import type { Place, ZtunnelServices } from '../ztunnel/context.ts';
import { type RunningPlace, startDnsAlone, startProxy } from '../ztunnel/proxy.ts';
import { FirstCertificate } from './first-certificate.ts';
import { NamedPlaces } from './named-places.ts';
import type { Places, PlacesDependencies } from './places.ts';
import { startSelf } from './self-place.ts';
import { wildcard } from './wildcard.ts';
import { findWorkload, workloadPlace } from './workload-place.ts';
import type { ZtunnelProgramSettings } from './ztunnel-settings.ts';

/** A set of listeners inside each pod. */
export class PodPlaces implements Places {
  readonly listenIp: string;
  readonly #settings: ZtunnelProgramSettings;
  readonly #dependencies: PlacesDependencies;
  readonly #node: string;
  readonly #places = new NamedPlaces();
  readonly #proxies = new Set<RunningPlace>();
  #certificates: FirstCertificate | undefined;
  #pods: PodManager | undefined;
  #client: ZdsClient | undefined;
  #self: RunningListener | undefined;

  constructor(settings: ZtunnelProgramSettings, node: string, dependencies: PlacesDependencies) {
    this.#settings = settings;
    this.#dependencies = dependencies;
    this.#node = node;
    const { AMBIT_LISTEN_IP, IPV6_ENABLED } = settings.variables;
    this.listenIp = AMBIT_LISTEN_IP ?? (IPV6_ENABLED ? '::' : '0.0.0.0');
  }

  readonly placeOf = (workload: Workload): Place | undefined => this.#places.find(workload);

  async start(services: ZtunnelServices): Promise<void> {
    const { logger, mesh, metrics, onFatal } = this.#dependencies;
    const { clock, random } = services;
    const ip = wildcard(this.listenIp === '::');
    this.#self = await startSelf(services, this.#settings, ip, mesh, logger.topic('inpod'));
    this.#certificates = new FirstCertificate(services.secrets, clock);
    this.#pods = new PodManager({
      clock,
      logger: logger.topic('inpod'),
      metrics,
      startProxy: (pod, namespace, order) => this.#startPod(services, pod, namespace, order),
    });
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
      const workload = findWorkload(this.#dependencies.mesh, info, this.#node);
      yield { uid, state: up ? 'Up' : 'Pending', info: { name, namespace, serviceAccount }, workload };
    }
  }

  /** Pods keep their namespaces: connections made there are still draining. */
  async close(): Promise<void> {
    this.#client?.close();
    await Promise.all([this.#self?.close(), ...[...this.#proxies].map((proxy) => proxy.close())]);
  }

  async #startPod(
    services: ZtunnelServices,
    pod: PodInfo,
    namespace: NetworkNamespace,
    order: number,
  ): Promise<PodProxy> {
    const starting = findWorkload(this.#dependencies.mesh, pod, this.#node);
    if (starting !== undefined) await this.#certificates?.of(starting.identity);
    const { place, proxy } = await this.#listen(services, pod, namespace);
    this.#proxies.add(proxy);
    this.#places.add(pod, place, order);
    return {
      destroy: () => {
        this.#proxies.delete(proxy);
        this.#places.remove(pod, place);
        // First, for a reason in their access lines; then what never became a connection.
        services.registry.stopPlace(place.sole?.(), place, drainReason);
        proxy.destroy();
      },
    };
  }

  /** A kernel may be without IPv6 although we asked for both families. */
  async #listen(services: ZtunnelServices, pod: PodInfo, namespace: NetworkNamespace) {
    const place = workloadPlace(pod, namespace, this.listenIp, this.#settings, this.#dependencies.mesh);
    const start = this.#settings.variables.ENABLE_PROXY ? startProxy : startDnsAlone;
    try {
      return { place, proxy: await start(services, place) };
    } catch (error) {
      if (this.listenIp !== '::' || !lacksIpv6(error)) throw error;
      const narrow = { ...place, ip: '0.0.0.0' };
      return { place: narrow, proxy: await start(services, narrow) };
    }
  }
}

function lacksIpv6(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(errorCode(cause) ?? '');
}
