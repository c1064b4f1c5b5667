import t from 'tap';
import type { Compilation } from '../../../src/compile/compile.ts';
import { diffMesh, emptyMeshModel } from '../../../src/mesh/diff.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { evaluateL4, failClosed } from '../../../src/policy/l4.ts';
import { ambientDefault, codesOf, compileText, documents, podText, serviceText } from '../../support/compile-text.ts';

const policy = (spec: string, name = 'p', namespace = 'default', annotations = '') => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: ${namespace}, annotations: {${annotations}}}
spec: ${spec}
`;

const peer = (spec: string, name = 'default', namespace = 'default') => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: ${name}, namespace: ${namespace}}
spec: ${spec}
`;

const meshGateway = `
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: Gateway
metadata: {name: g, namespace: default, annotations: {istio.io/service-account: web}}
spec: {gatewayClassName: istio-mesh}
`;

const web = podText('web', '10.0.0.1', { account: 'web' });
const mesh = documents(ambientDefault, web);

/** What ztunnel would say to a peer at the pod `web`. */
function verdict(compilation: Compilation, peerId: string | undefined, port = 8080): string {
  const store = new MeshStore();
  store.apply(diffMesh(emptyMeshModel, compilation));
  const workload = store.workload('Kubernetes//Pod/default/web');
  if (workload === undefined) throw new Error('no workload web');
  const connection = { peer: peerId, sourceIp: '10.0.0.2', destinationIp: '10.0.0.1', destinationPort: port };
  return evaluateL4(connection, store.policiesFor(workload), failClosed).kind;
}

const sleep = 'spiffe://cluster.local/ns/default/sa/sleep';
const other = 'spiffe://cluster.local/ns/default/sa/other';

t.test('scope follows selector and namespace', async (t) => {
  const rule = '{rules: [{from: [{source: {namespaces: [a]}}]}]}';
  const compilation = compileText(
    documents(
      mesh,
      policy(rule, 'wide'),
      policy(rule, 'mesh', 'istio-system'),
      policy('{selector: {matchLabels: {app: web}}, action: DENY}', 'own'),
      policy('{action: AUDIT, rules: [{}]}', 'audit'),
    ),
  );
  t.same(
    [...compilation.policies.values()].map(({ key, scope, action }) => [key, scope, action]),
    [
      ['default/own', 'workload', 'deny'],
      ['default/wide', 'namespace', 'allow'],
      ['istio-system/mesh', 'global', 'allow'],
    ],
  );
  t.same(compilation.workloads.get('Kubernetes//Pod/default/web')?.authorizationPolicies, ['default/own']);
});

t.test('the forms of a source become conditions, from and when apart', async (t) => {
  const { policies } = compileText(
    documents(
      mesh,
      policy(`
  rules:
    - from:
        - source: {principals: ["*"], notNamespaces: ["dev-*"], ipBlocks: [10.0.0.0/8]}
        - source: {serviceAccounts: [sleep, other/x], notPrincipals: ["*/sa/evil"]}
      to: [{operation: {ports: ["8080"], notPorts: [9]}}]
      when: [{key: destination.ip, notValues: [10.0.0.1]}]
`),
    ),
  );
  t.match(policies.get('default/p')?.rules, [
    [
      [
        {
          principals: [{ kind: 'presence' }],
          notNamespaces: [{ kind: 'prefix', value: 'dev-' }],
          sourceIps: [{ text: '10.0.0.0/8' }],
        },
        {
          serviceAccounts: [
            { namespace: 'default', serviceAccount: 'sleep' },
            { namespace: 'other', serviceAccount: 'x' },
          ],
          notPrincipals: [{ kind: 'suffix', value: '/sa/evil' }],
        },
      ],
      [{ destinationPorts: [8080], notDestinationPorts: [9] }],
      [{ notDestinationIps: [{ text: '10.0.0.1/32' }] }],
    ],
  ]);
});

t.test('without a waypoint an ALLOW rule with L7 fields is dropped and a DENY rule denies more', async (t) => {
  const both =
    'rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/sleep]}}], to: [{operation: {methods: [GET]}}]}]';
  const allow = compileText(documents(mesh, policy(`{${both}}`)));
  t.same(codesOf(allow), ['POLICY_L7_AT_ZTUNNEL 15']);
  t.equal(verdict(allow, sleep), 'deny');
  const deny = compileText(documents(mesh, policy(`{action: DENY, ${both}}`)));
  t.equal(verdict(deny, sleep), 'deny', 'any method');
  t.equal(verdict(deny, other), 'allow');
  const onlyL7 = compileText(
    documents(mesh, policy('{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}')),
  );
  t.equal(verdict(onlyL7, other), 'deny');
});

