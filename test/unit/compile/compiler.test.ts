/** A compiler that has seen earlier versions makes what one makes that sees the objects for the first time. */
import fc from 'fast-check';
import t from 'tap';
import { formatDiagnostic } from '../../../src/base/diagnostics.ts';
import { completed } from '../../../src/base/slices.ts';
import { type Compilation, Compiler, compile } from '../../../src/compile/compile.ts';
import type { ConfigObject } from '../../../src/compile/object.ts';
import { routeStatuses } from '../../../src/compile/route-statuses.ts';
import { documents, objectsOf, podText, presetOptions, serviceText } from '../../support/compile-text.ts';

const fixed = documents(
  `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: w, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`,
  podText('wp', '10.0.0.9', { labels: 'gateway.networking.k8s.io/gateway-name: w' }),
);
const names = ['a', 'b', 'c'] as const;
const namespaces = ['default', 'shop'] as const;
const serviceName = fc.constantFrom(...names);
const namespace = fc.constantFrom(...namespaces);

/** One version of one object, under the name it is replaced by. */
interface Version {
  readonly name: string;
  readonly text: string;
}

const route = fc
  .record({
    kind: fc.constantFrom('HTTPRoute', 'GRPCRoute', 'TCPRoute', 'TLSRoute'),
    id: fc.nat(3),
    namespace,
    parent: serviceName,
    port: fc.constantFrom('', ', port: 80', ', port: 9'),
    backend: serviceName,
    age: fc.constantFrom('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'),
    broken: fc.boolean(),
  })
  .map(
    ({ kind, id, namespace: own, parent, port, backend, age, broken }): Version => ({
      name: `${kind} ${id} ${own}`,
      text: `
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: {name: r${id}, namespace: ${own}, creationTimestamp: "${age}"}
spec:
  parentRefs: [{group: "", kind: Service, name: ${parent}, namespace: default${port}}]
  rules: [{${broken && kind === 'HTTPRoute' ? 'filters: [{type: Odd}], ' : ''}backendRefs: [{name: ${backend}, namespace: default, port: 80}]}]
`,
    }),
  );
const virtual = fc
  .record({
    id: fc.nat(2),
    host: fc.constantFrom('a', 'b', '"*.default.svc.cluster.local"'),
    to: serviceName,
    delegate: fc.boolean(),
  })
  .map(
    ({ id, host, to, delegate }): Version => ({
      name: `VirtualService ${id}`,
      text: `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v${id}, namespace: default}
spec: {hosts: ${id === 2 ? '[]' : `[${host}]`}, http: [{${delegate ? 'delegate: {name: v2}' : `route: [{destination: {host: ${to}, subset: s}}]`}}]}
`,
    }),
  );
const grant = namespace.map(
  (from): Version => ({
    name: 'ReferenceGrant',
    text: `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: default}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: ${from}}], to: [{group: "", kind: Service}]}
`,
  }),
);
const service = fc.tuple(serviceName, fc.constantFrom('http', 'tcp', 'any'), fc.boolean()).map(
  ([name, port, bound]): Version => ({
    name: `Service ${name}`,
    text: serviceText(name, `10.96.0.${names.indexOf(name) + 1}`, bound ? 'istio.io/use-waypoint: w' : '').replace(
      'name: http,',
      `name: ${port},`,
    ),
  }),
);
const rule = serviceName.map(
  (name): Version => ({
    name: 'DestinationRule',
    text: `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d, namespace: default}
spec: {host: ${name}, subsets: [{name: s, labels: {v: "1"}}]}
`,
  }),
);
const change = fc.oneof(
  { weight: 6, arbitrary: route },
  { weight: 2, arbitrary: virtual },
  grant,
  { weight: 2, arbitrary: service },
  rule,
);

/** All that a compilation says, in an order of its own. */
function said({ l7, diagnostics, workloads, services, policies, routes }: Compilation) {
  const ports = [...l7.ports].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    ports,
    destinations: l7.destinations,
    diagnostics: diagnostics.map(formatDiagnostic).sort(),
    workloads: [...workloads],
    services: [...services],
    policies: [...policies],
    statuses: routeStatuses(routes).map(({ object, parents }) => ({
      object,
      parents: parents
        .map(({ parent, conditions }) => ({
          parent,
          conditions: conditions.map(({ type, status, reason }) => ({ type, status, reason })),
        }))
        .sort((a, b) => (a.parent < b.parent ? -1 : 1)),
    })),
  };
}

/** As the files of a folder have them: three in each, and those that say the same as before are the same list. */
function grouped(
  list: readonly ConfigObject[],
  before: readonly (readonly ConfigObject[])[],
): readonly (readonly ConfigObject[])[] {
  return Array.from({ length: Math.ceil(list.length / 3) }, (_, i) => {
    const group = list.slice(3 * i, 3 * i + 3);
    const last = before[i];
    return last?.length === group.length && group.every((object, j) => object === last[j]) ? last : group;
  });
}

t.test('after any changes the model equals one that is made anew', async (t) => {
  const options = presetOptions('modern');
  fc.assert(
    fc.property(fc.array(fc.tuple(change, fc.boolean()), { minLength: 1, maxLength: 25 }), (changes) => {
      const compiler = new Compiler(options);
      let groups: readonly (readonly ConfigObject[])[] = [];
      const objects = new Map<string, ConfigObject>(objectsOf(fixed).map((object, i) => [`fixed ${i}`, object]));
      for (const name of names)
        objects.set(
          `Service ${name}`,
          objectsOf(serviceText(name, `10.96.0.${names.indexOf(name) + 1}`))[0] as ConfigObject,
        );
      for (const [{ name, text }, removes] of changes) {
        if (removes && objects.has(name) && !name.startsWith('Service')) objects.delete(name);
        else objects.set(name, objectsOf(text)[0] as ConfigObject);
        const list = [...objects.values()];
        groups = grouped(list, groups);
        const kept = said(completed(compiler.steps(groups)));
        const anew = said(compile(list, options));
        if (!t.same(kept, anew)) throw new Error('they differ');
      }
    }),
    { numRuns: 60 },
  );
});

t.test('a route that is replaced touches the Services it is attached to, and no others', async (t) => {
  const routeText = (parent: string, value: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r-${parent}, namespace: default}
spec: {parentRefs: [{group: "", kind: Service, name: ${parent}}], rules: [{matches: [{path: {value: ${value}}}], backendRefs: [{name: a, port: 80}]}]}
`;
  const compiler = new Compiler(presetOptions('modern'));
  const others = objectsOf(documents(fixed, ...names.map((name, i) => serviceText(name, `10.96.0.${i + 1}`))));
  const [a, b] = objectsOf(documents(routeText('a', '/a'), routeText('b', '/b')));
  const [changed] = objectsOf(routeText('b', '/changed'));
  const before = completed(compiler.steps([[...others, a as ConfigObject, b as ConfigObject]]));
  const after = completed(compiler.steps([[...others, a as ConfigObject, changed as ConfigObject]]));
  const ports = (name: string) =>
    [before, after].map(({ l7 }) => l7.ports.get(`default/${name}.default.svc.cluster.local:80`));
  t.equal(...(ports('a') as [unknown, unknown]), 'the same record');
  t.not(...(ports('b') as [unknown, unknown]));
  t.equal(before.workloads, after.workloads);
  t.equal(before.l7.destinations, after.l7.destinations);
});
