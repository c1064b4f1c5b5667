import fc from 'fast-check';
import t from 'tap';
import type { EndpointQuery, EndpointSelection } from '../../../src/mesh/endpoint-query.ts';
import type { LoadBalancing, Locality, Workload } from '../../../src/mesh/model.ts';
import { selectEndpoint } from '../../../src/mesh/select-endpoint.ts';
import { makePort, makeService, makeWorkload } from '../../support/mesh-records.ts';

const service = makeService();
const services = new Map([[service.key, new Map([[80, 8080]])]]);

function endpoint(name: string, fields: Partial<Workload> = {}): Workload {
  return makeWorkload({ name, addresses: ['10.0.0.1'], services, ...fields });
}

function select(endpoints: readonly Workload[], fields: Partial<EndpointQuery> = {}): EndpointSelection {
  return selectEndpoint({
    service,
    endpoints,
    servicePort: 80,
    source: undefined,
    preferFamily: undefined,
    resolution: 'service',
    random: { next: () => 0 },
    ...fields,
  });
}

function outcome(selection: EndpointSelection): string {
  return selection.kind === 'none'
    ? selection.reason
    : 'workload' in selection
      ? selection.workload.name
      : selection.kind;
}

const locality = (region: string, zone: string, subzone = ''): Locality => ({ region, zone, subzone });

function balanced(mode: LoadBalancing['mode'], ...preferences: LoadBalancing['preferences']) {
  return makeService({ loadBalancing: { mode, preferences, allowUnhealthy: false } });
}

t.test('an endpoint is answered with its address and target port', async (t) => {
  const a = endpoint('a');
  t.same(select([a]), { kind: 'endpoint', workload: a, ip: '10.0.0.1', port: 8080 });
});

t.test('the reason names the last hurdle that any candidate reached', async (t) => {
  t.equal(outcome(select([endpoint('a')], { servicePort: 81 })), 'unknown-service-port');
  t.equal(outcome(select([])), 'no-endpoints');
  t.equal(outcome(select([endpoint('a', { healthy: false })])), 'all-unhealthy');
  t.equal(outcome(select([endpoint('a')], { exclude: new Set([endpoint('a').uid]) })), 'all-excluded');
  t.equal(outcome(select([endpoint('a', { addresses: [] })])), 'no-usable-address');
  t.equal(outcome(select([endpoint('a', { capacity: 0 })])), 'no-capacity');
  t.equal(outcome(select([endpoint('a', { healthy: false }), endpoint('b', { addresses: [] })])), 'no-usable-address');
});

t.test('an unhealthy endpoint is used where the service allows it', async (t) => {
  const open = makeService({ loadBalancing: { mode: 'any', preferences: [], allowUnhealthy: true } });
  t.equal(outcome(select([endpoint('a', { healthy: false })], { service: open })), 'a');
});

t.test('the target port is the endpoint’s own, then the service’s; a named port needs the endpoint’s', async (t) => {
  const named = makeService({ ports: new Map([[80, makePort(80, 0)]]) });
  const bare = endpoint('bare', { services: new Map([[service.key, new Map()]]) });
  t.match(select([endpoint('a')], { service: named }), { port: 8080 });
  t.match(select([bare]), { port: 8080 });
  t.equal(outcome(select([bare], { service: named })), 'no-port-on-endpoints');
});

t.test('towards a waypoint any port will do behind an application tunnel, and none else', async (t) => {
  const tunnel = { protocol: 'proxy', port: 15088 } as const;
  const query = { servicePort: 15008, resolution: 'waypoint' } as const;
  t.match(select([endpoint('a', { applicationTunnel: tunnel })], query), { kind: 'endpoint', port: 15008 });
  t.equal(outcome(select([endpoint('a')], query)), 'no-port-on-endpoints');
});

