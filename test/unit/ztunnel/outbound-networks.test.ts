/** Outbound decisions that leave the network, and those that draw among waypoints. */
import t from 'tap';
import type { GatewayAddress, MeshChange, Service, Workload } from '../../../src/mesh/model.ts';
import { decideOutbound, type OutboundContext } from '../../../src/ztunnel/outbound-decision.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../../support/mesh-records.ts';
import { at, makeBench, modernPreset } from './bookinfo.ts';

const meshPort = new Map([[15008, makePort(15008, 15008)]]);
const eastGateway: GatewayAddress = { kind: 'address', network: 'east', ip: '198.51.100.7', hbonePort: 15443 };
const gateway = makeWorkload({
  name: 'east-gateway',
  namespace: 'istio-gateways',
  serviceAccount: 'east',
  network: 'east',
  node: '',
  addresses: ['198.51.100.7'],
});
const sleep = makeWorkload({ name: 'sleep', serviceAccount: 'sleep', network: 'west', addresses: ['10.1.0.4'] });
const reviewsService = makeService({
  name: 'reviews',
  addresses: [{ network: 'west', ip: '10.96.0.7' }],
  subjectAltNames: ['spiffe://cluster.local/ns/default/sa/reviews' as never],
});
/** As the control plane splits the horizon: one workload for all that is behind a gateway. */
const remote = makeWorkload({
  name: 'split',
  uid: 'east/SplitHorizonWorkload/east-gateway/default/reviews.default.svc.cluster.local',
  network: 'east',
  node: '',
  networkGateway: eastGateway,
  services: new Map([[reviewsService.key, new Map()]]),
});

function decide(change: MeshChange, destination = '10.96.0.7:80', random = { next: () => 0 }) {
  const { outbound } = makeBench(change, modernPreset, { network: 'west' });
  const context: OutboundContext = { ...outbound, random };
  return decideOutbound({ source: sleep, client: at('10.1.0.4:40000'), destination: at(destination) }, context);
}

function mesh(service: Partial<Service>, ...workloads: readonly Workload[]): MeshChange {
  return makeChange({ workloads: [sleep, ...workloads], services: [{ ...reviewsService, ...service }] });
}

t.test('an endpoint on another network: a tunnel for the service inside one to the gateway', async (t) => {
  const decision = decide(mesh({}, remote, gateway));
  t.equal(decision.kind, 'nested');
  if (decision.kind !== 'nested') return;
  t.equal(decision.endpoint, gateway);
  const { target, authority, headers } = decision.request;
  t.equal(authority, 'reviews.default.svc.cluster.local:80');
  t.strictSame(target.peer, at('198.51.100.7:15443'));
  t.strictSame(
    target.expectedIdentities,
    ['spiffe://cluster.local/ns/default/sa/reviews'],
    'the service’s names alone',
  );
  t.strictSame(target.outer?.expectedIdentities, ['spiffe://cluster.local/ns/istio-gateways/sa/east']);
  t.equal(target.outer?.authority, authority);
  t.match(Object.fromEntries(headers), {
    'x-forwarded-network': 'west',
    forwarded: 'for="10.1.0.4:40000";host=reviews.default.svc.cluster.local',
    baggage: /service\.name=sleep/,
    traceparent: /^00-/,
  });
  t.strictSame(
    target.outer?.headers.map(([name]) => name),
    ['baggage', 'forwarded'],
    'nothing that differs between connections of one session, and no network',
  );
  t.equal(
    Object.fromEntries(target.outer?.headers ?? []).forwarded,
    'for="10.1.0.4";host=reviews.default.svc.cluster.local',
  );
});

t.test('whatever is missing on the way to another network refuses, and is named', async (t) => {
  const cases: readonly (readonly [MeshChange, RegExp])[] = [
    [mesh({}, { ...remote, networkGateway: undefined }, gateway), /no healthy upstream.*no-network-gateway/],
    [mesh({}, remote), /network is "east", whose gateway east\/198\.51\.100\.7 cannot be reached: unknown-gateway/],
    [
      mesh({ subjectAltNames: [] }, remote, gateway),
      /no subjectAltNames say who may answer for service default\/reviews/,
    ],
  ];
  for (const [change, reason] of cases) t.match(decide(change), { kind: 'refuse', reason });
});

t.test('a gateway known by host name is resolved first', async (t) => {
  const named = makeWorkload({ name: 'lb', network: 'east', hostname: 'lb.example.com', serviceAccount: 'east' });
  const byName: GatewayAddress = { kind: 'hostname', service: 'default/lb.example.com', hbonePort: 15008 };
  const decision = decide(mesh({}, { ...remote, networkGateway: byName }, named));
  t.match(decision, { kind: 'resolve', hostname: 'lb.example.com' });
  if (decision.kind !== 'resolve') return;
  t.match(decision.resolved('198.51.100.9'), {
    kind: 'nested',
    request: { target: { peer: at('198.51.100.9:15008') } },
  });
  t.match(decision.resolved('::1'), { kind: 'refuse' });
});

