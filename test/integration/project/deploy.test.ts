/**
 * What is deployed, read as Kubernetes and ztunnel would read it: schemas, names of variables, ports, the facts of Istio's
 * chart (reference ztunnel.md §1.7), and what docs/deploy.md says.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DaemonSet } from 'kubernetes-models/apps/v1/DaemonSet';
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount';
import t from 'tap';
import { parse } from 'yaml';
import { readZtunnelCommand } from '../../../src/app/ztunnel-command.ts';
import { unknownFields } from './unknown-fields.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const daemonSet = parse(read('deploy/ztunnel/daemonset.yaml')) as ConstructorParameters<typeof DaemonSet>[0];
const account = parse(read('deploy/ztunnel/serviceaccount.yaml')) as ConstructorParameters<typeof ServiceAccount>[0];
const kustomization = parse(read('deploy/ztunnel/kustomization.yaml')) as Kustomization;
const values = parse(read('deploy/istio/ztunnel-values.yaml')) as Record<string, unknown>;
const { version } = JSON.parse(read('package.json')) as { version: string };
const image = `registry.example/ambit:${version}`;

interface Kustomization {
  readonly resources: readonly string[];
  readonly namespace: string;
  readonly images: readonly { readonly name: string; readonly newTag: string }[];
}

const pod = daemonSet?.spec?.template.spec;
const [container, ...others] = pod?.containers ?? [];

t.test('the manifests are what Kubernetes’ API describes, with no field it does not know', async (t) => {
  t.doesNotThrow(() => new DaemonSet(daemonSet).validate());
  t.doesNotThrow(() => new ServiceAccount(account).validate());
  t.throws(() => new DaemonSet({ ...daemonSet, spec: { template: {} } } as never).validate(), 'the check can fail');
  t.same(excessFields(), '', 'no unknown field');
  t.match(excessFields('readinesProbe'), 'readinesProbe', 'the check can fail');
  const files = readdirSync(path.join(root, 'deploy/ztunnel')).filter((file) => file !== 'kustomization.yaml');
  t.same([...kustomization.resources].sort(), files.sort());
});

/** With one field more, if told. */
function excessFields(more?: string): string {
  const [first, ...rest] = pod?.containers ?? [];
  const changed = { ...first, ...(more === undefined ? {} : { [more]: {} }) };
  const template = { ...daemonSet?.spec?.template, spec: { ...pod, containers: [changed, ...rest] } };
  return unknownFields([
    { type: 'apps/v1/DaemonSet', manifest: { ...daemonSet, spec: { ...daemonSet?.spec, template } } },
    { type: 'v1/ServiceAccount', manifest: account },
  ]);
}

t.test('it is Istio’s DaemonSet but for the image', async (t) => {
  t.match(daemonSet?.metadata, { name: 'ztunnel', labels: { app: 'ztunnel' } });
  t.equal(account?.metadata?.name, 'ztunnel');
  t.equal(kustomization.namespace, 'istio-system');
  t.same(daemonSet?.spec?.updateStrategy, { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } });
  t.same(daemonSet?.spec?.selector.matchLabels, { app: 'ztunnel' });
  t.match(pod, {
    serviceAccountName: 'ztunnel',
    priorityClassName: 'system-node-critical',
    terminationGracePeriodSeconds: 30,
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    tolerations: [
      { effect: 'NoSchedule', operator: 'Exists' },
      { key: 'CriticalAddonsOnly', operator: 'Exists' },
      { effect: 'NoExecute', operator: 'Exists' },
    ],
  });
  t.same(others, []);
  t.notOk('hostNetwork' in (pod ?? {}));
  t.same(container?.securityContext, {
    allowPrivilegeEscalation: true,
    privileged: false,
    readOnlyRootFilesystem: true,
    runAsUser: 0,
    runAsGroup: 1337,
    runAsNonRoot: false,
    capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'SYS_ADMIN', 'NET_RAW'] },
  });
  t.same(container?.args, ['proxy', 'ztunnel']);
  t.same(container?.readinessProbe, { httpGet: { path: '/healthz/ready', port: 15021 } });
  t.notOk('livenessProbe' in (container ?? {}));
  t.same(container?.resources, { requests: { cpu: '200m', memory: '512Mi' } });
  const mounts = Object.fromEntries((container?.volumeMounts ?? []).map(({ name, mountPath }) => [mountPath, name]));
  const volume = (at: string) => pod?.volumes?.find(({ name }) => name === mounts[at]);
  t.match(volume('/var/run/secrets/istio'), { configMap: { name: 'istio-ca-root-cert' } });
  t.match(volume('/var/run/secrets/tokens'), {
    projected: {
      sources: [{ serviceAccountToken: { path: 'istio-token', audience: 'istio-ca', expirationSeconds: 43_200 } }],
    },
  });
  t.match(volume('/var/run/ztunnel'), { hostPath: { path: '/var/run/ztunnel', type: 'DirectoryOrCreate' } });
  t.match(volume('/tmp'), { emptyDir: {} });
});

