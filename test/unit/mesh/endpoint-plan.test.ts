/** Endpoints chosen from a prepared plan against a look at every one of them, for whoever asks and whatever changes. */
import fc from 'fast-check';
import t from 'tap';
import type { EndpointQuery } from '../../../src/mesh/endpoint-query.ts';
import type { LoadBalancing, Scope, Workload } from '../../../src/mesh/model.ts';
import { selectEndpoint } from '../../../src/mesh/select-endpoint.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { makeChange, makeService, makeWorkload } from '../../support/mesh-records.ts';

const plain = makeService();
const services = new Map([[plain.key, new Map([[80, 8080]])]]);

const scopes = fc.constantFrom<Scope>('region', 'zone', 'node', 'cluster', 'network');
const balancing: fc.Arbitrary<LoadBalancing> = fc.record({
  mode: fc.constantFrom('any', 'strict', 'failover'),
  preferences: fc.uniqueArray(scopes, { maxLength: 3 }),
  allowUnhealthy: fc.boolean(),
});
const places = fc.record({
  node: fc.constantFrom('node-a', 'node-b'),
  clusterId: fc.constantFrom('c1', 'c2'),
  network: fc.constantFrom('', '', 'far'),
  locality: fc.constantFrom(
    undefined,
    { region: 'r1', zone: 'z1', subzone: '' },
    { region: 'r1', zone: 'z2', subzone: '' },
  ),
});
const endpointLists = fc.array(fc.tuple(places, fc.nat(2), fc.boolean()), { maxLength: 6 }).map((list) =>
  list.map(([place, capacity, healthy], i) => {
    const networkGateway = { kind: 'address', network: 'far', ip: '192.0.2.1', hbonePort: 15008 } as const;
    return makeWorkload({
      name: `e${i}`,
      addresses: ['10.0.0.1'],
      services,
      capacity,
      healthy,
      networkGateway,
      ...place,
    });
  }),
);
const sources = fc.option(
  places.map((place) => makeWorkload({ name: 'client', ...place })),
  { nil: undefined },
);

t.test('what can be chosen is what a look at every endpoint leaves, for each of several askers in turn', async (t) => {
  const askers = fc.array(fc.tuple(sources, fc.uniqueArray(fc.nat(5), { maxLength: 4 })), {
    minLength: 1,
    maxLength: 5,
  });
  fc.assert(
    fc.property(balancing, endpointLists, askers, (loadBalancing, endpoints, asking) => {
      const service = makeService({ loadBalancing });
      for (const [source, left] of asking) {
        const exclude = new Set(left.map((i) => makeWorkload({ name: `e${i}` }).uid));
        const query = { service, endpoints, servicePort: 80, source, preferFamily: undefined, exclude } as const;
        const found = choices({ ...query, resolution: 'service' });
        if (found.join() !== oracle(endpoints, loadBalancing, source, exclude).join()) return false;
      }
      return true;
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

t.test('a changed service and changed endpoints count from the next choice on', async (t) => {
  const a = makeWorkload({ name: 'a', addresses: ['10.0.0.1'], services });
  const b = makeWorkload({ name: 'b', addresses: ['10.0.0.2'], services, healthy: false });
  const store = new MeshStore();
  store.apply(makeChange({ services: [plain], workloads: [a, b] }));
  const now = () => {
    const service = store.service(plain.key);
    if (service === undefined) throw new Error('the service is there');
    const endpoints = store.endpoints(service.key);
    return choices({ service, endpoints, servicePort: 80, source: a, preferFamily: 4, resolution: 'service' });
  };
  t.strictSame(now(), ['a']);
  store.apply(makeChange({ workloads: [{ ...b, healthy: true }] }));
  t.strictSame(now(), ['a', 'b']);
  store.apply(makeChange({ removedWorkloads: [a.uid], workloads: [b] }));
  t.strictSame(now(), []);
  store.apply(
    makeChange({ services: [makeService({ loadBalancing: { ...plain.loadBalancing, allowUnhealthy: true } })] }),
  );
  t.strictSame(now(), ['b']);
});

/** Names of all that some random number leads to. */
function choices(query: Omit<EndpointQuery, 'random'>): readonly string[] {
  const found = new Set<string>();
  for (let i = 0; i < 24; i++) {
    const selection = selectEndpoint({ ...query, random: { next: () => (i + 0.5) / 24 } });
    if ('workload' in selection) found.add(selection.workload.name);
  }
  return [...found].sort();
}

function oracle(
  endpoints: readonly Workload[],
  { mode, preferences, allowUnhealthy }: LoadBalancing,
  source: Workload | undefined,
  exclude: ReadonlySet<string>,
): readonly string[] {
  const scopeOf = (workload: Workload | undefined, scope: Scope): string | undefined => {
    if (scope === 'network') return workload?.network ?? '';
    if (workload === undefined) return undefined;
    if (scope === 'node') return workload.node;
    if (scope === 'cluster') return workload.clusterId;
    return workload.locality?.[scope] ?? '';
  };
  const same = (workload: Workload, scope: Scope) => scopeOf(workload, scope) === scopeOf(source, scope);
  const leading = (workload: Workload, of: readonly Scope[]) => {
    const miss = of.findIndex((scope) => !same(workload, scope));
    return miss < 0 ? of.length : miss;
  };
  const rank = (workload: Workload) => {
    if (mode !== 'failover') return 0;
    if (preferences[0] !== 'network') return leading(workload, preferences);
    const rest = leading(workload, preferences.slice(1));
    return same(workload, 'network') ? rest + preferences.length : rest;
  };
  const usable = endpoints.filter(
    (workload) =>
      !exclude.has(workload.uid) &&
      (workload.healthy || allowUnhealthy) &&
      (mode !== 'strict' || preferences.every((scope) => same(workload, scope))),
  );
  const best = Math.max(...usable.map(rank));
  return usable
    .filter((workload) => rank(workload) === best && workload.capacity > 0)
    .map(({ name }) => name)
    .sort();
}
