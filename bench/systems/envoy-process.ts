/** Envoy in a pod of the lab: one worker, statistics on, its admin interface on a unix socket beside those of our proxies. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { LabMesh } from '../../src/app/lab-mesh.ts';
import type { LabProcess } from '../../src/lab/process.ts';
import type { EnvoyConfig } from './envoy-config.ts';
import type { PeerProgram } from './programs.ts';

/** Resolves when it serves; the lab stops it. Its admin socket is `mesh.adminSocket(pod)`. */
export async function startEnvoy(
  mesh: LabMesh,
  { path: program }: PeerProgram,
  pod: string,
  config: EnvoyConfig,
): Promise<LabProcess> {
  const file = path.join(mesh.lab.directory, `${pod}.json`);
  writeFileSync(file, JSON.stringify({ ...config, admin: { address: { pipe: { path: mesh.adminSocket(pod) } } } }));
  const flags = ['--concurrency', '1', '--disable-hot-restart', '--log-level', 'warning'];
  const started = mesh.lab.spawn(pod, { name: pod, argv: [program, '--config-path', file, ...flags] });
  await mesh.untilReady(started, '/ready');
  return started;
}

/** Counters and gauges whose name matches, by name. */
export async function envoyStats(mesh: LabMesh, pod: string, filter: RegExp): Promise<ReadonlyMap<string, number>> {
  const { body } = await mesh.ask(pod, `/stats?filter=${encodeURIComponent(filter.source)}`);
  const pairs = body.split('\n').map((line) => line.split(': '));
  return new Map(pairs.flatMap(([name, value]) => (name && value ? [[name, Number(value)]] : [])));
}
