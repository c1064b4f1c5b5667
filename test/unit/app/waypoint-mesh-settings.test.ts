/** Where a waypoint's mesh comes from: a folder, a control plane, and what Istio's template of a waypoint pod says of both. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t from 'tap';
import { readPodLabels } from '../../../src/app/waypoint-mesh-settings.ts';
import { readWaypointCommand } from '../../../src/app/waypoint-settings.ts';

/** The environment and arguments of istiod's template of a waypoint (waypoint.md §1.5). */
const template = {
  ISTIO_META_SERVICE_ACCOUNT: 'waypoint',
  ISTIO_META_NODE_NAME: 'node-a',
  PILOT_CERT_PROVIDER: 'istiod',
  CA_ADDR: 'istiod.istio-system.svc:15012',
  POD_NAME: 'waypoint-6d9f',
  POD_NAMESPACE: 'shop',
  INSTANCE_IP: '10.244.0.9',
  SERVICE_ACCOUNT: 'waypoint',
  HOST_IP: '192.168.0.3',
  ISTIO_CPU_LIMIT: '2',
  PROXY_CONFIG: '{"discoveryAddress":"istiod.istio-system.svc:15012","proxyMetadata":{"A":"b"}}\n',
  GOMEMLIMIT: '1073741824',
  ISTIO_META_CLUSTER_ID: 'east',
  ISTIO_META_NETWORK: 'net-1',
  ISTIO_META_INTERCEPTION_MODE: 'REDIRECT',
  ISTIO_META_WORKLOAD_NAME: 'waypoint',
  ISTIO_META_OWNER: 'kubernetes://apis/apps/v1/namespaces/shop/deployments/waypoint',
  ISTIO_META_MESH_ID: 'cluster.local',
  TRUST_DOMAIN: 'example.org',
  KUBERNETES_SERVICE_HOST: '10.96.0.1',
};
const templateArguments = [
  'proxy',
  'waypoint',
  '--domain',
  'shop.svc.cluster.local',
  '--serviceCluster',
  'waypoint.shop',
  '--proxyLogLevel',
  'warning',
  '--proxyComponentLogLevel',
  'misc:error',
  '--log_output_level',
  'default:info',
  '--log_as_json',
  '--outlierLogPath',
  '/dev/stdout',
];

function read(environment: Record<string, string>, argv: readonly string[] = ['proxy', 'waypoint']) {
  return readWaypointCommand(argv, environment);
}

function settingsOf(environment: Record<string, string>, argv?: readonly string[]) {
  const command = read(environment, argv);
  if (command.kind !== 'run') throw new Error(JSON.stringify(command));
  return command.settings;
}

t.test('a pod that Istio’s template made needs nothing more', async (t) => {
  const settings = settingsOf(template, templateArguments);
  t.equal(settings.gateway, 'shop/waypoint');
  t.equal(settings.serviceAccount, 'waypoint');
  t.match(settings.variables, { CA_ADDRESS: 'istiod.istio-system.svc:15012', CLUSTER_ID: 'east', NETWORK: 'net-1' });
  t.equal(settings.variables.LOG_FORMAT, 'json');
  t.match(settings.mesh, {
    kind: 'discovered',
    directory: undefined,
    gateway: { namespace: 'shop', name: 'waypoint', className: 'istio-waypoint', serviceAccount: 'waypoint' },
    controlPlane: {
      address: { host: 'istiod.istio-system.svc', port: 15012, tls: true },
      metadata: { clusterid: 'east' },
      node: {
        id: 'waypoint~10.244.0.9~waypoint-6d9f.shop~shop.svc.cluster.local',
        metadata: {
          NAME: 'waypoint-6d9f',
          NAMESPACE: 'shop',
          SERVICE_ACCOUNT: 'waypoint',
          CLUSTER_ID: 'east',
          NETWORK: 'net-1',
          MESH_ID: 'cluster.local',
          A: 'b',
          LABELS: { 'gateway.networking.k8s.io/gateway-name': 'waypoint' },
        },
      },
    },
  });
});

t.test('a folder beside a control plane has the rules; alone it has the mesh', async (t) => {
  t.match(settingsOf({ ...template, AMBIT_CONFIG: '/rules' }).mesh, { kind: 'discovered', directory: '/rules' });
  const alone = { ...template, AMBIT_CONFIG: '/mesh', XDS_ADDRESS: '' };
  t.same(settingsOf(alone).mesh, { kind: 'folder', directory: '/mesh' });
  const { PROXY_CONFIG: _, ...bare } = template;
  t.same(settingsOf({ ...bare, AMBIT_CONFIG: '/mesh' }).mesh, { kind: 'folder', directory: '/mesh' });
  t.match(settingsOf(bare).mesh, {
    kind: 'discovered',
    controlPlane: { address: { host: 'istiod.istio-system.svc' } },
  });
});

t.test('our own names go before the template’s', async (t) => {
  const ours = { CA_ADDRESS: 'ca:1', CLUSTER_ID: 'west', NETWORK: 'net-2', AMBIT_GATEWAY: 'a/b', XDS_ADDRESS: 'xds:2' };
  const { variables, gateway, mesh } = settingsOf({ ...template, ...ours });
  t.match(variables, { CA_ADDRESS: 'ca:1', CLUSTER_ID: 'west', NETWORK: 'net-2' });
  t.equal(gateway, 'a/b');
  t.match(mesh, { controlPlane: { address: { host: 'xds', port: 2 } } });
});

t.test('what does not fit together is told', async (t) => {
  const problems = (environment: Record<string, string>) => {
    const command = read(environment);
    return command.kind === 'problems' ? command.problems : [];
  };
  t.match(problems({}), [/which Gateway/, /nothing describes the mesh/]);
  t.match(problems({ ...template, AMBIT_PRESET: 'legacy' }), [/a folder alone/]);
  t.match(problems({ ...template, AMBIT_GATEWAY: 'a/b/c' }), [/must be NAMESPACE\/NAME with a control plane/]);
  t.match(problems({ ...template, PROXY_CONFIG: '{' }), [/PROXY_CONFIG/]);
  t.match(problems({ ...template, XDS_ADDRESS: ':::' }), [/XDS_ADDRESS/]);
});

t.test('labels of the pod are read from where Kubernetes writes them', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-labels-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'labels');
  writeFileSync(file, 'gateway.networking.k8s.io/gateway-name="edge"\nother="x=y"\nbroken\n');
  t.same(
    [...readPodLabels(file)],
    [
      ['gateway.networking.k8s.io/gateway-name', 'edge'],
      ['other', 'x=y'],
    ],
  );
  t.equal(readPodLabels(path.join(folder, 'none')).size, 0);
});
