/** What a program of the lab holds: memory and descriptors, as the kernel counts them. */
import { readdirSync, readFileSync } from 'node:fs';
import type { World } from './world.ts';

export interface Footprint {
  readonly residentMiB: number;
  readonly descriptors: number;
}

export function footprintOf(world: World, name: string): Footprint {
  const { pid } = world.mesh.program(name);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  return { residentMiB: kilobytes / 1024, descriptors: readdirSync(`/proc/${pid}/fd`).length };
}

export function footprints(world: World): ReadonlyMap<string, Footprint> {
  return new Map(world.mesh.proxies.map((name) => [name, footprintOf(world, name)]));
}
