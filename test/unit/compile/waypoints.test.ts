import t from 'tap';
import type { Compilation } from '../../../src/compile/compile.ts';
import { ambientDefault, codesOf, compileText, documents, podText, serviceText } from '../../support/compile-text.ts';

const gateway = (name: string, fields = '', labels = '', className = 'istio-waypoint', namespace = 'default') => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ${name}, namespace: ${namespace}, labels: {${labels}}}
spec:
  gatewayClassName: ${className}
  listeners: [{name: mesh, port: 15008, protocol: HBONE${fields}}]
`;

const meshGateway = (name: string, account?: string) => `
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: Gateway
metadata: {name: ${name}, namespace: default${account === undefined ? '' : `, annotations: {istio.io/service-account: ${account}}`}}
spec: {gatewayClassName: istio-mesh}
`;

const web = (labels = 'app: web') => podText('web', '10.0.0.1', { account: 'web', labels });
const key = (name: string) => `default/${name}.default.svc.cluster.local`;

function bound(compilation: Compilation): { readonly service: unknown; readonly pod: unknown } {
  const target = (waypoint: { readonly kind: string } | undefined) =>
    waypoint === undefined ? undefined : 'service' in waypoint ? waypoint.service : waypoint;
  return {
    service: target(compilation.services.get(key('web'))?.waypoint),
    pod: target(compilation.workloads.get('Kubernetes//Pod/default/web')?.waypoint),
  };
}

t.test('the preview’s Gateway puts a waypoint before all pods of an account and their Services', async (t) => {
  const waypointPod = podText('wp', '10.0.0.9', { account: 'web', labels: 'ambient-type: waypoint' });
  const compilation = compileText(
    documents(ambientDefault, meshGateway('g', 'web'), web(), serviceText('web', '10.96.0.1'), waypointPod),
    'legacy',
  );
  const made = 'default/web.default.waypoint.internal';
  t.same(bound(compilation), { service: made, pod: made });
  t.match(compilation.services.get(made), {
    addresses: [],
    subjectAltNames: ['spiffe://cluster.local/ns/default/sa/web'],
    ports: new Map([[15006, { targetPort: 15006 }]]),
  });
  t.match(compilation.workloads.get('Kubernetes//Pod/default/wp'), {
    tunnelProtocol: 'none',
    waypoint: undefined,
    services: new Map([[made, new Map([[15006, 15006]])]]),
  });
  t.match(compilation.gateways.get('default/g'), { serviceAccount: 'web', service: made, hasEndpoints: true });
  t.same(codesOf(compilation), []);
});

t.test('a waypoint without pods stays the waypoint', async (t) => {
  const compilation = compileText(
    documents(ambientDefault, meshGateway('g', 'web'), web(), serviceText('web', '10.96.0.1')),
    'legacy',
  );
  t.equal(bound(compilation).service, 'default/web.default.waypoint.internal');
  t.ok(compilation.services.has('default/web.default.waypoint.internal'));
  t.same(codesOf(compilation), ['GATEWAY_NO_ENDPOINTS 6']);
});

t.test('a Gateway without an account asks for a waypoint for every account of the namespace', async (t) => {
  const compilation = compileText(
    documents(
      meshGateway('g'),
      meshGateway('own', 'web'),
      web(),
      podText('other', '10.0.0.2', { account: 'other' }),
      podText('far', '10.0.0.3', { account: 'far', namespace: 'elsewhere' }),
      '\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: idle, namespace: default}\n',
    ),
    'legacy',
  );
  t.same([...compilation.gateways.keys()], ['default/own', 'default/g/idle', 'default/g/other']);
});

t.test('two Gateways for one account: the older one serves it', async (t) => {
  const at = (text: string, date: string) => text.replace('{name:', `{creationTimestamp: ${date}, name:`);
  const compilation = compileText(
    documents(
      at(meshGateway('new', 'web'), '2026-02-01T00:00:00Z'),
      at(meshGateway('old', 'web'), '2026-01-01T00:00:00Z'),
      web(),
    ),
    'legacy',
  );
  t.same([...compilation.gateways.keys()], ['default/old']);
  t.ok(codesOf(compilation).includes('GATEWAY_CONFLICT 2'));
});

t.test('a label on the object wins over the namespace’s, and none opts out', async (t) => {
  const texts = (serviceLabels: string, namespaceLabels = 'istio.io/use-waypoint: w') =>
    bound(
      compileText(
        documents(
          `\napiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {${namespaceLabels}}}\n`,
          gateway('w'),
          gateway('other'),
          web(),
          serviceText('web', '10.96.0.1', serviceLabels),
        ),
      ),
    ).service;
  t.equal(texts(''), key('w'));
  t.equal(texts('istio.io/use-waypoint: other'), key('other'));
  t.equal(texts('istio.io/use-waypoint: none'), undefined);
  t.equal(texts('', ''), undefined);
});

t.test('waypoint-for decides which traffic takes the waypoint', async (t) => {
  const texts = (labels: string) =>
    bound(
      compileText(
        documents(
          gateway('w', '', labels),
          web('app: web, istio.io/use-waypoint: w'),
          serviceText('web', '10.96.0.1', 'istio.io/use-waypoint: w'),
        ),
      ),
    );
  t.same(texts(''), { service: key('w'), pod: undefined });
  t.same(texts('istio.io/waypoint-for: workload'), { service: undefined, pod: key('w') });
  t.same(texts('istio.io/waypoint-for: all'), { service: key('w'), pod: key('w') });
  t.same(texts('istio.io/waypoint-for: none'), { service: undefined, pod: undefined });
});

t.test('the waypoint is the Service of the Gateway’s name, else its pods, else its address', async (t) => {
  const waypointPod = podText('wp', '10.0.0.9', { account: 'w', labels: 'gateway.networking.k8s.io/gateway-name: w' });
  const own = `
