/** Prints the article's figures 3 to 7 from the running proxies: listener, matcher, chain, cluster, endpoint, stages. */
import { errorText } from '../../base/errors.ts';
import { ztunnelName } from '../../lab/topology.ts';
import type { LabMesh } from '../lab-mesh.ts';
import type { DemoConsole } from './console.ts';
import { client, server } from './requests.ts';

const views = ['listeners', 'clusters', 'endpoints'] as const;

/** Of the client's ztunnel, for that client only, and of the service's waypoint. */
export async function showViews(mesh: LabMesh, say: DemoConsole): Promise<void> {
  const ztunnel = ztunnelName({ name: mesh.lab.pod(client).node });
  const waypoint = mesh.plan.waypoints.find(({ gateway }) => gateway.name.startsWith(server))?.pod ?? '';
  for (const [name, query] of [
    [ztunnel, `&source=${client}`],
    [waypoint, ''],
  ] as const) {
    for (const view of views) {
      say.heading(`${name}: ${view}`, query === '' ? '' : `for ${client}`);
      try {
        const { status, body } = await mesh.ask(name, `/config_dump?view=${view}.txt${query}`);
        if (status === 200) say.line(body.trimEnd());
        else say.check(`${name} shows its ${view}`, false, `${status} ${body.trim()}`);
      } catch (error) {
        say.check(`${name} shows its ${view}`, false, errorText(error));
      }
    }
  }
}
