import t from 'tap';
import type { GatewayAddress, Workload } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import {
  drawWaypoint,
  gatewayName,
  isGateway,
  isGatewayEndpoint,
  selectGateway,
  selectNetworkGateway,
  waypointIdentities,
} from '../../../src/mesh/waypoint.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../../support/mesh-records.ts';

const random = { next: () => 0 };
const service = makeService({
  name: 'waypoint',
  addresses: [{ network: '', ip: '10.96.0.9' }],
  ports: new Map([[15008, makePort(15008, 15008)]]),
});
const pod = makeWorkload({
  name: 'waypoint-1',
  serviceAccount: 'waypoint',
  addresses: ['10.0.0.9'],
  tunnelProtocol: 'none',
  services: new Map([[service.key, new Map([[15008, 15008]])]]),
});
const byName: GatewayAddress = { kind: 'hostname', service: service.key, hbonePort: 15008 };
const byVip: GatewayAddress = { kind: 'address', network: '', ip: '10.96.0.9', hbonePort: 15008 };
const byPod: GatewayAddress = { kind: 'address', network: '', ip: '10.0.0.9', hbonePort: 15008 };
const client = makeWorkload({ name: 'client', addresses: ['10.0.0.1'] });

function meshOf(...workloads: readonly Workload[]): MeshStore {
  const store = new MeshStore();
  store.apply(makeChange({ workloads: [client, ...workloads], services: [service] }));
  return store;
}

t.test('a gateway is found by service name, by VIP and by the address of its pod', async (t) => {
  const mesh = meshOf(pod);
  for (const gateway of [byName, byVip, byPod]) {
    const found = selectGateway(mesh, { gateway, source: client, random });
    t.match(found, { kind: 'gateway', endpoint: { kind: 'endpoint', workload: pod, ip: '10.0.0.9', port: 15008 } });
    t.same(waypointIdentities(mesh, gateway), ['spiffe://cluster.local/ns/default/sa/waypoint']);
    t.ok(isGateway(mesh, gateway, service.key));
    t.ok(isGatewayEndpoint(mesh, gateway, pod));
    t.notOk(isGatewayEndpoint(mesh, gateway, client));
  }
});

t.test('a gateway without endpoints, or unknown, is answered with a reason and keeps a name', async (t) => {
  const mesh = meshOf();
  t.same(selectGateway(mesh, { gateway: byName, source: client, random }), { kind: 'none', reason: 'no-endpoints' });
  t.same(selectGateway(mesh, { gateway: byPod, source: client, random }), { kind: 'none', reason: 'unknown-gateway' });
  t.equal(gatewayName(mesh, byName), service.key);
  const unknown: GatewayAddress = { kind: 'hostname', service: 'default/nobody', hbonePort: 15008 };
  t.same(selectGateway(mesh, { gateway: unknown, source: client, random }), {
    kind: 'none',
    reason: 'unknown-gateway',
  });
  t.notOk(isGateway(mesh, unknown, service.key));
  t.notOk(isGateway(mesh, undefined, service.key));
});

t.test('a name that the service vouches for counts before any endpoint is there', async (t) => {
  const mesh = meshOf();
  mesh.apply(makeChange({ services: [{ ...service, subjectAltNames: [pod.identity] }] }));
  t.equal(gatewayName(mesh, byName), pod.identity);
});

t.test('a gateway may be a workload known by host name only', async (t) => {
  const named = makeWorkload({ name: 'gw', hostname: 'gw.example.com', addresses: ['10.0.0.7'] });
  const gateway: GatewayAddress = { kind: 'hostname', service: 'default/gw.example.com', hbonePort: 15008 };
  t.match(selectGateway(meshOf(named), { gateway, source: client, random }), {
    endpoint: { ip: '10.0.0.7', port: 15008 },
  });
});

t.test('a waypoint on another network is reached through that network’s gateway, or not at all', async (t) => {
  const networkGateway: GatewayAddress = { kind: 'address', network: 'east', ip: '198.51.100.7', hbonePort: 15008 };
  const far = { ...pod, network: 'east', networkGateway };
  for (const gateway of [byName, { ...byPod, network: 'east' }]) {
    t.match(selectGateway(meshOf(far), { gateway, source: client, random }), {
      kind: 'gateway',
      endpoint: { kind: 'remote', workload: { uid: pod.uid }, gateway: networkGateway },
    });
    t.same(selectGateway(meshOf({ ...far, networkGateway: undefined }), { gateway, source: client, random }), {
      kind: 'none',
      reason: 'no-network-gateway',
    });
  }
});

t.test('a network gateway is dialled as it is named, though its record is of the other network', async (t) => {
  const gateway: GatewayAddress = { kind: 'address', network: 'east', ip: '198.51.100.7', hbonePort: 15008 };
  const record = makeWorkload({ name: 'east-gateway', network: 'east', addresses: ['198.51.100.7'] });
  t.match(selectNetworkGateway(meshOf(record), { gateway, source: client, random }), {
    endpoint: { kind: 'endpoint', ip: '198.51.100.7', port: 15008 },
  });
  t.same(selectNetworkGateway(meshOf(), { gateway, source: client, random }), {
    kind: 'none',
    reason: 'unknown-gateway',
  });
  const named = makeWorkload({ name: 'lb', hostname: 'lb.example.com', network: 'east' });
  const byHost: GatewayAddress = { kind: 'hostname', service: 'default/lb.example.com', hbonePort: 15008 };
  t.match(selectNetworkGateway(meshOf(named), { gateway: byHost, source: client, random }), {
    endpoint: { kind: 'hostname', hostname: 'lb.example.com', port: 15008 },
  });
});

t.test('a dual-stack waypoint known by name is dialled in the family of the original destination', async (t) => {
  const dual = { ...pod, addresses: ['10.0.0.9', 'fd00::9'] };
  for (const [preferFamily, ip] of [
    [4, '10.0.0.9'],
    [6, 'fd00::9'],
  ] as const) {
    t.match(selectGateway(meshOf(dual), { gateway: byName, source: client, random, preferFamily }), {
      endpoint: { ip },
    });
  }
});

t.test('waypoints are drawn by weight; those without weight never', async (t) => {
  const weighted = [{ weight: 0 }, { weight: 1 }, { weight: 3 }, { weight: 0 }];
  const drawn = Array.from({ length: 8 }, (_, i) => drawWaypoint(weighted, { next: () => (i + 0.5) / 8 }));
  t.same(drawn, [1, 1, 2, 2, 2, 2, 2, 2]);
  t.equal(drawWaypoint(weighted, { next: () => 0.999_999_999 }), 2);
  t.equal(drawWaypoint(weighted, { next: () => 0 }, new Set([1])), 2, 'what was drawn before is left out');
  t.equal(drawWaypoint(weighted, random, new Set([1, 2])), -1);
  t.equal(drawWaypoint([{ weight: 0 }, { weight: 0 }], random), -1);
  t.equal(drawWaypoint([], random), -1);
});
