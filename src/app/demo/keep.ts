/** What to try next, and a mesh that stays up until Ctrl-C. */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import type { LabMesh } from '../lab-mesh.ts';
import type { DemoArguments } from './arguments.ts';
import type { DemoConsole } from './console.ts';
import { client, port, server, serviceVip } from './requests.ts';

/** Set by the launcher for its inner self. */
export const launcherVariable = 'AMBIT_DEMO_LAUNCHER';

export function tellNext(say: DemoConsole, { preset, view }: DemoArguments): void {
  const other = preset.name === 'legacy' ? 'modern' : 'legacy';
  const about = other === 'modern' ? 'in-pod redirection and waypoints on 15008' : 'TPROXY and waypoints on 15006';
  const rows = [
    ['--keep', 'stay up, with commands to look around'],
    ...(view ? [] : [['--view', 'listeners, chains, clusters and endpoints (figures 3 to 7)']]),
    [`--preset ${other}`, `the same over ${about}`],
    ['--break waypoint', 'end a proxy on purpose and see which checks fail'],
  ];
  say.heading('Next');
  for (const [option = '', text = ''] of rows) say.line(`  npm run demo -- ${option.padEnd(18)}  ${text}`);
  say.line(`  ${'README.md, docs/'.padEnd(34)}  how it works, and how each program is run`);
}

/** Resolves never: a signal ends the process. */
export async function keepRunning(mesh: LabMesh, say: DemoConsole): Promise<never> {
  const url = `http://${serviceVip(mesh, server)}:${port}/productpage`;
  const [ztunnel = ''] = mesh.proxies.filter((name) => name.startsWith('ztunnel-'));
  const folder = mesh.lab.namespace(client).path.replace(/\/[^/]*$/, '');
  say.heading('The mesh stays up until Ctrl-C', 'in another terminal, as the same user, paste these two lines:');
  say.line(`  lab() { ${enterCommand()} "$@"; }`);
  say.line(`  on() { local place=$1; shift; lab nsenter --net=${folder}/$place "$@"; }`);
  say.heading('Then');
  for (const [command, about] of [
    [`on ${client} curl -s ${url}`, 'the page'],
    [`on ${client} curl -si -X DELETE ${url}`, 'denied by the policy'],
    [`lab tail -f ${mesh.lab.logDirectory}/${ztunnel}.log`, 'its access log'],
    [`lab curl -s --unix-socket ${mesh.adminSocket(ztunnel)} http://localhost/config_dump?view=listeners.txt`, ''],
    [
      `lab sed -i 's/\\[GET]/[GET, DELETE]/' ${mesh.folder}/productpage-waypoint.yaml`,
      'allows DELETE: proxies follow the folder',
    ],
    [`on ${client} bash`, 'a shell in that pod; also in nodes and ztunnels'],
  ] as const) {
    say.line(`  ${command}${about === '' ? '' : `   ${say.style('gray', `# ${about}`)}`}`);
  }
  return await new Promise<never>(() => {
    setInterval(() => {}, 1 << 30);
  });
}

/** This process is the child of the launcher's child; its own id is 1 in here and unknown out there. */
function enterCommand(): string {
  const user = isRootOutside() ? '' : ' --user --preserve-credentials';
  const inner = `$(pgrep -P "$(pgrep -P ${process.env[launcherVariable] ?? ''})")`;
  return `nsenter --target "${inner}"${user} --mount --net --pid`;
}

/** A lab of root has no user namespace of its own. */
function isRootOutside(): boolean {
  return /^\s*0\s+0\s+4294967295/.test(readFileSync('/proc/self/uid_map', 'utf8'));
}
