import t from 'tap';
import { codesOf, compileText, documents, podText, serviceText } from '../../support/compile-text.ts';

const ambient = (labels = 'istio.io/dataplane-mode: ambient') => `
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {${labels}}}
`;

function workload(text: string, name: string) {
  const found = compileText(text).workloads.get(`Kubernetes//Pod/default/${name}`);
  if (found === undefined) throw new Error(`no workload ${name}`);
  return found;
}

t.test('a pod is in the mesh by its namespace’s label, unless its own says otherwise', async (t) => {
  const tunnel = (namespaceLabels: string, podLabels: string) =>
    workload(documents(ambient(namespaceLabels), podText('a', '10.0.0.1', { labels: podLabels })), 'a').tunnelProtocol;
  t.equal(tunnel('istio.io/dataplane-mode: ambient', 'app: a'), 'hbone');
  t.equal(tunnel('', 'app: a'), 'none');
  t.equal(tunnel('istio.io/dataplane-mode: ambient', 'istio.io/dataplane-mode: none'), 'none');
  t.equal(tunnel('', 'istio.io/dataplane-mode: ambient'), 'hbone');
  t.equal(tunnel('istio.io/dataplane-mode: ambient', 'ambient-type: waypoint'), 'none');
  t.equal(tunnel('istio.io/dataplane-mode: ambient', 'ambient-type: none'), 'none');
  t.equal(tunnel('istio.io/dataplane-mode: ambient', 'gateway.networking.k8s.io/gateway-name: w'), 'none');
});

t.test('a pod with a tunnel of its own is spoken to in HBONE directly', async (t) => {
  const native = workload(podText('a', '10.0.0.1', { labels: 'networking.istio.io/tunnel: http' }), 'a');
  t.match(native, { tunnelProtocol: 'hbone', nativeTunnel: true });
});

t.test('what the cluster says of capture wins over labels', async (t) => {
  const annotated = (value: string) =>
    workload(
      documents(
        ambient(),
        podText('a', '10.0.0.1').replace('labels:', `annotations: {ambient.istio.io/redirection: ${value}}, labels:`),
      ),
      'a',
    ).tunnelProtocol;
  t.equal(annotated('enabled'), 'hbone');
  t.equal(annotated('disabled'), 'none');
});

t.test('a pod carries its identity, node, names and Services', async (t) => {
  const text = documents(
    ambient(),
    serviceText('web', '10.96.0.1'),
    podText('web', '10.0.0.1', { account: 'web-sa', labels: 'app: web, version: v2' }),
  );
  t.match(workload(text, 'web'), {
    identity: 'spiffe://cluster.local/ns/default/sa/web-sa',
    node: 'node-a',
    addresses: ['10.0.0.1'],
    canonicalName: 'web',
    canonicalRevision: 'v2',
    workloadName: 'web',
    healthy: true,
    services: new Map([['default/web.default.svc.cluster.local', new Map([[80, 8080]])]]),
  });
});

t.test('a pod of a Deployment is named after the Deployment', async (t) => {
  const text = podText('web-5d8-x', '10.0.0.1', { labels: 'pod-template-hash: 5d8' }).replace(
    'labels:',
    'ownerReferences: [{kind: ReplicaSet, name: web-5d8, controller: true}], labels:',
  );
  t.match(workload(text, 'web-5d8-x'), { workloadName: 'web', workloadType: 'deployment' });
});

t.test('pods that are over or have no address are no workloads; those not ready are unhealthy', async (t) => {
  const withStatus = (name: string, status: string) =>
    podText(name, '10.0.0.1').replace(/status: .*/, `status: {${status}}`);
  const compilation = compileText(
    documents(
      withStatus('over', 'podIP: 10.0.0.1, phase: Succeeded'),
      withStatus('new', 'phase: Pending'),
      withStatus('sick', 'podIP: 10.0.0.2, phase: Running, conditions: [{type: Ready, status: "False"}]'),
      withStatus('starting', 'podIP: 10.0.0.3, phase: Pending'),
      withStatus('dual', 'podIPs: [{ip: 10.0.0.4}, {ip: "FD00:0::1"}]'),
    ),
  );
  t.same(
    [...compilation.workloads.values()].map(({ name, healthy, addresses }) => [name, healthy, addresses]),
    [
      ['sick', false, ['10.0.0.2']],
      ['starting', false, ['10.0.0.3']],
      ['dual', true, ['10.0.0.4', 'fd00::1']],
    ],
  );
  t.same(codesOf(compilation), ['POD_WITHOUT_ADDRESS 12']);
});

t.test('a named target port is looked up in each pod', async (t) => {
  const text = documents(
    serviceText('web', '10.96.0.1').replace('targetPort: 8080', 'targetPort: main'),
    podText('a', '10.0.0.1', { labels: 'app: web' }).replace(
      'spec: {',
      'spec: {containers: [{ports: [{name: main, containerPort: 3000}]}], ',
    ),
    podText('b', '10.0.0.2', { labels: 'app: web' }),
  );
  const key = 'default/web.default.svc.cluster.local';
  t.equal(compileText(text).services.get(key)?.ports.get(80)?.targetPort, 0);
  t.same(workload(text, 'a').services.get(key), new Map([[80, 3000]]));
  t.same(workload(text, 'b').services.get(key), new Map(), 'a pod without that port does not serve it');
});

