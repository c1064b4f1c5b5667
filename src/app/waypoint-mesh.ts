/** A waypoint's mesh and rules, from whichever source its settings name: the store, the model and the Gateway of the moment. */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import type { Compilation } from '../compile/compile.ts';
import type { GatewayRecord } from '../compile/gateways.ts';
import { defaultCompileOptions, serviceKey } from '../compile/options.ts';
import type { JoinCredential } from '../identity/join.ts';
import { MeshStore } from '../mesh/store.ts';
import type { MeshView } from '../mesh/view.ts';
import { isOwn } from '../waypoint/gateway.ts';
import { DiscoveredMesh } from '../xds/discovered-mesh.ts';
import { FolderSource } from '../xds/folder-source.ts';
import { addressType } from '../xds/resource-types.ts';
import { openControlPlane } from './control-plane.ts';
import type { WaypointProgramSettings } from './waypoint-settings.ts';

export interface WaypointMesh {
  /** Empty and not complete until the rules for it are in force. */
  readonly store: MeshView;
  /** Undefined until there is a first one. */
  readonly compilation: Compilation | undefined;
  /** Undefined: this Gateway is not in the mesh, or nothing is known yet. */
  readonly gateway: GatewayRecord | undefined;
  /** Called with each new model, before the store changes. */
  onModel(listener: () => void): void;
  /** Reads the folder, if there is one. Resolves after the first attempt. */
  start(): Promise<void>;
  /** Asks the control plane, if there is one, from now on. */
  connect(credential: JoinCredential | undefined): void;
  close(): Promise<void>;
}

export interface WaypointMeshDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
}

/** Does nothing until it is started. */
export function openWaypointMesh(
  settings: WaypointProgramSettings,
  dependencies: WaypointMeshDependencies,
): WaypointMesh {
  const { variables, preset, gateway, mesh } = settings;
  const { clock, logger } = dependencies;
  const store = new MeshStore();
  const discovery = mesh.kind === 'discovered' ? openDiscovery(settings, mesh, store, dependencies) : undefined;
  let compilation: Compilation | undefined;
  let told = () => {};
  const source = new FolderSource({
    directory: mesh.directory,
    meshConfig: variables.AMBIT_MESH_CONFIG,
    compile: {
      ...defaultCompileOptions,
      preset,
      trustDomain: variables.TRUST_DOMAIN,
      clusterId: variables.CLUSTER_ID,
      clusterDomain: variables.CLUSTER_DOMAIN,
      network: variables.NETWORK,
    },
    store,
    discovered: discovery?.discovered,
    clock,
    logger,
    onCompiled: (next) => {
      compilation = next;
      if (!next.gateways.has(gateway))
        logger.error('the configuration has no such waypoint, all tunnels are refused', { gateway });
      told();
    },
  });
  return {
    store,
    get compilation() {
      return compilation;
    },
    get gateway() {
      return compilation?.gateways.get(gateway);
    },
    onModel(listener) {
      told = listener;
    },
    start: () => source.start(),
    connect: (credential) => discovery?.connect(credential),
    async close() {
      discovery?.discovered.close();
      await discovery?.close();
      await source.close();
    },
  };
}

function openDiscovery(
  { variables, preset }: WaypointProgramSettings,
  { gateway, controlPlane }: Extract<WaypointProgramSettings['mesh'], { kind: 'discovered' }>,
  store: MeshStore,
  dependencies: WaypointMeshDependencies,
) {
  const told = new MeshStore();
  const { CLUSTER_DOMAIN: clusterDomain } = variables;
  const service = serviceKey(gateway.namespace, gateway.name, { ...defaultCompileOptions, preset, clusterDomain });
  const own = {
    key: `${gateway.namespace}/${gateway.name}`,
    namespace: gateway.namespace,
    address: { kind: 'hostname', service, hbonePort: 15008 },
    service,
  } as const;
  const discovered = new DiscoveredMesh({
    discovered: told,
    store,
    gateway,
    clusterDomain,
    isOwn: (waypoint) => isOwn(told, own, waypoint),
    clock: dependencies.clock,
  });
  let close = async () => {};
  return {
    discovered,
    connect(credential: JoinCredential | undefined) {
      // L4 policies are the business of ztunnels: those of a waypoint are in its folder.
      const { client } = openControlPlane(controlPlane, told, 'deny', { ...dependencies, credential }, [addressType]);
      close = () => client.close();
      client.start();
    },
    close: () => close(),
  };
}
