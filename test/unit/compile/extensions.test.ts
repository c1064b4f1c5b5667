/** Extension objects: where they are attached, in which order, and what becomes of those that cannot be followed. */
import t from 'tap';
import { codesOf, compileText, documents, serviceText } from '../../support/compile-text.ts';

const mesh = documents(
  `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`,
  serviceText('reviews', '10.0.0.1', 'istio.io/use-waypoint: waypoint'),
  `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews, namespace: default}
spec: {parentRefs: [{group: "", kind: Service, name: reviews}], rules: [{backendRefs: [{name: reviews, port: 80}]}]}
`,
);

function extension(name: string, spec: string): string {
  return `
apiVersion: ambit.dev/v1alpha1
kind: Extension
metadata: {name: ${name}, namespace: default}
spec: {${spec}}
`;
}

const service = 'targetRefs: [{kind: Service, name: reviews}]';
const key = 'default/reviews.default.svc.cluster.local';

t.test('by service, gateway and route, in the order of phases and priorities', async (t) => {
  const compiled = compileText(
    documents(
      mesh,
      extension('a', `${service}, module: a.ts`),
      extension('b', `${service}, module: b.ts, priority: 5`),
      extension('c', `${service}, module: c.ts, phase: AUTHN`),
      extension(
        'd',
        `${service}, module: d.ts, phase: AUTHZ, config: {x: [1]}, deadline: 5ms, memory: 32Mi, failureMode: Open`,
      ),
      extension(
        'e',
        'targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}], module: sub/e.js, phase: STATS',
      ),
      extension('f', 'targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: reviews}], module: f.ts'),
    ),
  );
  t.same(codesOf(compiled), ['GATEWAY_NO_ENDPOINTS 2']);
  const { extensions } = compiled.l7;
  const namesOf = (list: readonly { readonly source: { readonly name: string } }[] | undefined) =>
    list?.map(({ source }) => source.name).join('');
  t.equal(namesOf(extensions?.services.get(key)), 'cdba');
  t.equal(namesOf(extensions?.gateways.get('default/waypoint')), 'e');
  t.equal(namesOf(extensions?.routes.get('HTTPRoute/default/reviews')), 'f');
  t.equal(namesOf(extensions?.byGateway.get('default/waypoint')), 'cdebaf', 'what its waypoint runs');
  t.match(extensions?.services.get(key)?.[1], {
    module: 'd.ts',
    phase: 'authz',
    config: { x: [1] },
    deadlineMs: 5,
    memoryBytes: 32 * 1024 * 1024,
    failureMode: 'open',
    broken: undefined,
  });
  t.match(extensions?.services.get(key)?.[3], {
    deadlineMs: 100,
    failureMode: 'closed',
    memoryBytes: 64 * 1024 * 1024,
  });
});

t.test('what cannot be followed is attached all the same, and closed unless it says Open', async (t) => {
  const bad = [
    'module: ../a.ts',
    'module: /a.ts',
    'module: a.py',
    'priority: 1',
    'module: a.ts, phase: LATER',
    'module: a.ts, deadline: 1h',
    'module: a.ts, memory: 1Mi',
    'module: a.ts, timeout: 5s',
  ];
  for (const spec of bad) {
    const { l7, diagnostics } = compileText(documents(mesh, extension('x', `${service}, ${spec}`)));
    t.ok(
      diagnostics.some(({ code }) => code === 'EXTENSION_INVALID'),
      spec,
    );
    t.match(l7.extensions?.services.get(key)?.[0], { failureMode: 'closed', phase: 'last', broken: /spec/ }, spec);
  }
  const open = compileText(documents(mesh, extension('x', `${service}, module: a.py, failureMode: Open`)));
  t.equal(open.l7.extensions?.services.get(key)?.[0]?.failureMode, 'open');
});

t.test('a route cannot have an extension of a phase that is over before it is known', async (t) => {
  const target = 'targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: reviews}]';
  const compiled = compileText(documents(mesh, extension('x', `${target}, module: a.ts, phase: AUTHN`)));
  t.match(codesOf(compiled).join(), /EXTENSION_INVALID/);
  t.match(compiled.l7.extensions?.routes.get('HTTPRoute/default/reviews')?.[0], { broken: /route/, phase: 'last' });
});

t.test('targets that are missing are told', async (t) => {
  const none = compileText(documents(mesh, extension('x', 'module: a.ts')));
  t.match(codesOf(none).join(), /EXTENSION_WITHOUT_TARGET/);
  const unknown = compileText(
    documents(mesh, extension('x', 'module: a.ts, targetRefs: [{kind: HTTPRoute, name: y}]')),
  );
  t.match(codesOf(unknown).join(), /POLICY_UNKNOWN_TARGET/);
  const unreadable = compileText(documents(mesh, extension('x', 'module: a.ts, targetRefs: 5')));
  t.match(codesOf(unreadable).join(), /OBJECT_INVALID/);
  t.equal(compileText(mesh).l7.extensions, undefined, 'without any, nothing is there');
});

const consumerRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: foreign, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: reviews, namespace: default}], rules: [{backendRefs: [{name: reviews, namespace: default, port: 80}]}]}
`;

t.test('one on a consumer route is not run by the waypoint of somebody else, and meets its failure mode', async (t) => {
  const text = extension(
    'crowd',
    'targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: foreign}], module: a.ts, priority: -1000000, memory: 1Gi',
  ).replace('namespace: default', 'namespace: shop');
  const compiled = compileText(documents(mesh, consumerRoute, text));
  t.equal(compiled.l7.extensions?.byGateway.get('default/waypoint'), undefined);
  t.match(compiled.l7.extensions?.routes.get('HTTPRoute/shop/foreign'), [{ failureMode: 'closed' }]);
  t.ok(codesOf(compiled).some((code) => code.startsWith('EXTENSION_INVALID')));
});

t.test('of too many, those beyond the part of their namespace are told of, by waypoint', async (t) => {
  const compiled = compileText(
    documents(mesh, ...Array.from({ length: 34 }, (_, i) => extension(`e${10 + i}`, `${service}, module: a.ts`))),
  );
  const told = compiled.diagnostics.filter(({ code }) => code === 'EXTENSION_WITHOUT_PLACE');
  t.same(told.map(({ object }) => object?.split('/').at(-1)).sort(), ['e42', 'e43'], 'those that go last');
  t.match(told[0]?.message, /default\/waypoint has 32 places/);
  t.equal(compiled.l7.extensions?.services.get(key)?.length, 34, 'all are attached: they meet their failure mode');
});
