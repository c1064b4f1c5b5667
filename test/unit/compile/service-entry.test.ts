/** ServiceEntries: hosts, addresses, endpoints, and what may be bound to a waypoint. */
import t from 'tap';
import { ambientDefault, codesOf, compileText, documents, podText, serviceText } from '../../support/compile-text.ts';

const egressGateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: egress, namespace: default, labels: {istio.io/waypoint-for: service}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;
const gatewayPod = podText('egress-0', '10.0.0.9', { labels: 'gateway.networking.k8s.io/gateway-name: egress' });

function entryText(name: string, spec: string, metadata = ''): string {
  return `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: default${metadata}}
spec: ${spec}
`;
}

const bound = ', labels: {istio.io/use-waypoint: egress}';
const apiPorts = 'ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}]';
const api = entryText('api', `{hosts: [api.example.com], resolution: DNS, ${apiPorts}}`, bound);

t.test('each host is a service, looked up by itself where nothing else is said', async (t) => {
  const compilation = compileText(documents(ambientDefault, egressGateway, gatewayPod, api));
  t.strictSame(codesOf(compilation), []);
  const service = compilation.services.get('default/api.example.com');
  t.match(service, {
    hostname: 'api.example.com',
    name: 'api',
    canonical: false,
    waypoint: { kind: 'hostname', service: 'default/egress.default.svc.cluster.local' },
  });
  t.match(service?.addresses[0]?.ip, /^240\.240\.\d+\.\d+$/);
  t.match(service?.ports.get(80), { appProtocol: 'http11', targetPort: 443 });
  const [endpoint] = [...compilation.workloads.values()].filter(({ hostname }) => hostname === 'api.example.com');
  t.match(endpoint, { addresses: [], tunnelProtocol: 'none' });
  t.same(endpoint?.services.get('default/api.example.com')?.get(80), 443);
  t.strictSame(compilation.l7.egress.get('default/api.example.com'), {
    resolution: 'dns',
    external: true,
    host: 'api.example.com',
    serverNames: [],
  });
});

t.test('an address given to a name stays when other entries come', async (t) => {
  const more = Array.from({ length: 300 }, (_, i) => `h${i}.example.org`).join(', ');
  const other = entryText('many', `{hosts: [${more}], resolution: DNS, ${apiPorts}}`);
  const alone = compileText(documents(api)).services;
  const together = compileText(documents(other, api)).services;
  t.same(together.get('default/api.example.com')?.addresses, alone.get('default/api.example.com')?.addresses);
  const given = [...together.values()].flatMap(({ addresses }) => addresses.map(({ ip }) => ip));
  t.equal(new Set(given).size, 301, 'no two have one');
});

t.test('addresses that were written, or that istiod gave, are used', async (t) => {
  const written = entryText(
    'w',
    `{hosts: [w.example.com], resolution: DNS, addresses: [240.1.1.1, 10.9.0.0/16], ${apiPorts}}`,
  );
  const given = `${entryText('g', `{hosts: [g.example.com], resolution: DNS, ${apiPorts}}`)}status: {addresses: [{value: 240.240.7.7}, {value: "2001:2::7"}]}`;
  const { services } = compileText(documents(written, given));
  t.match(services.get('default/w.example.com'), {
    addresses: [{ ip: '240.1.1.1' }],
    cidrs: [{ cidr: { prefix: 16 } }],
  });
  t.match(services.get('default/g.example.com')?.addresses, [{ ip: '240.240.7.7' }, { ip: '2001:2::7' }]);
});

t.test('endpoints: addresses with ports of their own, selected pods and machines', async (t) => {
  const db = entryText(
    'db',
    `{hosts: [db.internal], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 5432, name: tcp, protocol: TCP}],
      endpoints: [{address: 192.0.2.7, ports: {tcp: 6432}, weight: 3, locality: eu/a}]}`,
  );
  const mixed = entryText(
    'mixed',
    '{hosts: [mixed.internal], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], workloadSelector: {labels: {app: mixed}}}',
  );
  const machine = `
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: default}
spec: {address: 192.0.2.9, labels: {app: mixed}, serviceAccount: vm}
`;
  const pod = podText('mixed-0', '10.0.0.5', { labels: 'app: mixed' });
  const { workloads } = compileText(documents(ambientDefault, db, mixed, machine, pod));
  const of = (key: string) => [...workloads.values()].filter(({ services }) => services.has(key));
  t.match(of('default/db.internal'), [
    { addresses: ['192.0.2.7'], capacity: 3, locality: { region: 'eu', zone: 'a' } },
  ]);
  t.same(of('default/db.internal')[0]?.services.get('default/db.internal')?.get(5432), 6432);
  t.match(
    of('default/mixed.internal')
      .map(({ name }) => name)
      .sort(),
    ['mixed-0', 'vm'],
  );
});