t.test('the program knows every variable, and listens where the manifest says', async (t) => {
  const environment: Record<string, string> = {};
  for (const { name, value, valueFrom } of container?.env ?? []) {
    const field = valueFrom?.fieldRef?.fieldPath;
    environment[name] = value ?? (field === 'status.podIP' ? '10.0.0.1' : `of-${field}`);
  }
  environment.KUBERNETES_SERVICE_HOST = '10.96.0.1';
  const page = read('docs/environment.md');
  const known = (name: string) => page.split('\n').some((row) => row.startsWith('| `') && row.includes(`\`${name}\``));
  for (const name of [...Object.keys(environment), ...Object.keys(values.env ?? {})]) t.ok(known(name), name);
  t.notOk(known('RUST_LGO'), 'the check can fail');
  const command = readZtunnelCommand(['proxy', 'ztunnel'], environment);
  if (command.kind !== 'run') throw new Error(JSON.stringify(command));
  const { settings } = command;
  t.match(settings, {
    mode: { kind: 'pods', node: 'of-spec.nodeName' },
    preset: { name: 'modern' },
    drainDeadlineMs: 25_000,
  });
  const { variables } = settings;
  t.equal(variables.AMBIT_READINESS_PORT, container?.readinessProbe?.httpGet?.port);
  t.equal(variables.AMBIT_METRICS_PORT, container?.ports?.[0]?.containerPort);
  t.equal(
    String(variables.AMBIT_METRICS_PORT),
    daemonSet?.spec?.template.metadata?.annotations?.['prometheus.io/port'],
  );
  t.equal(variables.TERMINATION_GRACE_PERIOD_SECONDS, pod?.terminationGracePeriodSeconds);
  t.ok(variables.INPOD_UDS.startsWith('/var/run/ztunnel/'));
  t.equal(variables.CA_ROOT_CA, './var/run/secrets/istio/root-cert.pem', 'found from the working directory /');
});

/** Of manifests/charts/ztunnel/values.yaml, release 1.30. */
const chartValues = [
  'affinity annotations caAddress env global hub image imagePullPolicy imagePullSecrets istioNamespace labels logAsJson',
  'logLevel meshConfig multiCluster network nodeSelector podAnnotations podLabels resourceName resources revision',
  'seLinuxOptions tag terminationGracePeriodSeconds tolerations trustBundleName updateStrategy variant volumeMounts',
  'volumes xdsAddress',
]
  .join(' ')
  .split(' ');

t.test('the values are values of Istio’s chart; the image is one name, and of this version everywhere', async (t) => {
  t.same(
    Object.keys(values).filter((key) => !chartValues.includes(key)),
    [],
  );
  t.same(values.image, image);
  for (const value of Object.values(values.env ?? {})) t.type(value, 'string');
  t.equal(container?.image, image);
  t.same(
    kustomization.images.map(({ name, newTag }) => `${name}:${newTag}`),
    [image],
  );
});

t.test('docs/deploy.md names files and tags that are there', async (t) => {
  const page = read('docs/deploy.md');
  const paths = [...page.matchAll(/(?:^|[\s`(])((?:deploy|test)\/[\w./-]*\w)/gm)].map(([, found = '']) => found);
  t.ok(paths.length >= 6);
  for (const file of new Set(paths)) t.ok(existsSync(path.join(root, file)), file);
  for (const [, link = ''] of page.matchAll(/\]\(([\w./-]+)\)/g)) t.ok(existsSync(path.join(root, 'docs', link)), link);
  const tags = new Set([...page.matchAll(/registry\.example\/ambit:(\S+)/g)].map(([, tag]) => tag));
  t.same([...tags], [version]);
});