t.test('what cannot be read or decided never opens anything', async (t) => {
  const cases: readonly (readonly [spec: string, code: string])[] = [
    ['{rules: [{from: [{source: {principles: [x]}}]}]}', 'POLICY_RULE_INVALID'],
    ['{rules: [{from: [{source: {}}]}]}', 'POLICY_RULE_INVALID'],
    ['{rules: [{from: [{source: {ipBlocks: [10.0.0.300]}}]}]}', 'POLICY_RULE_INVALID'],
    ['{rules: [{to: [{operation: {ports: [http]}}]}]}', 'POLICY_RULE_INVALID'],
    ['{rules: [{when: [{key: "request.auth.claims", values: [x]}]}]}', 'POLICY_RULE_INVALID'],
    ['{rules: [{when: [{key: "request.auth.claims[a]", values: [x]}]}]}', 'POLICY_L7_AT_ZTUNNEL'],
    ['{rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]}', 'POLICY_L7_AT_ZTUNNEL'],
    ['{selector: {matchExpressions: []}}', 'OBJECT_INVALID'],
    ['{acton: DENY}', 'OBJECT_INVALID'],
  ];
  for (const [spec, code] of cases) {
    const compilation = compileText(documents(mesh, policy(spec)));
    t.match(codesOf(compilation)[0] ?? '', new RegExp(`^${code} `), spec);
    t.equal(verdict(compilation, sleep), 'deny', spec);
    if (code === 'OBJECT_INVALID') continue;
    t.equal(verdict(compileText(documents(mesh, policy(spec.replace('{', '{action: DENY, ')))), sleep), 'deny', spec);
  }
});

t.test('a DENY rule loses only the condition that cannot be decided', async (t) => {
  const spec =
    '{action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/sleep], requestPrincipals: [x]}}]}]}';
  const compilation = compileText(documents(mesh, policy(spec)));
  t.equal(verdict(compilation, sleep), 'deny');
  t.equal(verdict(compilation, other), 'allow');
});

t.test('CUSTOM denies what its rules match, and says so', async (t) => {
  const compilation = compileText(
    documents(mesh, policy('{action: CUSTOM, provider: {name: x}, rules: [{to: [{operation: {ports: ["8080"]}}]}]}')),
  );
  t.same(codesOf(compilation), ['POLICY_UNSUPPORTED 15']);
  t.equal(verdict(compilation, sleep), 'deny');
  t.equal(verdict(compilation, sleep, 9090), 'allow');
});

t.test('behind the preview’s waypoint a pod admits that waypoint alone, and the rules go there', async (t) => {
  const get = '{selector: {matchLabels: {app: web}}, rules: [{to: [{operation: {methods: [GET]}}]}]}';
  const compilation = compileText(documents(mesh, meshGateway, policy(get)), 'legacy');
  t.equal(verdict(compilation, 'spiffe://cluster.local/ns/default/sa/web'), 'allow');
  t.equal(verdict(compilation, sleep), 'deny');
  t.equal(verdict(compilation, undefined), 'deny');
  const modern = compileText(documents(mesh, meshGateway, policy(get)), 'modern');
  t.same(modern.policies, compilation.policies, 'under either preset');
  t.same([...modern.l7.workloadPolicies.keys()], ['Kubernetes//Pod/default/web']);
  t.match(compilation.l7.workloadPolicies.get('Kubernetes//Pod/default/web'), [
    { action: 'allow', rules: [{ clauses: [[[{ kind: 'method', values: [{ kind: 'exact', value: 'GET' }] }]]] }] },
  ]);
  t.notOk(codesOf(compilation).some((code) => code.startsWith('POLICY')));
  const without = compileText(documents(mesh, meshGateway), 'legacy');
  t.equal(verdict(without, sleep), 'allow', 'once policies exist');
  const wide = compileText(documents(mesh, meshGateway, policy('{action: DENY, rules: [{}]}', 'all')), 'legacy');
  t.equal(verdict(wide, 'spiffe://cluster.local/ns/default/sa/web'), 'allow', 'also under a policy of the namespace');
});

t.test('policies with targets go to the waypoint and not to ztunnel', async (t) => {
  const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: w, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;
  const target = (kind: string, name: string) => `{targetRefs: [{kind: ${kind}, name: ${name}}], rules: [{}]}`;
  const compilation = compileText(
    documents(
      mesh,
      gateway,
      serviceText('web', '10.96.0.1', 'istio.io/use-waypoint: w'),
      serviceText('bare', '10.96.0.2'),
      policy(target('Service', 'web'), 'a'),
      policy(target('Gateway', 'w'), 'b'),
      policy(target('GatewayClass', 'istio-waypoint'), 'c', 'istio-system'),
      policy(target('Service', 'bare'), 'd'),
      policy(target('Service', 'nobody'), 'e'),
      policy(target('Pod', 'web'), 'f'),
    ),
  );
  t.equal(compilation.policies.size, 0);
  const names = (list: readonly { readonly source: { readonly name: string } }[] | undefined) =>
    list?.map(({ source }) => source.name);
  t.same(names(compilation.l7.servicePolicies.get('default/web.default.svc.cluster.local')), ['a']);
  t.same(names(compilation.l7.gatewayPolicies.get('default/w')), ['b', 'c']);
  const codes = codesOf(compilation).map((code) => code.split(' ')[0]);
  t.same(codes.slice(1), ['POLICY_TARGET_WITHOUT_WAYPOINT', 'POLICY_UNKNOWN_TARGET', 'POLICY_UNKNOWN_TARGET']);
});

