import t from 'tap';
import type { GatewayAddress } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import {
  gatewayName,
  isGateway,
  isGatewayEndpoint,
  selectGateway,
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

function meshOf(...workloads: readonly (typeof pod)[]): MeshStore {
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