t.test('a waypoint on another network stands for its service: its names, the service’s authority', async (t) => {
  const waypointService = makeService({
    name: 'wp',
    ports: meshPort,
    subjectAltNames: ['spiffe://cluster.local/ns/default/sa/wp' as never],
  });
  const waypoint = makeWorkload({
    name: 'split-wp',
    network: 'east',
    networkGateway: eastGateway,
    services: new Map([[waypointService.key, new Map()]]),
  });
  const bound = { waypoint: { kind: 'hostname', service: waypointService.key, hbonePort: 15008 } as const };
  const local = makeWorkload({
    name: 'reviews-1',
    network: 'west',
    addresses: ['10.1.0.9'],
    services: remote.services,
  });
  const change = mesh(bound, waypoint, gateway, local);
  t.match(decide({ ...change, services: [...change.services, waypointService] }), {
    kind: 'nested',
    request: {
      authority: 'reviews.default.svc.cluster.local:80',
      target: {
        expectedIdentities: ['spiffe://cluster.local/ns/default/sa/wp'],
        outer: { expectedIdentities: ['spiffe://cluster.local/ns/istio-gateways/sa/east'] },
      },
    },
  });
  // A pod has no name that the other network would know.
  const podBound = { ...local, ...bound };
  const pods = mesh({}, waypoint, gateway, podBound);
  t.match(decide({ ...pods, services: [...pods.services, waypointService] }, '10.1.0.9:80'), {
    kind: 'refuse',
    reason: /network is "east", where only services can be reached/,
  });
});

const waypointsOf = (...weights: readonly number[]) => {
  const services = weights.map((_, i) => makeService({ name: `wp-${i}`, ports: meshPort }));
  const workloads = services.map((service, i) =>
    makeWorkload({
      name: `wp-${i}`,
      network: 'west',
      addresses: [`10.1.1.${i}`],
      tunnelProtocol: 'none',
      services: new Map([[service.key, new Map([[15008, 15008]])]]),
    }),
  );
  const weightedWaypoints = services.map(({ key }, i) => ({
    destination: { kind: 'hostname', service: key, hbonePort: 15008 } as const,
    weight: weights[i] as number,
  }));
  return { services, workloads, weightedWaypoints };
};
const endpoint = makeWorkload({
  name: 'reviews-1',
  network: 'west',
  addresses: ['10.1.0.9'],
  services: remote.services,
});

t.test('of weighted waypoints one is drawn for each connection', async (t) => {
  const { services, workloads, weightedWaypoints } = waypointsOf(1, 0, 3);
  const change = makeChange({
    workloads: [sleep, endpoint, ...workloads],
    services: [...services, { ...reviewsService, weightedWaypoints }],
  });
  const count: Record<string, number> = {};
  for (let i = 0; i < 80; i++) {
    // The second number is for the choice among a waypoint's endpoints.
    const numbers = [(i + 0.5) / 80, 0];
    const decision = decide(change, '10.96.0.7:80', { next: () => numbers.shift() ?? 0.5 });
    const ip = decision.kind === 'waypoint' ? decision.request.target.peer.ip : decision.kind;
    count[ip] = (count[ip] ?? 0) + 1;
    t.match(decision, { chain: { kind: 'waypoint', name: /wp-[02]/ } });
  }
  t.same(count, { '10.1.1.0': 20, '10.1.1.2': 60 });
});

t.test('a weighted waypoint that cannot be reached makes way for the others, never for the service', async (t) => {
  const { services, workloads, weightedWaypoints } = waypointsOf(9, 1, 0);
  const withOnly = (...left: readonly (Workload | undefined)[]) =>
    makeChange({
      workloads: [sleep, endpoint, ...left.flatMap((each) => each ?? [])],
      services: [...services, { ...reviewsService, weightedWaypoints }],
    });
  t.match(decide(withOnly(workloads[1], workloads[2])), { kind: 'waypoint', endpoint: { name: 'wp-1' } });
  t.match(decide(withOnly(workloads[2])), { kind: 'refuse', reason: /wp-1.*cannot be reached: no-endpoints/ });
  const none = waypointsOf(0, 0);
  const change = makeChange({
    workloads: [sleep, endpoint, ...none.workloads],
    services: [...none.services, { ...reviewsService, weightedWaypoints: none.weightedWaypoints }],
  });
  t.match(decide(change), { kind: 'refuse', reason: /none of its waypoints has a weight/ });
});

t.test('any of several waypoints goes on to the service itself', async (t) => {
  const { services, workloads, weightedWaypoints } = waypointsOf(1, 0);
  const { outbound } = makeBench(
    makeChange({
      workloads: [sleep, endpoint, ...workloads],
      services: [...services, { ...reviewsService, weightedWaypoints }],
    }),
    modernPreset,
  );
  for (const source of workloads) {
    const event = { source, client: at(`${source.addresses[0]}:1`), destination: at('10.96.0.7:80') };
    t.match(decideOutbound(event, outbound), { reason: /the source is one of its waypoints/, endpoint });
  }
});

t.test('an endpoint that was tried is not chosen again', async (t) => {
  const other = { ...endpoint, uid: 'other', name: 'reviews-2', addresses: ['10.1.0.10'], node: 'node-b' };
  const { outbound } = makeBench(mesh({}, { ...endpoint, node: 'node-b' }, other), modernPreset);
  const event = { source: sleep, client: at('10.1.0.4:1'), destination: at('10.96.0.7:80') };
  t.match(decideOutbound({ ...event, tried: new Set([endpoint.uid]) }, outbound), { kind: 'tunnel', chosen: 'other' });
  t.match(decideOutbound({ ...event, tried: new Set([endpoint.uid, 'other']) }, outbound), {
    kind: 'refuse',
    reason: /all-excluded/,
  });
  t.equal(
    decideOutbound({ ...event, destination: at('10.1.0.9:80') }, outbound).chosen,
    undefined,
    'a pod is no choice',
  );
});