t.test('path templates, hosts and headers become text matches', async (t) => {
  const spec = `{targetRefs: [{kind: Service, name: web}], rules: [{to: [{operation: {paths: ["/a/{*}/b.c", "/x/{**}", "/p*"], hosts: [Example.com]}}], when: [{key: "request.headers[X-User]", values: ["*"]}]}]}`;
  const compilation = compileText(documents(serviceText('web', '10.96.0.1'), policy(spec)));
  const [found] = compilation.l7.servicePolicies.get('default/web.default.svc.cluster.local') ?? [];
  const [operation, header] = found?.rules[0]?.clauses ?? [];
  const host = operation?.[0]?.find(({ kind }) => kind === 'host');
  const path = operation?.[0]?.find(({ kind }) => kind === 'path');
  t.match(host?.values, [{ kind: 'exact', value: 'Example.com', ignoreCase: true }]);
  t.match(header, [[{ kind: 'header', name: 'x-user', values: [{ kind: 'presence' }] }]]);
  if (path?.kind !== 'path') throw new Error('no path condition');
  const [one, any, prefix] = path.values;
  t.match(prefix, { kind: 'prefix', value: '/p' });
  if (one?.kind !== 'regex' || any?.kind !== 'regex') throw new Error('no templates');
  t.same(['/a/x/b.c', '/a/x/y/b.c', '/a/x/bxc'].map(one.test), [true, false, false]);
  t.same(['/x/', '/x/1/2', '/y/1'].map(any.test), [true, true, false]);
});

t.test('STRICT turns plaintext away, for mesh, namespace or pod, the nearest setting winning', async (t) => {
  const plaintext = (...peers: readonly string[]) => verdict(compileText(documents(mesh, ...peers)), undefined);
  const root = (mode: string) => peer(`{mtls: {mode: ${mode}}}`, 'default', 'istio-system');
  const namespace = (mode: string) => peer(`{mtls: {mode: ${mode}}}`);
  const own = (mode: string) => peer(`{selector: {matchLabels: {app: web}}, mtls: {mode: ${mode}}}`, 'own');
  t.equal(plaintext(), 'allow');
  t.equal(plaintext(root('STRICT')), 'deny');
  t.equal(plaintext(root('STRICT'), namespace('PERMISSIVE')), 'allow');
  t.equal(plaintext(root('STRICT'), namespace('UNSET')), 'deny');
  t.equal(plaintext(namespace('STRICT'), own('DISABLE')), 'allow');
  t.equal(plaintext(namespace('PERMISSIVE'), own('STRICT')), 'deny');
  t.equal(verdict(compileText(documents(mesh, root('STRICT'))), sleep), 'allow');
});

t.test('port exceptions hold for their ports, also under a STRICT mesh', async (t) => {
  const strictMesh = peer('{mtls: {mode: STRICT}}', 'default', 'istio-system');
  const own = (mode: string, ports: string) =>
    peer(`{selector: {matchLabels: {app: web}}, mtls: {mode: ${mode}}, portLevelMtls: {${ports}}}`, 'own');
  const open = compileText(documents(mesh, own('STRICT', '8080: {mode: PERMISSIVE}')));
  t.equal(verdict(open, undefined, 8080), 'allow');
  t.equal(verdict(open, undefined, 9090), 'deny');
  const closed = compileText(
    documents(mesh, strictMesh, own('PERMISSIVE', '8080: {mode: STRICT}, 8081: {mode: STRICT}')),
  );
  t.equal(verdict(closed, undefined, 8080), 'deny');
  t.equal(verdict(closed, undefined, 8081), 'deny');
  t.equal(verdict(closed, undefined, 9090), 'allow');
  t.equal(verdict(closed, sleep, 8080), 'allow');
});

t.test('of two PeerAuthentications of one scope the older counts', async (t) => {
  const compilation = compileText(
    documents(mesh, peer('{mtls: {mode: STRICT}}', 'a'), peer('{mtls: {mode: PERMISSIVE}}', 'b')),
  );
  t.equal(verdict(compilation, undefined), 'deny');
  t.same(codesOf(compilation), ['PEER_AUTHENTICATION_SHADOWED 17']);
});

t.test('a PeerAuthentication that cannot be read keeps plaintext out of its namespace', async (t) => {
  const compilation = compileText(documents(mesh, peer('{mtls: {mode: PERMISIVE}}')));
  t.equal(verdict(compilation, undefined), 'deny');
  t.same(codesOf(compilation), ['OBJECT_INVALID 15']);
});