t.test('a Service without a selector has the endpoints of its slices, pods or not', async (t) => {
  const slice = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8081}]
endpoints: [{addresses: [10.0.0.1]}, {addresses: [192.0.2.1], conditions: {ready: false}}]
`;
  const text = documents(
    serviceText('web', '10.96.0.1').replace('selector: {app: web}, ', ''),
    slice,
    podText('a', '10.0.0.1'),
  );
  const { workloads } = compileText(text);
  const services = new Map([['default/web.default.svc.cluster.local', new Map([[80, 8081]])]]);
  t.same(workloads.get('Kubernetes//Pod/default/a')?.services, services);
  const outside = workloads.get('Kubernetes/discovery.k8s.io/EndpointSlice/default/web-1/192.0.2.1');
  t.match(outside, { networkMode: 'host', tunnelProtocol: 'none', healthy: false, services });
});

t.test('a Service’s addresses, families, protocols and balancing are read', async (t) => {
  const { services, diagnostics } = compileText(`
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  clusterIPs: [10.96.0.1, "fd00:96::1"]
  ipFamilies: [IPv4, IPv6]
  trafficDistribution: PreferClose
  publishNotReadyAddresses: true
  ports:
    - {name: grpc-api, port: 1}
    - {name: x, port: 2, appProtocol: kubernetes.io/h2c}
    - {name: x2, port: 3}
    - {name: dns, port: 53, protocol: UDP}
`);
  const service = services.get('default/web.default.svc.cluster.local');
  t.match(service, {
    addresses: [
      { network: '', ip: '10.96.0.1' },
      { network: '', ip: 'fd00:96::1' },
    ],
    ipFamilies: 'dual',
    loadBalancing: { mode: 'failover', preferences: ['network', 'region', 'zone'], allowUnhealthy: true },
  });
  t.same(
    [...(service?.ports.values() ?? [])].map(({ servicePort, appProtocol }) => [servicePort, appProtocol]),
    [
      [1, 'grpc'],
      [2, 'http2'],
      [3, 'unknown'],
    ],
  );
  t.match(diagnostics, [{ code: 'SERVICE_PORT_NOT_TCP', position: { line: 14 } }]);
});

t.test('headless Services have no address and ExternalName ones are not there', async (t) => {
  const { services } = compileText(
    documents(
      serviceText('web', 'None'),
      `
apiVersion: v1
kind: Service
metadata: {name: away}
spec: {type: ExternalName, externalName: example.com}
`,
    ),
  );
  t.same(
    [...services.values()].map(({ name, addresses }) => [name, addresses]),
    [['web', []]],
  );
});

t.test('a broken object is reported at its place and costs only itself', async (t) => {
  const compilation = compileText(
    documents(
      podText('a', '10.0.0.1'),
      podText('b', 'not-an-ip'),
      podText('c', '10.0.0.3', { account: '"A/B"' }),
      podText('a', '10.0.0.4'),
      `
apiVersion: example.com/v1
kind: Odd
metadata: {name: x}
---
apiVersion: example.com/v1
kind: Odd
metadata: {name: y}
`,
    ),
  );
  t.same(
    [...compilation.workloads.values()].map(({ name, addresses }) => [name, addresses]),
    [['a', ['10.0.0.1']]],
  );
  t.same(codesOf(compilation), ['OBJECT_INVALID 12', 'OBJECT_INVALID 17', 'OBJECT_DUPLICATE 20', 'KIND_IGNORED 26']);
});

t.test('a pod is where its node is, or where its label says', async (t) => {
  const node = (name: string, labels: string) => `
apiVersion: v1
kind: Node
metadata: {name: ${name}, labels: {${labels}}}
`;
  const at = (labels: string, pod = 'app: a') => {
    const text = documents(node('node-a', labels), podText('a', '10.0.0.1', { labels: pod }));
    return compileText(text).workloads.get('Kubernetes//Pod/default/a');
  };
  const known = 'topology.kubernetes.io/region: r1, topology.kubernetes.io/zone: z1, topology.istio.io/subzone: s1';
  t.same(at(known)?.locality, { region: 'r1', zone: 'z1', subzone: 's1' });
  t.same(at('failure-domain.beta.kubernetes.io/region: r2')?.locality, { region: 'r2', zone: '', subzone: '' });
  t.equal(at('other: x')?.locality, undefined);
  t.same(at(known, 'istio-locality: r7.z7')?.locality, { region: 'r7', zone: 'z7', subzone: '' });
  t.same(at(known, 'istio-locality: r7/z7/s7')?.locality, { region: 'r7', zone: 'z7', subzone: 's7' });
  t.same(at(known, 'app: a, tier: b')?.labels, { app: 'a', tier: 'b' });
});