apiVersion: v1
kind: Service
metadata: {name: w, namespace: default}
spec: {clusterIP: 10.96.0.9, selector: {gateway.networking.k8s.io/gateway-name: w}, ports: [{port: 15008}]}
`;
  const user = serviceText('web', '10.96.0.1', 'istio.io/use-waypoint: w');
  const byService = compileText(documents(gateway('w'), own, waypointPod, user));
  t.match(byService.gateways.get('default/w'), {
    service: key('w'),
    hasEndpoints: true,
    identities: ['spiffe://cluster.local/ns/default/sa/w'],
  });
  t.match(byService.services.get(key('w')), { addresses: [{ ip: '10.96.0.9' }], waypoint: undefined });
  const byPods = compileText(documents(gateway('w'), waypointPod, user));
  t.match(byPods.gateways.get('default/w'), { service: key('w'), hasEndpoints: true });
  t.match(byPods.services.get(key('w')), { addresses: [] });
  t.ok(byPods.workloads.get('Kubernetes//Pod/default/wp')?.services.has(key('w')));
  const addressed = gateway('w', '', '', 'example').replace('spec:', 'spec:\n  addresses: [{value: 192.0.2.7}]');
  t.match(compileText(documents(addressed, user)).services.get(key('web'))?.waypoint, {
    kind: 'address',
    ip: '192.0.2.7',
    hbonePort: 15008,
  });
});

t.test('a waypoint that is missing or closed to the namespace is refused, not bypassed', async (t) => {
  const user = (labels: string) => serviceText('web', '10.96.0.1', labels);
  const missing = compileText(user('istio.io/use-waypoint: w'));
  t.equal(bound(missing).service, key('w'));
  t.notOk(missing.services.has(key('w')), 'nothing stands for it');
  t.same(codesOf(missing), ['WAYPOINT_UNKNOWN 4']);
  const labels = 'istio.io/use-waypoint: w, istio.io/use-waypoint-namespace: infra';
  const closed = compileText(documents(gateway('w', '', '', 'istio-waypoint', 'infra'), user(labels)));
  t.match(bound(closed).service, /denied/);
  t.ok(codesOf(closed).some((code) => code.startsWith('WAYPOINT_DENIED')));
  const open = gateway('w', ', allowedRoutes: {namespaces: {from: All}}', '', 'istio-waypoint', 'infra');
  t.equal(bound(compileText(documents(open, user(labels)))).service, 'infra/w.infra.svc.cluster.local');
});

t.test('an object may opt out of waiting for its waypoint', async (t) => {
  const user = serviceText('web', '10.96.0.1', 'istio.io/use-waypoint: w').replace(
    'labels:',
    'annotations: {ambit.io/absent-waypoint: bypass}, labels:',
  );
  t.equal(bound(compileText(user)).service, undefined);
  t.equal(bound(compileText(documents(gateway('w'), user))).service, undefined);
  const pod = podText('wp', '10.0.0.9', { labels: 'gateway.networking.k8s.io/gateway-name: w' });
  t.equal(bound(compileText(documents(gateway('w'), pod, user))).service, key('w'), 'used once it is there');
});

t.test('a Gateway that is no waypoint is left alone', async (t) => {
  const ingress = gateway('in', '', '', 'istio').replace('HBONE', 'HTTP');
  const compilation = compileText(ingress);
  t.equal(compilation.gateways.size, 0);
  t.same(codesOf(compilation), ['GATEWAY_IGNORED 6']);
});
