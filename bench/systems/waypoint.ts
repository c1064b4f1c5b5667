/** Ambit's waypoint: a tunnel from the client's ztunnel in, routes and policies applied, plain HTTP to the server's pod out. */
import type { Definition } from './definition.ts';
import { gatewayObjects } from './gateway-objects.ts';
import { ambitTls, ambitVersion } from './ztunnel-pair.ts';

export const waypoint = waypointOf('waypoint', 'Ambit waypoint', 1);

/** The same with much to decide, to be compared with the one above. */
export const waypoint100 = waypointOf('waypoint-100', 'Ambit waypoint, 100 routes and policies', 100);

function waypointOf(key: string, name: string, count: number): Definition {
  const much = count === 1 ? 'one HTTPRoute and AuthorizationPolicy' : `${count} HTTPRoutes and AuthorizationPolicies`;
  return {
    key,
    name,
    layer: 'l7',
    ours: true,
    serves: ['http', 'h2c'],
    needs: [],
    uses: { ztunnels: true, waypoint: 'ours' },
    objects: (places) => gatewayObjects(places, count),
    start: async ({ mesh, places }) => ({
      host: places.vip,
      settings: `${ambitVersion}, one thread, ${ambitTls}, behind the client’s ztunnel, which is not counted; ${much} (principal and method), metrics on, access log on (to /dev/null)`,
      proxies: () => {
        const { name: program, pid = 0 } = mesh.program(places.proxy.name);
        return [{ name: program, pid }];
      },
    }),
  };
}