t.test('a wildcard is served by dynamic resolution alone', async (t) => {
  const wild = entryText('wild', `{hosts: ["*.example.com"], resolution: DYNAMIC_DNS, ${apiPorts}}`, bound);
  const compilation = compileText(documents(ambientDefault, egressGateway, gatewayPod, wild));
  t.strictSame(codesOf(compilation), []);
  t.match(compilation.services.get('default/*.example.com'), { waypoint: { kind: 'hostname' } });
  t.match(compilation.l7.egress.get('default/*.example.com'), { resolution: 'dynamic-dns', host: '*.example.com' });
  t.strictSame(codesOf(compileText(entryText('bad', `{hosts: ["*.example.com"], resolution: DNS, ${apiPorts}}`))), [
    'OBJECT_INVALID 5',
  ]);
});

t.test(
  'resolution NONE cannot be bound to a waypoint: what asks for it is refused, what inherits it is left out',
  async (t) => {
    const none = (metadata: string) =>
      entryText('none', `{hosts: [none.example.com], addresses: [240.1.1.9], ${apiPorts}}`, metadata);
    const asked = compileText(documents(ambientDefault, egressGateway, gatewayPod, none(bound)));
    t.match(codesOf(asked).join(), /^SERVICE_ENTRY_UNBINDABLE/);
    t.match(asked.services.get('default/none.example.com'), {
      waypoint: { kind: 'hostname', service: /unbindable/ },
      loadBalancing: { mode: 'passthrough' },
    });
    const namespace = ambientDefault.replace('ambient}', 'ambient, istio.io/use-waypoint: egress}');
    const inherited = compileText(documents(namespace, egressGateway, gatewayPod, none('')));
    t.equal(inherited.services.get('default/none.example.com')?.waypoint, undefined);
  },
);

t.test('routes and policies name entries by their object, backends and VirtualServices by host', async (t) => {
  const route = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: default}
spec:
  parentRefs: [{group: networking.istio.io, kind: ServiceEntry, name: api}]
  rules: [{backendRefs: [{group: networking.istio.io, kind: Hostname, name: api.example.com, port: 80}]}]
`;
  const policy = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec: {targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: api}], rules: [{to: [{operation: {methods: [GET]}}]}]}
`;
  const compilation = compileText(documents(ambientDefault, egressGateway, gatewayPod, api, route, policy));
  t.strictSame(codesOf(compilation), []);
  t.match(compilation.l7.ports.get('default/api.example.com:80')?.routes[0]?.action, {
    kind: 'forward',
    backends: [{ service: 'default/api.example.com', port: 80 }],
  });
  t.equal(compilation.l7.servicePolicies.get('default/api.example.com')?.length, 1);
  const virtual = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: default}
spec: {hosts: [api.example.com], http: [{timeout: 3s, route: [{destination: {host: api.example.com}}]}]}
`;
  const routed = compileText(documents(ambientDefault, egressGateway, gatewayPod, api, virtual));
  t.strictSame(codesOf(routed), []);
  t.match(routed.l7.ports.get('default/api.example.com:80')?.routes[0], { timeoutMs: 3000 });
});

t.test('an entry of somebody else does not take the name of a Service', async (t) => {
  const foreign = entryText(
    'evil',
    '{hosts: [web.default.svc.cluster.local], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 192.0.2.66}]}',
  ).replace('namespace: default', 'namespace: evil');
  const web = serviceText('web', '10.96.0.1', 'istio.io/use-waypoint: egress');
  const virtual = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: default}
spec: {hosts: [web], http: [{route: [{destination: {host: web.default.svc.cluster.local}}]}]}
`;
  const { l7 } = compileText(documents(ambientDefault, egressGateway, gatewayPod, web, foreign, virtual));
  t.match(l7.ports.get('default/web.default.svc.cluster.local:80')?.routes[0]?.action, {
    backends: [{ service: 'default/web.default.svc.cluster.local' }],
  });
  t.notOk(l7.ports.has('evil/web.default.svc.cluster.local:80'));
});

t.test('names of the server that the entry lists are kept for TLS', async (t) => {
  const named = entryText(
    'n',
    `{hosts: [n.example.com], resolution: DNS, subjectAltNames: [cert.example.com], ${apiPorts}}`,
  );
  t.match(compileText(named).l7.egress.get('default/n.example.com'), { serverNames: ['cert.example.com'] });
});
