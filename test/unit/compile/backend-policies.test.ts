/** BackendTLSPolicies, Secrets and retry constraints: what becomes of them, and that keys are not shown. */
import { inspect } from 'node:util';
import t from 'tap';
import { ambientDefault, codesOf, compileText, documents, serviceText } from '../../support/compile-text.ts';

const service = serviceText('web', '10.96.0.1');
const key = 'default/web.default.svc.cluster.local';

function policy(name: string, validation: string, target = '{group: "", kind: Service, name: web}'): string {
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: ${name}, namespace: default, creationTimestamp: "2026-01-0${name.length}T00:00:00Z"}
spec: {targetRefs: [${target}], validation: ${validation}}
`;
}

const authorities = `
apiVersion: v1
kind: ConfigMap
metadata: {name: ca, namespace: default}
data: {ca.crt: PEM}
`;

t.test('TLS of a Service, by authorities of a ConfigMap or of the system', async (t) => {
  const own = policy('a', '{hostname: web.example.com, caCertificateRefs: [{kind: ConfigMap, name: ca}]}');
  const compilation = compileText(documents(ambientDefault, service, authorities, own));
  t.strictSame(codesOf(compilation), []);
  t.match(compilation.l7.backends.tls.get(key)?.otherwise, {
    kind: 'tls',
    hostname: 'web.example.com',
    names: [],
    authorities: 'PEM',
  });
  const names = 'subjectAltNames: [{type: Hostname, hostname: x.y}, {type: URI, uri: "spiffe://a/b"}]';
  const system = policy('a', `{hostname: web.example.com, wellKnownCACertificates: System, ${names}}`);
  t.match(compileText(documents(service, system)).l7.backends.tls.get(key)?.otherwise, {
    authorities: undefined,
    names: [
      { kind: 'dns', value: 'x.y' },
      { kind: 'uri', value: 'spiffe://a/b' },
    ],
  });
});

t.test('a policy for one port leaves the others alone; the oldest goes first', async (t) => {
  const validation = (host: string) => `{hostname: ${host}, wellKnownCACertificates: System}`;
  const target = '{group: "", kind: Service, name: web, sectionName: http}';
  const compilation = compileText(
    documents(service, policy('a', validation('first'), target), policy('bb', validation('second'), target)),
  );
  t.match(codesOf(compilation).join(), /^BACKEND_POLICY_SHADOWED/);
  const found = compilation.l7.backends.tls.get(key);
  t.equal(found?.otherwise, undefined);
  t.match(found?.ports.get(80), { hostname: 'first' });
  const elsewhere = compileText(
    documents(
      service,
      policy('a', validation('x'), target.replace('http', 'nope')),
      policy('bb', validation('y'), target.replace('web', 'nope')),
    ),
  );
  t.equal(codesOf(elsewhere).filter((code) => code.startsWith('BACKEND_POLICY_UNKNOWN_TARGET')).length, 2);
});

t.test('what is missing stands as invalid: nothing goes out in clear instead', async (t) => {
  const compilation = compileText(
    documents(service, policy('a', '{hostname: web, caCertificateRefs: [{kind: ConfigMap, name: gone}]}')),
  );
  t.match(codesOf(compilation).join(), /^BACKEND_TLS_INVALID/);
  t.match(compilation.l7.backends.tls.get(key)?.otherwise, { kind: 'invalid', reason: /ConfigMap default\/gone/ });
});

t.test('a Secret is read in both forms, and its key is shown nowhere', async (t) => {
  const secret = `
apiVersion: v1
kind: Secret
metadata: {name: one, namespace: default}
type: kubernetes.io/tls
data: {tls.crt: Q0VSVA==, tls.key: U0VDUkVU, ca.crt: Q0E=}
`;
  const other = `
apiVersion: v1
kind: Secret
metadata: {name: two, namespace: default}
stringData: {cert: CERT, key: SECRET, cacert: CA}
`;
  const unrelated = `
apiVersion: v1
kind: Secret
metadata: {name: three, namespace: default}
data: {password: aHVudGVyMg==}
`;
  const { credentials } = compileText(documents(secret, other, unrelated)).l7.backends;
  t.same([...credentials.keys()], ['default/one', 'default/two']);
  for (const credential of credentials.values()) {
    t.match(credential, { certificate: 'CERT', authorities: 'CA' });
    t.equal(credential.key?.reveal(), 'SECRET');
    t.notMatch(`${JSON.stringify(credential)} ${inspect(credential)} ${String(credential.key)}`, /SECRET/);
  }
});

t.test('a retry constraint is a budget', async (t) => {
  const traffic = `
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackendTrafficPolicy
metadata: {name: r, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  retryConstraint: {budget: {percent: 30, interval: 10s}, minRetryRate: {count: 5, interval: 1s}}
`;
  const compilation = compileText(documents(service, traffic));
  t.strictSame(codesOf(compilation), []);
  t.same(compilation.l7.backends.retryBudgets.get(key), { percent: 30, minRetryConcurrency: 5 });
});
