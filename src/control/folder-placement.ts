/** Who runs where, as a watched folder of YAML says. */
import type { Clock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { defaultCompileOptions } from '../compile/options.ts';
import type { Preset } from '../config/preset.ts';
import { MeshStore } from '../mesh/store.ts';
import { FolderSource } from '../xds/folder-source.ts';
import { type Placement, placementOf } from './placement.ts';

export interface FolderPlacementOptions {
  /** Who runs where is the same in every preset; the mesh that is served is not. */
  readonly preset: Preset;
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface FolderPlacement {
  readonly placement: Placement;
  /** What the folder says, kept up with it. */
  readonly store: MeshStore;
  /** Stops watching. */
  close(): Promise<void>;
}

/**
 * Reads the folder and follows it. Rejects with an AmbitError (CONTROL_CONFIG) when it cannot be read at all; what is
 * wrong inside is logged, and what stands beside it counts.
 */
export async function openFolderPlacement(
  directory: string,
  { preset, trustDomain, clock, logger }: FolderPlacementOptions,
): Promise<FolderPlacement> {
  const store = new MeshStore();
  const compile = { ...defaultCompileOptions, trustDomain, preset };
  const source = new FolderSource({ directory, compile, store, clock, logger: logger.topic('config') });
  await source.start();
  if (!store.complete) {
    await source.close();
    const message = `cannot read the configuration folder ${directory}`;
    throw new AmbitError(message, { code: 'CONTROL_CONFIG', origin: 'local' });
  }
  return { placement: placementOf(store), store, close: () => source.close() };
}
