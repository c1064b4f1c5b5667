import t from 'tap';
import { readConfigFile } from '../../../src/xds/config-file.ts';

const everyKey = `
workloads:
  - uid: c1//Pod/shop/cart-1
    name: cart-1
    namespace: shop
    workloadIps: ["10.9.0.2", "FD00:0::2"]
    services:
      shop/cart.shop.svc.cluster.local: {80: 8080}
    serviceAccount: cart
    trustDomain: cluster.local
    network: ""
    protocol: HBONE
    networkMode: Standard
    waypoint: {destination: "/10.9.0.9", hboneMtlsPort: 15008}
    networkGateway: {destination: "remote/192.0.2.9", hboneMtlsPort: 15008}
    workloadName: cart
    workloadType: deployment
    canonicalName: cart
    canonicalRevision: v1
    hostname: ""
    node: node-a
    nativeTunnel: false
    applicationTunnel: {protocol: PROXY, port: 15088}
    authorizationPolicies: ["shop/only-web"]
    status: Unhealthy
    clusterId: Kubernetes
    locality: {region: r1, zone: z1, subzone: s1}
    capacity: 3
services:
  - name: cart
    namespace: shop
    hostname: cart.shop.svc.cluster.local
    vips: ["/10.96.0.5"]
    cidrVips: [{network: "", cidr: 10.200.0.0/16}]
    ports: {80: 8080}
    endpoints:
      x: {workloadUid: c1//Pod/shop/cart-1, port: {81: 8081}}
    subjectAltNames: ["spiffe://cluster.local/ns/shop/sa/cart"]
    waypoint: {destination: shop/wp.shop.svc.cluster.local, hboneMtlsPort: 15008}
    weightedWaypoints: [{destination: {destination: "/10.9.0.9", hboneMtlsPort: 15008}, weight: 1}]
    loadBalancer: {routingPreferences: [Zone], mode: Failover, healthPolicy: AllowAll}
    ipFamilies: Dual
    canonical: true
    visibility: Namespace
policies:
  - name: only-web
    namespace: shop
    scope: WorkloadSelector
    action: Allow
    dryRun: false
    rules:
      - - - principals: [!Exact cluster.local/ns/shop/sa/web]
            notNamespaces: [!Prefix bad-, !Suffix -x, !Presence []]
            serviceAccounts: [{namespace: shop, serviceAccount: web}]
            sourceIps: [10.0.0.0/8]
            destinationPorts: [8080]
`;

t.test('every key of ztunnel’s local file is read', async (t) => {
  const { models, diagnostics } = readConfigFile(everyKey, 'local.yaml', undefined);
  t.same(diagnostics, []);
  const [model] = models;
  t.match(model?.workloads.get('c1//Pod/shop/cart-1'), {
    addresses: ['10.9.0.2', 'fd00::2'],
    identity: 'spiffe://cluster.local/ns/shop/sa/cart',
    tunnelProtocol: 'hbone',
    waypoint: { kind: 'address', network: '', ip: '10.9.0.9', hbonePort: 15008 },
    networkGateway: { kind: 'address', network: 'remote', ip: '192.0.2.9' },
    applicationTunnel: { protocol: 'proxy', port: 15088 },
    healthy: false,
    locality: { region: 'r1', zone: 'z1', subzone: 's1' },
    capacity: 3,
  });
  t.match(model?.services.get('shop/cart.shop.svc.cluster.local'), {
    addresses: [{ network: '', ip: '10.96.0.5' }],
    cidrs: [{ network: '', cidr: { text: '10.200.0.0/16' } }],
    ports: new Map([[80, { targetPort: 8080 }]]),
    waypoint: { kind: 'hostname', service: 'shop/wp.shop.svc.cluster.local' },
    loadBalancing: { mode: 'failover', preferences: ['zone'], allowUnhealthy: true },
    ipFamilies: 'dual',
    visibility: 'namespace',
  });
  t.match(model?.policies.get('shop/only-web')?.rules, [
    [
      [
        {
          principals: [{ kind: 'exact', value: 'cluster.local/ns/shop/sa/web' }],
          notNamespaces: [{ kind: 'prefix', value: 'bad-' }, { kind: 'suffix', value: '-x' }, { kind: 'presence' }],
          sourceIps: [{ text: '10.0.0.0/8' }],
          destinationPorts: [8080],
        },
      ],
    ],
  ]);
});

t.test('an unknown key is an error at its place, and nothing of the file is used', async (t) => {
  const { models, diagnostics } = readConfigFile(
    'workloads:\n- {name: a, namespace: b, workloadIPs: []}\n',
    'l.yaml',
    undefined,
  );
  t.same(models, []);
  t.match(diagnostics, [{ code: 'LOCAL_INVALID', position: { file: 'l.yaml', line: 2 } }]);
});

t.test('values of a wrong form are errors', async (t) => {
  for (const text of [
    'workloads: [{name: a, namespace: b, workloadIps: [x]}]',
    'workloads: [{name: a, namespace: b, waypoint: {destination: nowhere, hboneMtlsPort: 1}}]',
    'workloads: [{name: a, namespace: "b/c"}]',
    'services: [{name: a, namespace: b, hostname: h, ports: {x: 1}}]',
    'policies: [{name: a, namespace: b, scope: Global, action: Maybe, rules: []}]',
  ]) {
    t.equal(readConfigFile(text, 'l.yaml', undefined).diagnostics[0]?.code, 'LOCAL_INVALID', text);
  }
});

t.test('a record that is there twice is reported and the first is used', async (t) => {
  const { models, diagnostics } = readConfigFile(
    'workloads: [{uid: u, name: a, namespace: b}, {uid: u, name: c, namespace: b}]',
    'l.yaml',
    undefined,
  );
  t.equal(models[0]?.workloads.get('u')?.name, 'a');
  t.match(diagnostics, [{ code: 'LOCAL_DUPLICATE' }]);
});
