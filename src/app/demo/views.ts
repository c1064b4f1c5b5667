/** Prints the article's figures 3 to 7 from the running proxies: listener, matcher, chain, cluster, endpoint, stages. */
import { errorText } from '../../base/errors.ts';
import type { LabMesh } from '../lab-mesh.ts';
import type { DemoConsole } from './console.ts';

const views = ['listeners', 'clusters', 'endpoints'] as const;

export async function showViews(mesh: LabMesh, say: DemoConsole): Promise<void> {
  const [ztunnel] = mesh.proxies.filter((name) => name.startsWith('ztunnel-'));
  const waypoint = mesh.plan.waypoints[0]?.pod;
  for (const name of [ztunnel, waypoint]) {
    if (name === undefined || !mesh.proxies.includes(name)) continue;
    for (const view of views) {
      say.heading(`${name}: ${view}`);
      try {
        const { status, body } = await mesh.ask(name, `/config_dump?view=${view}.txt&source=sleep`);
        if (status === 200) say.line(body.trimEnd());
        else say.check(`${name} shows its ${view}`, false, `${status} ${body.trim()}`);
      } catch (error) {
        say.check(`${name} shows its ${view}`, false, errorText(error));
      }
    }
  }
}
