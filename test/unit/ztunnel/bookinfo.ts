/** The article's example mesh (seed-design.md R8) and a ztunnel's decisions over it, for tests. */

import type { SocketAddress } from '../../../src/base/address.ts';
import { parseSocketAddress } from '../../../src/base/address.ts';
import { legacyPreset, modernPreset, type Preset } from '../../../src/config/preset.ts';
import type { GatewayAddress, MeshChange, Workload } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { UnknownPolicyGrace } from '../../../src/ztunnel/authorization.ts';
import type { InboundContext } from '../../../src/ztunnel/inbound-decision.ts';
import { FilterChainMatcher } from '../../../src/ztunnel/matcher.ts';
import { namesOf } from '../../../src/ztunnel/names.ts';
import type { OutboundContext } from '../../../src/ztunnel/outbound-decision.ts';
import { defaultZtunnelSettings, type ZtunnelSettings } from '../../../src/ztunnel/settings.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../../support/mesh-records.ts';

export const productpageVip = '10.96.179.71';

export const waypointGateway: GatewayAddress = { kind: 'address', network: '', ip: '10.244.1.8', hbonePort: 15006 };

export const sleep = makeWorkload({ name: 'sleep', serviceAccount: 'sleep', addresses: ['10.244.1.4'] });

export const notsleep = makeWorkload({ name: 'notsleep', serviceAccount: 'notsleep', addresses: ['10.244.1.5'] });

export const waypoint = makeWorkload({
  name: 'bookinfo-productpage-waypoint-proxy',
  serviceAccount: 'bookinfo-productpage',
  addresses: ['10.244.1.8'],
  tunnelProtocol: 'none',
});

export const productpageService = makeService({
  name: 'productpage',
  addresses: [{ network: '', ip: productpageVip }],
  ports: new Map([[9080, makePort(9080, 9080, { name: 'http' })]]),
});

export const productpage = makeWorkload({
  name: 'productpage-v1',
  serviceAccount: 'bookinfo-productpage',
  addresses: ['10.244.2.5'],
  node: 'node-b',
  services: new Map([[productpageService.key, new Map([[9080, 9080]])]]),
});

/** Without a waypoint, on the node of sleep. */
export const reviewsService = makeService({
  name: 'reviews',
  addresses: [{ network: '', ip: '10.96.0.7' }],
  ports: new Map([[9080, makePort(9080, 9080, { name: 'http' })]]),
});

export const reviews = makeWorkload({
  name: 'reviews-v1',
  serviceAccount: 'bookinfo-reviews',
  addresses: ['10.244.1.9'],
  services: new Map([[reviewsService.key, new Map([[9080, 9080]])]]),
});

/** Outside the mesh. */
export const external = makeWorkload({
  name: 'database',
  serviceAccount: 'default',
  addresses: ['10.244.2.77'],
  node: 'node-b',
  tunnelProtocol: 'none',
});

/** The mesh of the article; `withWaypoint`: productpage has asked for L7. */
export function bookinfo(withWaypoint: boolean): MeshChange {
  const bound = withWaypoint ? { waypoint: waypointGateway } : {};
  return makeChange({
    workloads: [sleep, notsleep, waypoint, { ...productpage, ...bound }, reviews, external],
    services: [{ ...productpageService, ...bound }, reviewsService],
  });
}

export interface Bench {
  readonly mesh: MeshStore;
  readonly clock: FakeClock;
  readonly outbound: OutboundContext;
  readonly inbound: InboundContext;
}

export function makeBench(
  change: MeshChange,
  preset: Preset,
  overrides: Partial<ZtunnelSettings> = {},
  node = 'node-a',
): Bench {
  const mesh = new MeshStore();
  mesh.apply(change);
  mesh.markComplete();
  const clock = new FakeClock();
  const settings: ZtunnelSettings = { ...defaultZtunnelSettings, node, ...overrides };
  const sockets = { preset, namespace: undefined, spoofing: settings.spoofing };
  const deliversLocally = (workload: Workload) => workload.node === node && !workload.nativeTunnel;
  const matcher = new FilterChainMatcher({ mesh, names: namesOf(preset), preset, settings, deliversLocally });
  const grace = new UnknownPolicyGrace(mesh, clock, settings.unknownPolicyGraceMs);
  mesh.onChange((changed) => grace.changed(changed));
  return {
    mesh,
    clock,
    outbound: { mesh, matcher, settings, sockets, random: { next: () => 0.5 }, deliversLocally },
    inbound: {
      mesh,
      preset,
      settings,
      sockets,
      grace,
      workloadAt: (ip) => {
        const workload = mesh.workloadByAddress('', ip);
        return workload?.node === node ? workload : undefined;
      },
    },
  };
}

/** Literal socket address; throws on a mistake in the test. */
export function at(text: string): SocketAddress {
  const address = parseSocketAddress(text);
  if (address === undefined) throw new TypeError(`not a socket address: ${text}`);
  return address;
}

export { legacyPreset, modernPreset };
