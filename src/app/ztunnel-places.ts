/**
 * Whose traffic this process serves: the whole node's, one workload's, or each pod's that the node agent hands over.
 * Starts their listeners once the mesh is known, and takes them down again.
 */
import type { Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { PodState } from '../ztunnel/config-dump.ts';
import type { Place, ZtunnelServices } from '../ztunnel/context.ts';
import { type RunningPlace, startDnsAlone, startProxy } from '../ztunnel/proxy.ts';
import type { Places, PlacesDependencies } from './places.ts';
import { PodPlaces } from './pod-places.ts';
import { wildcard } from './wildcard.ts';
import { workloadPlace } from './workload-place.ts';
import type { ZtunnelProgramSettings } from './ztunnel-settings.ts';

export function createPlaces(settings: ZtunnelProgramSettings, dependencies: PlacesDependencies): Places {
  const { mode } = settings;
  const { ENABLE_PROXY } = settings.variables;
  const start = ENABLE_PROXY ? startProxy : startDnsAlone;
  const tasks = [...(ENABLE_PROXY ? ['proxy'] : []), ...(settings.dns === undefined ? [] : ['dns proxy'])];
  switch (mode.kind) {
    case 'node':
      return new OwnPlace(nodePlace(settings, dependencies.mesh), ENABLE_PROXY ? ['proxy'] : [], start);
    case 'dedicated': {
      const ip = settings.variables.AMBIT_LISTEN_IP ?? wildcard(settings.variables.IPV6_ENABLED);
      const place = workloadPlace(mode.workload, undefined, ip, settings, dependencies.mesh);
      return new OwnPlace(place, tasks, start);
    }
    case 'pods':
      return new PodPlaces(settings, mode.node, dependencies);
  }
}

/** One set of listeners in the process's own namespace. */
class OwnPlace implements Places {
  readonly listenIp: string;
  readonly #place: Place;
  readonly #tasks: readonly string[];
  readonly #start: typeof startProxy | typeof startDnsAlone;
  #proxy: RunningPlace | undefined;

  /** `tasks`: what readiness calls what is to be started here. */
  constructor(place: Place, tasks: readonly string[], start: typeof startProxy | typeof startDnsAlone) {
    this.#start = start;
    this.listenIp = place.ip;
    this.#place = place;
    this.#tasks = tasks;
  }

  readonly placeOf = (workload: Workload): Place | undefined => {
    const { addresses } = workload;
    return addresses.some((ip) => this.#place.workloadAt(ip)?.uid === workload.uid) ? this.#place : undefined;
  };

  async start(services: ZtunnelServices): Promise<void> {
    this.#proxy = await this.#start(services, this.#place);
  }

  pending(): readonly string[] {
    return this.#proxy === undefined ? this.#tasks : [];
  }

  pods(): Iterable<PodState> {
    return [];
  }

  async close(): Promise<void> {
    await this.#proxy?.close();
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
