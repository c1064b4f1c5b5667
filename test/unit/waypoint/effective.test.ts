/** The effective configuration: what is in force for a service, which objects made it, and what was ignored and why. */

import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { diffMesh, emptyMeshModel } from '../../../src/mesh/diff.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import type { WaypointServices } from '../../../src/waypoint/context.ts';
import { effectiveViews } from '../../../src/waypoint/effective-views.ts';
import { compileText, documents, podText, serviceText } from '../../support/compile-text.ts';

const objects = documents(
  `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: w, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`,
  podText('wp', '10.0.0.9', { labels: 'gateway.networking.k8s.io/gateway-name: w' }),
  serviceText('web', '10.96.0.1', 'istio.io/use-waypoint: w'),
  serviceText('v1', '10.96.0.2'),
  `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: default}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules:
    - {name: slow, matches: [{path: {value: /slow}, headers: [{name: X, value: y}]}], timeouts: {request: 3s}, backendRefs: [{name: v1, port: 80, weight: 3}, {name: nobody, port: 80}]}
`,
  `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: mine, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web, namespace: default}]
  rules: [{backendRefs: [{name: web, namespace: default, port: 80}]}]
`,
  `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: old, namespace: default}
spec: {hosts: [web], http: [{route: [{destination: {host: v1}}]}]}
`,
  `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: default}
spec: {targetRefs: [{group: "", kind: Service, name: web}], action: ALLOW, rules: [{}]}
`,
);

function viewOf(name: string, query: string): Promise<string> {
  const compilation = compileText(objects);
  const mesh = new MeshStore();
  mesh.apply(diffMesh(emptyMeshModel, compilation));
  const gateway = compilation.gateways.get('default/w');
  const services = { mesh, own: () => gateway, clock: systemClock } as unknown as WaypointServices;
  const view = effectiveViews({ services, compilation: () => compilation }).find((one) => one.name === name);
  const body = view?.render(new URLSearchParams(query)) ?? '';
  return typeof body === 'string' ? Promise.resolve(body) : text(Readable.from(body));
}

t.test('a service in text: routes in order with who made them, and what is ignored', async (t) => {
  t.equal(
    (await viewOf('effective.txt', 'service=default/web')).replaceAll(/test\.yaml:\d+:\d+/g, 'test.yaml'),
    `service default/web.default.svc.cluster.local 10.96.0.1
  policy allow default/readers
  port 80 http http11
    clients of shop
    1. path path-prefix / → default/web.default.svc.cluster.local:80 weight 1  [HTTPRoute shop/mine, shop/mine/0/0]
    1. path path-prefix /slow, header x exact y → default/v1.default.svc.cluster.local:80 weight 3, invalid (500) weight 1 (timeout 3000 ms)  [HTTPRoute default/web, rule slow, default/web/0/0]
    2. any → respond 404  [no-route-matched]
  objects
    HTTPRoute default/web: Accepted=True Accepted; ResolvedRefs=False BackendNotFound (there is no Service default/nobody with port 80)
    HTTPRoute shop/mine: Accepted=True Accepted; ResolvedRefs=True ResolvedRefs
    VirtualService default/old: Accepted=False Conflicted (a Gateway API route routes default/web.default.svc.cluster.local:80); ResolvedRefs=True ResolvedRefs
  diagnostics
    test.yaml error ROUTE_UNKNOWN_BACKEND HTTPRoute default/web: there is no Service default/nobody with port 80
    test.yaml warning ROUTE_SHADOWED VirtualService default/old: a Gateway API route routes default/web.default.svc.cluster.local:80

`,
  );
});

t.test('as JSON, and without a name all services of this waypoint', async (t) => {
  const [web, ...others] = JSON.parse(await viewOf('effective', '')) as readonly unknown[];
  t.same(others, [], 'v1 has no waypoint');
  t.match(web, {
    service: 'default/web.default.svc.cluster.local',
    served: true,
    ports: [{ port: 80, groups: [{ clientsOf: 'shop', routes: [{ order: 1 }] }, { routes: [{ rule: 'slow' }, {}] }] }],
    policies: ['allow default/readers'],
    status: [{}, {}, {}],
  });
  t.equal(await viewOf('effective.txt', 'service=default/none'), 'no such service\n');
  t.match(
    await viewOf('effective.txt', 'service=default/v1'),
    /not served by this waypoint\)\n {2}port 80 .*\n {4}any → the service itself/,
  );
});
