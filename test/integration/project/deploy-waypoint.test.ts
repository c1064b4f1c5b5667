/**
 * The waypoint's manifests, read as Kubernetes, istiod and the waypoint would read them: schemas, the facts of istiod's
 * template (reference waypoint.md §1.5), names of variables, ports, and rules that compile for the Gateway they name.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Deployment } from 'kubernetes-models/apps/v1/Deployment';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { Service } from 'kubernetes-models/v1/Service';
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount';
import t from 'tap';
import { parse, parseAllDocuments } from 'yaml';
import { readWaypointCommand } from '../../../src/app/waypoint-settings.ts';
import { compileText, documents } from '../../support/compile-text.ts';
import { unknownFields } from './unknown-fields.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const text = (name: string) => read(`deploy/waypoint/${name}.yaml`);
const deployment = parse(text('deployment')) as ConstructorParameters<typeof Deployment>[0];
const service = parse(text('service')) as ConstructorParameters<typeof Service>[0];
const account = parse(text('serviceaccount')) as ConstructorParameters<typeof ServiceAccount>[0];
const rules = parse(text('rules')) as ConstructorParameters<typeof ConfigMap>[0];
const gateway = parse(text('gateway')) as Gateway;
const kustomization = parse(text('kustomization')) as {
  readonly resources: readonly string[];
  readonly namespace: string;
  readonly images: readonly { readonly name: string; readonly newTag: string }[];
};
const [istioGateway, overlay, istioRules] = parseAllDocuments(read('deploy/istio/waypoint.yaml')).map(
  (document) => document.toJS() as never,
) as unknown as readonly [
  Gateway,
  ConstructorParameters<typeof ConfigMap>[0],
  ConstructorParameters<typeof ConfigMap>[0],
];
const { version } = JSON.parse(read('package.json')) as { version: string };
const image = `registry.example/ambit:${version}`;

interface Gateway {
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly gatewayClassName: string;
    readonly addresses?: readonly { readonly type: string; readonly value: string }[];
    readonly infrastructure?: { readonly parametersRef?: { readonly kind: string; readonly name: string } };
    readonly listeners: readonly { readonly port: number; readonly protocol: string }[];
  };
}

const pod = deployment?.spec?.template.spec;
const [container, ...others] = pod?.containers ?? [];
const gatewayName = 'gateway.networking.k8s.io/gateway-name';

t.test('the manifests are what Kubernetes’ API describes, with no field it does not know', async (t) => {
  t.doesNotThrow(() => new Deployment(deployment).validate());
  t.doesNotThrow(() => new Service(service).validate());
  t.doesNotThrow(() => new ServiceAccount(account).validate());
  for (const map of [rules, overlay, istioRules]) t.doesNotThrow(() => new ConfigMap(map).validate());
  t.throws(() => new Deployment({ ...deployment, spec: { template: {} } } as never).validate(), 'the check can fail');
  const patched = merged(deployment, parse(overlay?.data?.deployment ?? ''));
  const manifests = [
    { type: 'apps/v1/Deployment', manifest: deployment },
    { type: 'apps/v1/Deployment', manifest: patched },
    { type: 'v1/Service', manifest: service },
    { type: 'v1/ServiceAccount', manifest: account },
    { type: 'v1/ConfigMap', manifest: overlay },
    { type: 'v1/ConfigMap', manifest: rules },
  ];
  t.same(unknownFields(manifests), '');
  const wrong = { ...deployment, spec: { ...deployment?.spec, replicsa: 2 } };
  t.match(unknownFields([{ type: 'apps/v1/Deployment', manifest: wrong }]), 'replicsa', 'the check can fail');
  const apart = ['kustomization.yaml', 'gatewayclass.yaml'];
  const files = readdirSync(path.join(root, 'deploy/waypoint')).filter((file) => !apart.includes(file));
  t.same([...kustomization.resources].sort(), files.sort());
  t.match(parse(text('gatewayclass')), { kind: 'GatewayClass', spec: { controllerName: /^[\w.]+\/[\w-]+$/ } });
});

t.test('it has the shape of istiod’s template', async (t) => {
  t.same(others, []);
  t.equal(container?.name, 'istio-proxy');
  t.same(container?.args, ['proxy', 'waypoint']);
  t.equal(container?.image, image);
  t.same(
    kustomization.images.map(({ name, newTag }) => `${name}:${newTag}`),
    [image],
  );
  t.match(deployment?.spec?.template.metadata?.labels, {
    [gatewayName]: 'waypoint',
    'gateway.networking.k8s.io/gateway-class-name': gateway.spec.gatewayClassName,
    'istio.io/dataplane-mode': 'none',
    'sidecar.istio.io/inject': 'false',
  });
  t.same(deployment?.spec?.selector.matchLabels, service?.spec?.selector);
  t.same(container?.securityContext, {
    allowPrivilegeEscalation: false,
    privileged: false,
    readOnlyRootFilesystem: true,
    runAsUser: 1337,
    runAsGroup: 1337,
    runAsNonRoot: true,
    capabilities: { drop: ['ALL'] },
  });
  const probe = { httpGet: { path: '/healthz/ready', port: 15021 } };
  t.match(container?.startupProbe, { ...probe, periodSeconds: 1, failureThreshold: 30 });
  t.match(container?.readinessProbe, { ...probe, periodSeconds: 15, failureThreshold: 4 });
  t.notOk('livenessProbe' in (container ?? {}));
  t.match(service?.spec?.ports, [{ port: 15021 }, { port: 15008, appProtocol: 'hbone' }]);
  t.same(
    gateway.spec.listeners.map(({ port, protocol }) => [port, protocol]),
    [[15008, 'HBONE']],
  );
  const [address] = gateway.spec.addresses ?? [];
  t.equal(address?.value, `${service?.metadata?.name}.${kustomization.namespace}.svc.cluster.local`);
  const mounts = Object.fromEntries((container?.volumeMounts ?? []).map(({ name, mountPath }) => [mountPath, name]));
  const volume = (at: string) => pod?.volumes?.find(({ name }) => name === mounts[at]);
  t.match(volume('/var/run/secrets/istio'), { configMap: { name: 'istio-ca-root-cert' } });
  t.match(volume('/var/run/secrets/tokens'), {
    projected: { sources: [{ serviceAccountToken: { path: 'istio-token', audience: 'istio-ca' } }] },
  });
  t.match(volume('/etc/istio/pod'), { downwardAPI: { items: [{ path: 'labels' }] } });
  t.match(volume('/etc/ambit/rules'), { configMap: { name: rules?.metadata?.name } });
});

t.test('the program knows every variable, and what they say together', async (t) => {
  const environment: Record<string, string> = { KUBERNETES_SERVICE_HOST: '10.96.0.1' };
  for (const { name, value, valueFrom } of container?.env ?? []) {
    const values = { 'status.podIP': '10.0.0.1', 'metadata.namespace': 'default', 'metadata.name': 'waypoint-1' };
    const field = valueFrom?.fieldRef?.fieldPath;
    environment[name] = value ?? Object.entries(values).find(([path]) => path === field)?.[1] ?? 'waypoint';
  }
  const page = read('docs/environment.md');
  const known = (name: string) => page.split('\n').some((row) => row.startsWith('| `') && row.includes(`\`${name}\``));
  for (const name of Object.keys(environment)) t.ok(known(name), name);
  // Of the labels, which are a file in the pod.
  const command = readWaypointCommand(['proxy', 'waypoint'], { ...environment, AMBIT_GATEWAY: 'default/waypoint' });
  if (command.kind !== 'run') throw new Error(JSON.stringify(command));
  const { mesh, variables, ports } = command.settings;
  t.match(mesh, {
    kind: 'discovered',
    directory: '/etc/ambit/rules',
    gateway: { namespace: 'default', name: 'waypoint', serviceAccount: 'waypoint' },
    controlPlane: { address: { host: 'istiod.istio-system.svc', port: 15012 } },
  });
  t.same(ports, [15008]);
  t.equal(variables.AMBIT_READINESS_PORT, 15021);
  t.equal(
    String(variables.AMBIT_METRICS_PORT),
    deployment?.spec?.template.metadata?.annotations?.['prometheus.io/port'],
  );
  t.ok(variables.CONNECTION_TERMINATION_DEADLINE < (pod?.terminationGracePeriodSeconds ?? 0) * 1000);
});

t.test('with istiod’s template: the image by annotation, the folder by overlay', async (t) => {
  t.equal(istioGateway.metadata.annotations?.['sidecar.istio.io/proxyImage'], image);
  t.match(istioGateway.spec.infrastructure, { parametersRef: { kind: 'ConfigMap', name: overlay?.metadata?.name } });
  t.notOk('addresses' in istioGateway.spec, 'istiod deploys it');
  const patch = parse(overlay?.data?.deployment ?? '') as typeof deployment;
  const spec = patch?.spec?.template.spec;
  const [patched] = spec?.containers ?? [];
  t.equal(patched?.name, 'istio-proxy', 'the container of the template');
  const folder = patched?.env?.find(({ name }) => name === 'AMBIT_CONFIG')?.value;
  const mount = patched?.volumeMounts?.find(({ mountPath }) => mountPath === folder);
  t.match(
    spec?.volumes?.find(({ name }) => name === mount?.name),
    { configMap: { name: istioRules?.metadata?.name } },
  );
});

t.test('the rules that come with it compile for the Gateway, and nothing about them is wrong', async (t) => {
  for (const map of [rules, istioRules]) {
    const [[file, content] = ['', '']] = Object.entries(map?.data ?? {});
    t.match(file, /\.yaml$/);
    const namespaced = text('gateway').replace('name: waypoint\n', 'name: waypoint\n  namespace: default\n');
    const compiled = compileText(documents(namespaced, `\n${content}`));
    t.equal(compiled.l7.gatewayPolicies.get('default/waypoint')?.length, 1);
    const wrong = compiled.diagnostics.filter(
      ({ severity, code }) => severity !== 'info' && code !== 'GATEWAY_NO_ENDPOINTS',
    );
    t.same(wrong, []);
  }
});

/** As a strategic merge does with lists of named things, which is all that the overlay has. */
function merged(base: unknown, patch: unknown): unknown {
  if (Array.isArray(base) && Array.isArray(patch)) {
    const nameOf = (item: unknown) => (item as { name?: string }).name;
    const kept = base.map((item) => merged(item, patch.find((other) => nameOf(other) === nameOf(item)) ?? {}));
    return [...kept, ...patch.filter((item) => !base.some((other) => nameOf(other) === nameOf(item)))];
  }
  if (typeof base !== 'object' || base === null || typeof patch !== 'object' || patch === null) return patch;
  const entries = Object.entries(patch).map(([key, value]) => {
    const known = (base as Record<string, unknown>)[key];
    return [key, known === undefined ? value : merged(known, value)] as const;
  });
  return { ...base, ...Object.fromEntries(entries) };
}
