/** Where a ztunnel's mesh comes from: a watched folder of YAML, or ztunnel's own local file, read once. */
import type { Clock } from '../base/clock.ts';
import { formatDiagnostic, hasErrors } from '../base/diagnostics.ts';
import { AmbitError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { defaultCompileOptions } from '../compile/options.ts';
import { diffMesh, emptyMeshModel } from '../mesh/diff.ts';
import type { MeshStore } from '../mesh/store.ts';
import { readText, type TextSource } from '../rpc/credentials.ts';
import { readConfigFile } from '../xds/config-file.ts';
import { FolderSource } from '../xds/folder-source.ts';
import type { ZtunnelProgramSettings } from './ztunnel-settings.ts';

export interface MeshSource {
  close(): Promise<void>;
}

/** Resolves after the first attempt to read; the store says when it is complete. */
export async function startMeshSource(
  settings: ZtunnelProgramSettings,
  store: MeshStore,
  clock: Clock,
  logger: Logger,
): Promise<MeshSource> {
  const { mesh, preset, variables } = settings;
  if (mesh.kind === 'records') {
    if (mesh.local !== undefined) await readLocalMesh(mesh.local, store);
    if (mesh.controlPlane === undefined) store.markComplete();
    return { close: async () => {} };
  }
  const { ISTIO_META_CLUSTER_ID, CLUSTER_ID } = variables;
  const source = new FolderSource({
    directory: mesh.directory,
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
    logger,
  });
  await source.start();
  return source;
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