t.test('the service’s families bind, the client’s family is preferred', async (t) => {
  const dual = endpoint('a', { addresses: ['10.0.0.1', 'fd00::1'] });
  t.match(select([dual]), { ip: '10.0.0.1' });
  t.match(select([dual], { preferFamily: 6 }), { ip: 'fd00::1' });
  const v4 = makeService({ ipFamilies: 'ipv4' });
  t.match(select([dual], { service: v4, preferFamily: 6 }), { ip: '10.0.0.1' });
  const onlyV6 = endpoint('a', { addresses: ['fd00::1'] });
  t.equal(outcome(select([onlyV6], { service: v4 })), 'no-usable-address');
  t.match(select([onlyV6], { preferFamily: 4 }), { ip: 'fd00::1' }, 'preference is not a condition');
});

t.test('an endpoint known by name only is answered by name', async (t) => {
  const a = endpoint('a', { addresses: [], hostname: 'db.example.com' });
  t.match(select([a]), { kind: 'hostname', hostname: 'db.example.com', port: 8080 });
});

t.test('an endpoint on another network needs a gateway', async (t) => {
  const gateway = { kind: 'address', network: 'far', ip: '192.0.2.1', hbonePort: 15008 } as const;
  t.equal(outcome(select([endpoint('a', { network: 'far' })])), 'no-network-gateway');
  t.match(select([endpoint('a', { network: 'far', networkGateway: gateway })]), {
    kind: 'remote',
    gateway,
    port: 8080,
  });
  t.match(select([endpoint('a', { network: 'far' })], { network: 'far' }), { kind: 'endpoint' });
});

t.test('strict keeps to matching endpoints, failover prefers the nearest', async (t) => {
  const source = makeWorkload({ name: 'client', locality: locality('r1', 'z1'), node: 'node-a' });
  const near = endpoint('near', { locality: locality('r1', 'z1'), node: 'node-b' });
  const far = endpoint('far', { locality: locality('r1', 'z2'), node: 'node-b' });
  const abroad = endpoint('abroad', { locality: locality('r2', 'z1'), node: 'node-b' });
  const failover = balanced('failover', 'region', 'zone');
  t.equal(outcome(select([abroad, far, near], { source, service: failover })), 'near');
  t.equal(outcome(select([abroad, far], { source, service: failover })), 'far');
  t.equal(outcome(select([abroad], { source, service: failover })), 'abroad');
  const strict = balanced('strict', 'node');
  t.equal(outcome(select([near, far], { source, service: strict })), 'no-endpoint-in-locality');
  t.equal(outcome(select([near, endpoint('here', { node: 'node-a' })], { source, service: strict })), 'here');
});

t.test('the own network wins over a nearer zone in another one', async (t) => {
  const gateway = { kind: 'address', network: 'far', ip: '192.0.2.1', hbonePort: 15008 } as const;
  const source = makeWorkload({ locality: locality('r1', 'z1') });
  const remote = (name: string, zone: string) =>
    endpoint(name, { network: 'far', networkGateway: gateway, locality: locality('r1', zone) });
  const own = endpoint('own', { locality: locality('r2', 'z9') });
  const byNetwork = balanced('failover', 'network', 'region', 'zone');
  t.equal(outcome(select([remote('same-zone', 'z1'), own], { source, service: byNetwork })), 'own');
  t.equal(outcome(select([remote('other', 'z2'), remote('same', 'z1')], { source, service: byNetwork })), 'same');
});

t.test('a passthrough service asks for no endpoint', async (t) => {
  t.same(select([endpoint('a')], { service: balanced('passthrough') }), { kind: 'passthrough' });
});

t.test('the choice is proportional to capacity and never falls on capacity zero', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(5), { minLength: 1, maxLength: 8 }), (capacities) => {
      const endpoints = capacities.map((capacity, i) => endpoint(`e${i}`, { capacity }));
      const total = capacities.reduce((sum, capacity) => sum + capacity, 0);
      const counts = new Map<string, number>();
      for (let i = 0; i < total; i++) {
        const random = { next: () => (i + 0.5) / total };
        const name = outcome(select(endpoints, { random }));
        counts.set(name, (counts.get(name) ?? 0) + 1);
      }
      return capacities.every((capacity, i) => (counts.get(`e${i}`) ?? 0) === capacity);
    }),
  );
  t.pass();
});
