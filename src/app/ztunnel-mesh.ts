/** Where a ztunnel's mesh comes from: a watched folder of YAML, or ztunnel's own local file, read once, and a control plane. */
import { formatDiagnostic, hasErrors } from '../base/diagnostics.ts';
import { AmbitError } from '../base/errors.ts';
import { defaultCompileOptions } from '../compile/options.ts';
import type { AddressDemand } from '../mesh/demand.ts';
import { diffMesh, emptyMeshModel } from '../mesh/diff.ts';
import type { MeshStore } from '../mesh/store.ts';
import { readText, type TextSource } from '../rpc/credentials.ts';
import { readConfigFile } from '../xds/config-file.ts';
import { FolderSource } from '../xds/folder-source.ts';
import { type MeshSourceDependencies, openControlPlane } from './control-plane.ts';
import type { ZtunnelProgramSettings } from './ztunnel-settings.ts';

export interface MeshSource {
  /** Asks for parts of the mesh; undefined when all of it is known anyway. */
  readonly demand: AddressDemand | undefined;
  /** Resolves after the first attempt to read; the store says when it is complete. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Does nothing until it is started. */
export function openMeshSource(
  settings: ZtunnelProgramSettings,
  store: MeshStore,
  dependencies: MeshSourceDependencies,
): MeshSource {
  const { mesh, variables } = settings;
  if (mesh.kind === 'folder') return openFolder(mesh.directory, settings, store, dependencies);
  const { local, controlPlane } = mesh;
  const readLocal = async () => {
    if (local !== undefined) await readLocalMesh(local, store);
  };
  if (controlPlane === undefined) {
    const start = async () => {
      await readLocal();
      store.markComplete();
    };
    return { demand: undefined, start, close: async () => {} };
  }
  const { client, demand } = openControlPlane(controlPlane, store, variables.AMBIT_UNKNOWN_POLICY, dependencies);
  const start = async () => {
    await readLocal();
    client.start();
  };
  return { demand, start, close: () => client.close() };
}

function openFolder(
  directory: string,
  { variables, preset }: ZtunnelProgramSettings,
  store: MeshStore,
  { clock, logger }: MeshSourceDependencies,
): MeshSource {
  const { ISTIO_META_CLUSTER_ID, CLUSTER_ID } = variables;
  const source = new FolderSource({
    directory,
    compile: {
      ...defaultCompileOptions,
      preset,
      trustDomain: variables.TRUST_DOMAIN,
      clusterId: ISTIO_META_CLUSTER_ID ?? CLUSTER_ID ?? defaultCompileOptions.clusterId,
      clusterDomain: variables.CLUSTER_DOMAIN,
      network: variables.NETWORK,
    },
    store,
    clock,
    logger: logger.topic('mesh'),
  });
  return { demand: undefined, start: () => source.start(), close: () => source.close() };
}

/** Rejects when it cannot be used: it is never read again. */
async function readLocalMesh(source: TextSource, store: MeshStore): Promise<void> {
  const name = source.kind === 'file' ? source.path : 'LOCAL_XDS';
  const { models, objects, diagnostics } = readConfigFile(await readText(source), name, undefined);
  if (hasErrors(diagnostics)) throw unusable(diagnostics.map(formatDiagnostic).join('\n'));
  if (objects.length > 0) throw unusable(`${name} holds Kubernetes objects: give their folder with --config`);
  for (const model of models) store.apply(diffMesh(emptyMeshModel, model));
}

function unusable(message: string): AmbitError {
  return new AmbitError(message, { code: 'ZTUNNEL_MESH_FILE', origin: 'local' });
}
