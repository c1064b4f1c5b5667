/** What to try next, and a mesh that stays up until Ctrl-C. */

import { readFileSync } from 'node:fs';
import process from 'node:process';
import type { LabMesh } from '../lab-mesh.ts';
import type { DemoConsole } from './console.ts';

export function tellNext(say: DemoConsole): void {
  say.heading('Next');
  say.line('  npm run demo -- --keep               stay up and look around');
  say.line('  npm run demo -- --view               listeners, chains, clusters and endpoints (figures 3 to 7)');
  say.line('  npm run demo -- --preset modern      the same over in-pod redirection and waypoints on 15008');
  say.line('  npm run demo -- --break waypoint     end a proxy and see what fails');
  say.line('  README.md, docs/                     how it works, and how to run it in a cluster');
}

/** Resolves never: a signal ends the process. */
export async function keepRunning(mesh: LabMesh, say: DemoConsole): Promise<never> {
  const user = isRootOutside() ? '' : ' --user --preserve-credentials';
  const enter = `nsenter --target ${labPid()}${user} --mount --net --pid`;
  const inPod = (pod: string) => `${enter} nsenter --net=${mesh.lab.namespace(pod).path}`;
  const vip = mesh.plan.topology.services.find((service) => service.name === 'productpage')?.vip ?? '';
  const [ztunnel = ''] = mesh.proxies;
  say.heading('The mesh stays up until Ctrl-C. From another terminal, as the same user:');
  say.line(`  ${inPod('sleep')} curl -s http://${vip}:9080/productpage`);
  say.line(`  ${inPod('sleep')} curl -si -X DELETE http://${vip}:9080/productpage`);
  say.line(
    `  ${enter} curl -s --unix-socket ${mesh.adminSocket(ztunnel)} 'http://localhost/config_dump?view=listeners'`,
  );
  say.line(`  ${enter} tail -f ${mesh.lab.logDirectory}/${ztunnel}.log`);
  say.line(`  ${enter} vi ${mesh.folder}/productpage-waypoint.yaml     # proxies follow the folder`);
  return await new Promise<never>(() => {
    setInterval(() => {}, 1 << 30);
  });
}

/** This process as others see it: the child of the launcher's child. Its own id here is always 1. */
function labPid(): string {
  return `$(pgrep -P $(pgrep -P ${process.env[launcherVariable] ?? ''}))`;
}

/** Set by the launcher for its inner self. */
export const launcherVariable = 'AMBIT_DEMO_LAUNCHER';

/** A lab of root has no user namespace of its own. */
function isRootOutside(): boolean {
  return /^\s*0\s+0\s+4294967295/.test(readFileSync('/proc/self/uid_map', 'utf8'));
}
