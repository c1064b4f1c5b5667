/** AuthorizationPolicies with action CUSTOM as they are compiled: where they are put, whom they ask, and what denies. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { ambientDefault, compileText, documents, podText, serviceText } from '../../support/compile-text.ts';

const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;
const waypoint = podText('wp', '10.0.0.9', { account: 'wp', labels: 'gateway.networking.k8s.io/gateway-name: wp' });
const mesh = documents(ambientDefault, gateway, waypoint, serviceText('web', '10.1.0.1', 'istio.io/use-waypoint: wp'));

const provider = `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - {name: asks, envoyExtAuthzGrpc: {service: a.b.svc.cluster.local, port: 9000}}
    - {name: broken, envoyExtAuthzGrpc: {port: 9000}}
    - {name: prom, prometheus: {}}
`;
const policy = (name: string, spec: string) => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: default}
spec: {action: CUSTOM, ${spec}}
`;
const onWeb = 'targetRefs: [{kind: Service, group: "", name: web}]';
const key = 'default/web.default.svc.cluster.local';

t.test('policies of one provider are together, at their targets, and in no other list', async (t) => {
  const { l7, diagnostics } = compileText(
    documents(
      mesh,
      provider,
      policy('a', `${onWeb}, provider: {name: asks}, rules: [{to: [{operation: {paths: [/a]}}]}]`),
      policy('b', `${onWeb}, provider: {name: asks}, rules: [{}]`),
      policy(
        'c',
        'targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: wp}], provider: {name: asks}, rules: [{}]',
      ),
    ),
  );
  t.match(
    diagnostics.filter(({ severity }) => severity === 'error'),
    [{ code: 'MESH_CONFIG_INVALID', message: /^broken: envoyExtAuthzGrpc.service/ }],
  );
  const [ofWeb, ...more] = l7.customAuthorizations.services.get(key) ?? [];
  t.equal(more.length, 0);
  t.match(ofWeb, { providerName: 'asks', provider: { kind: 'ext-authz-grpc' } });
  t.same(
    ofWeb?.policies.map(({ source, action }) => [source.name, action]),
    [
      ['a', 'deny'],
      ['b', 'deny'],
    ],
  );
  t.equal(l7.customAuthorizations.gateways.get('default/wp')?.length, 1);
  t.equal(l7.servicePolicies.get(key), undefined);
});

t.test('who cannot be asked leaves the place empty, and is named', async (t) => {
  for (const [name, problem] of [
    ['nobody', /no provider nobody/],
    ['broken', /broken is unusable/],
    ['prom', /prom authorizes nobody/],
    ['""', /without a provider/],
  ] as const) {
    const { l7, diagnostics } = compileText(
      documents(mesh, provider, policy('a', `${onWeb}, provider: {name: ${name}}, rules: [{}]`)),
    );
    t.match(
      diagnostics.filter(({ code }) => code === 'POLICY_PROVIDER'),
      [{ severity: 'error', message: problem }],
      name,
    );
    t.equal(l7.customAuthorizations.services.get(key)?.[0]?.provider, undefined);
  }
});

t.test('conditions on tokens are left out, so that more is asked about', async (t) => {
  const { l7, diagnostics } = compileText(
    documents(
      mesh,
      provider,
      policy('a', `${onWeb}, provider: {name: asks}, rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]`),
    ),
  );
  t.match(
    diagnostics.filter(({ code }) => code === 'POLICY_RULE_INVALID'),
    [{ message: /tokens are verified after CUSTOM policies; the rule asks about more/ }],
  );
  t.same(l7.customAuthorizations.services.get(key)?.[0]?.policies[0]?.rules, [{ clauses: [] }]);
});

t.test('without targetRefs nobody can ask: what the rules match is denied', async (t) => {
  const compiled = compileText(documents(mesh, podText('web', '10.0.0.1'), provider, policy('a', 'rules: [{}]')));
  t.ok(compiled.diagnostics.some(({ code }) => code === 'POLICY_UNSUPPORTED'));
  t.match(compiled.policies.get('default/a'), { action: 'deny' });
});

t.test('the example of docs/authorization.md is understood, and says what it seems to say', async (t) => {
  const page = readFileSync(path.resolve(import.meta.dirname, '../../../docs/authorization.md'), 'utf8');
  const example = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  const { l7, diagnostics } = compileText(documents(mesh, `\n${example}`));
  t.same(diagnostics, []);
  t.match(l7.customAuthorizations.services.get(key), [
    {
      providerName: 'opa',
      provider: {
        kind: 'ext-authz-grpc',
        target: { hostname: 'opa.policies.svc.cluster.local', port: 9191 },
        timeoutMs: 500,
        failOpen: false,
        body: { maxBytes: 4096, allowPartial: true },
      },
    },
  ]);
});
