/**
 * The systems of the bench, side by side in one lab: the pods of each, its origin, and its proxies, started and ready.
 *
 * I1: what `only` does not name costs nothing: neither its pods nor its programs exist.
 */
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type LabMesh, startLabMesh } from '../src/app/lab-mesh.ts';
import { AmbitError } from '../src/base/errors.ts';
import type { Logger } from '../src/base/logger.ts';
import { modernPreset, type Preset } from '../src/config/preset.ts';
import type { Lab } from '../src/lab/lab.ts';
import { makePrivateDirectory } from '../src/lab/private-directory.ts';
import { exitText } from '../src/lab/process.ts';
import { ztunnelName } from '../src/lab/topology.ts';
import { widenSourcePorts } from './loads/source-ports.ts';
import type { MissingSystem, System } from './model.ts';
import { startOrigin } from './origin.ts';
import { authorityOf, writeCertificate } from './systems/certificate.ts';
import type { Definition, StartContext } from './systems/definition.ts';
import { envoyPair } from './systems/envoy-pair.ts';
import { envoyWaypoint } from './systems/envoy-waypoint.ts';
import { waypointPort } from './systems/gateway-objects.ts';
import { haproxyL7, haproxyPair } from './systems/haproxy.ts';
import { nginxL7 } from './systems/nginx.ts';
import { namespaceObject, type Places, placesOf, textOf } from './systems/objects.ts';
import { findPeer, type PeerName, type PeerSearch } from './systems/programs.ts';
import { waypoint, waypoint100 } from './systems/waypoint.ts';
import { none, ztunnelPair } from './systems/ztunnel-pair.ts';

const definitions: readonly Definition[] = [
  none,
  ztunnelPair,
  envoyPair,
  haproxyPair,
  waypoint,
  waypoint100,
  envoyWaypoint,
  haproxyL7,
  nginxL7,
];

/** Every key that `--only` knows. */
export const systemKeys: readonly string[] = definitions.map(({ key }) => key);

export interface WorldOptions {
  /** Keys of systems; all of them unless told. */
  readonly only?: ReadonlySet<string>;
  /** Folder of Ambit's own programs; those of this checkout as they are, unless told. */
  readonly programs?: string;
  /** Of Ambit's own proxies; `modern` unless told. */
  readonly preset?: Preset;
  readonly logger: Logger;
  /** What is being done now, for people who wait. */
  readonly onProgress?: (text: string) => void;
  /** Looks for a peer's program; on this machine unless told. */
  readonly find?: (name: PeerName) => Promise<PeerSearch>;
}

export interface World {
  readonly lab: Lab;
  readonly mesh: LabMesh;
  /** Ready, in the order in which they are shown. */
  readonly systems: readonly System[];
  readonly missing: readonly MissingSystem[];
  close(): Promise<void>;
}

const waypointEnvironment = { RUST_LOG: 'info', LOG_FORMAT: 'plain', AMBIT_WAYPOINT_PORTS: String(waypointPort) };

interface Chosen {
  readonly definition: Definition;
  readonly places: Places;
}

/** Looks for, and installs where it can, what the peers need. To be called before the lab is entered, which has no network. */
export async function preparePeers(only?: ReadonlySet<string>): Promise<void> {
  const needed = definitions.filter(({ key }) => only?.has(key) ?? true).flatMap(({ needs }) => needs);
  for (const name of new Set(needed)) await findPeer(name);
}

/** Starts everything. Throws AmbitError when `only` names what there is not or a program does not start; all is closed then. */
export async function openWorld(options: WorldOptions): Promise<World> {
  const { only, preset = modernPreset, onProgress = () => {} } = options;
  const unknown = [...(only ?? [])].filter((key) => !systemKeys.includes(key));
  if (unknown.length > 0) {
    const message = `no system ${unknown.join(', ')}; there are ${systemKeys.join(', ')}`;
    throw new AmbitError(message, { code: 'BENCH_NO_SUCH_SYSTEM', origin: 'local' });
  }
  const wanted = definitions
    .map((definition, number) => ({ definition, places: placesOf(definition.key, number) }))
    .filter(({ definition }) => only?.has(definition.key) ?? true);
  const peers = await findPeers(wanted, options.find ?? findPeer);
  const missing = wanted.flatMap(({ definition }) => missingOf(definition, peers));
  const chosen = wanted.filter(({ definition }) => missing.every(({ key }) => key !== definition.key));
  if (chosen.length === 0) {
    const message = missing.map(({ name, reason }) => `${name}: ${reason}`).join('\n');
    throw new AmbitError(`nothing can be run here\n${message}`, { code: 'BENCH_NOTHING_TO_RUN', origin: 'local' });
  }
  const mesh = await startMesh(chosen, preset, options, onProgress);
  try {
    const { topology } = mesh.lab;
    for (const { name } of [...topology.pods, ...topology.nodes.map((node) => ({ name: ztunnelName(node) }))]) {
      await widenSourcePorts(mesh.lab.namespace(name));
    }
    const context = await contextOf(mesh, peers);
    const systems: System[] = [];
    for (const { definition, places } of chosen) {
      onProgress(`starting ${definition.name}`);
      await startOrigin(mesh.lab, places.server.name);
      const started = await definition.start({ ...context, places });
      const { key, name, layer, ours, serves } = definition;
      systems.push({ key, name, layer, ours, serves: new Set(serves), pod: places.client.name, ...started });
    }
    return { lab: mesh.lab, mesh, systems, missing, close: () => mesh.close() };
  } catch (error) {
    await mesh.close();
    throw error;
  }
}

type Peers = ReadonlyMap<PeerName, PeerSearch>;

async function findPeers(chosen: readonly Chosen[], find: (name: PeerName) => Promise<PeerSearch>): Promise<Peers> {
  const names = new Set(chosen.flatMap(({ definition }) => definition.needs));
  return new Map(await Promise.all([...names].map(async (name) => [name, await find(name)] as const)));
}

function missingOf({ key, name, needs }: Definition, peers: Peers): readonly MissingSystem[] {
  const reasons = needs.map((need) => peers.get(need)).filter((found) => found?.kind === 'missing');
  return reasons.length === 0 ? [] : [{ key, name, reason: reasons.map(({ reason }) => reason).join('; ') }];
}

async function startMesh(
  chosen: readonly Chosen[],
  preset: Preset,
  { logger, programs }: WorldOptions,
  onProgress: (text: string) => void,
): Promise<LabMesh> {
  const ztunnels = chosen.some(({ definition }) => definition.uses.ztunnels);
  const proxyOf = (kind: 'ours' | 'peer') =>
    chosen.filter(({ definition }) => definition.uses.waypoint === kind).map(({ places }) => places.proxy.name);
  // The lab's own: a program that is ended while all this starts leaves nothing on a disk.
  const folder = await makePrivateDirectory();
  try {
    const objects = chosen.flatMap(({ definition, places }) => definition.objects(places));
    writeFileSync(path.join(folder, 'mesh.yaml'), textOf([namespaceObject, ...objects]));
    const ours = proxyOf('ours');
    return await startLabMesh({
      preset,
      folder,
      ...(programs === undefined ? {} : { programs }),
      logger,
      onProgress,
      environment: {
        '*': { RUST_LOG: 'info,access=off' },
        ...Object.fromEntries(ours.map((pod) => [pod, waypointEnvironment])),
      },
      withoutProxies: new Set([
        ...proxyOf('peer'),
        ...(ztunnels ? [] : ['node-a', 'node-b'].map((name) => ztunnelName({ name }))),
      ]),
      unheard: new Set(ours),
      onUnexpectedExit: ({ name, lines, exited }) => {
        const said = lines.slice(-20).join('\n');
        void exited.then((exit) => onProgress(`${name} ended by itself, ${exitText(exit)}: ${said}`));
      },
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function contextOf(mesh: LabMesh, peers: Peers): Promise<Omit<StartContext, 'places'>> {
  const authority = await authorityOf(mesh);
  return {
    mesh,
    peer: (name) => {
      const found = peers.get(name);
      if (found?.kind === 'found') return found;
      throw new TypeError(`a system that needs ${name} was started without it`);
    },
    certificateOf: (account) => writeCertificate(authority, mesh, account),
  };
}
