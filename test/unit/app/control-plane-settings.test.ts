/** Where a ztunnel's mesh comes from, and as whom and with what it asks: variables, ProxyConfig, and their order. */
import t from 'tap';
import { applyProxyConfig } from '../../../src/app/proxy-config.ts';
import { readZtunnelCommand } from '../../../src/app/ztunnel-command.ts';

type Variables = Record<string, string>;

function read(variables: Variables) {
  return readZtunnelCommand(['proxy', 'ztunnel'], { NODE_NAME: 'node-a', ...variables });
}

function meshOf(variables: Variables) {
  const command = read(variables);
  if (command.kind !== 'run') throw new Error(JSON.stringify(command));
  return command.settings.mesh;
}

function controlPlaneOf(variables: Variables) {
  const mesh = meshOf(variables);
  if (mesh.kind !== 'records' || mesh.controlPlane === undefined) throw new Error('no control plane');
  return mesh.controlPlane;
}

function problemsOf(variables: Variables): readonly string[] {
  const command = read(variables);
  return command.kind === 'problems' ? command.problems : [];
}

const inCluster = { KUBERNETES_SERVICE_HOST: '10.0.0.1' };

t.test('in a cluster the mesh comes from istiod, unless something else describes it', async (t) => {
  t.match(controlPlaneOf(inCluster).address, { host: 'istiod.istio-system.svc', port: 15012, tls: true });
  t.same(meshOf({ ...inCluster, AMBIT_CONFIG: '/mesh' }), { kind: 'folder', directory: '/mesh' });
  const local = { kind: 'file', path: '/mesh.yaml' } as const;
  t.same(meshOf({ ...inCluster, LOCAL_XDS_PATH: '/mesh.yaml' }), { kind: 'records', local, controlPlane: undefined });
  t.match(meshOf({ LOCAL_XDS_PATH: '/mesh.yaml', XDS_ADDRESS: 'istiod:15012' }), {
    local,
    controlPlane: { address: { host: 'istiod' } },
  });
  t.match(meshOf({ LOCAL_XDS: 'workloads: []' }), { local: { kind: 'text', text: 'workloads: []' } });
});

t.test('an empty XDS_ADDRESS turns the control plane off', async (t) => {
  t.match(problemsOf({ ...inCluster, XDS_ADDRESS: '' }), [/nothing describes the mesh/]);
  t.match(meshOf({ ...inCluster, XDS_ADDRESS: '', LOCAL_XDS: 'workloads: []' }), { controlPlane: undefined });
});

t.test('TLS unless http is written', async (t) => {
  t.equal(controlPlaneOf({ XDS_ADDRESS: 'istiod:15012' }).address.tls, true);
  t.equal(controlPlaneOf({ XDS_ADDRESS: 'http://istiod:15010' }).address.tls, false);
  t.match(problemsOf({ XDS_ADDRESS: 'http://istiod:15010', XDS_HEADER_Authorization: 'Bearer x' }), [/in clear/]);
});

t.test('settings that contradict each other are told together', async (t) => {
  const problems = problemsOf({
    AMBIT_CONFIG: '/mesh',
    LOCAL_XDS: 'a',
    LOCAL_XDS_PATH: 'b',
    XDS_ADDRESS: 'istiod:15012',
  });
  t.equal(problems.length, 3);
  t.match(problemsOf({ XDS_ADDRESS: 'ftp://x', INSTANCE_IP: 'x', XDS_HEADER_a_: '\u0007', ISTIO_METAJSON_X: '{' }), [
    /XDS_ADDRESS/,
    /INSTANCE_IP/,
    /XDS_HEADER_a_/,
    /ISTIO_METAJSON_X/,
  ]);
});

t.test('on demand is refused together with the DNS proxy', async (t) => {
  const onDemand = { XDS_ADDRESS: 'istiod:15012', XDS_ON_DEMAND: 'true' };
  t.match(problemsOf(onDemand), [/ISTIO_META_DNS_CAPTURE=false/]);
  t.match(problemsOf({ ...onDemand, ISTIO_META_DNS_CAPTURE: 'true' }), [/ISTIO_META_DNS_CAPTURE=false/]);
  t.equal(controlPlaneOf({ ...onDemand, ISTIO_META_DNS_CAPTURE: 'false' }).onDemand, true);
});

t.test('the node is named and described as ztunnel names itself', async (t) => {
  const { node, metadata } = controlPlaneOf({
    XDS_ADDRESS: 'istiod:15012',
    POD_NAME: 'ztunnel-x',
    POD_NAMESPACE: 'istio-system',
    INSTANCE_IP: '10.1.2.3',
    ISTIO_META_CLUSTER_ID: 'east',
    ISTIO_META_NAME: 'not me',
    ISTIO_METAJSON_LABELS: '{"app":"ztunnel"}',
    XDS_HEADER_X_Tenant: 'a b',
  });
  t.same(node, {
    id: 'ztunnel~10.1.2.3~ztunnel-x.istio-system~istio-system.svc.cluster.local',
    metadata: {
      CLUSTER_ID: 'east',
      NAME: 'ztunnel-x',
      NAMESPACE: 'istio-system',
      INSTANCE_IPS: '10.1.2.3',
      NODE_NAME: 'node-a',
      LABELS: { app: 'ztunnel' },
    },
  });
  t.same(metadata, { clusterid: 'east', x_tenant: 'a b' });
});

t.test('ProxyConfig stands in for variables that are not set', async (t) => {
  const mesh = 'defaultConfig: {discoveryAddress: mesh:1, statsPort: 7, proxyMetadata: {A: x, ISTIO_META_B: y}}';
  const own =
    'discoveryAddress: own:2\nproxyAdminPort: 9\nconcurrency: 0\nproxyMetadata: {ISTIO_META_B: z}\nbinaryPath: /x';
  const both = applyProxyConfig({ PROXY_CONFIG: own, AMBIT_ADMIN_PORT: '' }, mesh);
  t.match(both.environment, {
    XDS_ADDRESS: 'own:2',
    AMBIT_ADMIN_PORT: '9',
    AMBIT_METRICS_PORT: '7',
    ISTIO_META_B: 'z',
  });
  t.same(both.metadata, { A: 'x' });
  t.same(both.problems, []);
  const told = applyProxyConfig({ PROXY_CONFIG: own, XDS_ADDRESS: '', AMBIT_ADMIN_PORT: '1', ISTIO_META_B: 'w' }, mesh);
  t.match(told.environment, { XDS_ADDRESS: '', AMBIT_ADMIN_PORT: '1', ISTIO_META_B: 'w' });
  t.match(applyProxyConfig({ PROXY_CONFIG: 'statsPort: [x' }, 'defaultConfig: {statsPort: x}').problems, [
    /etc\/istio\/config\/mesh: defaultConfig.statsPort/,
    /PROXY_CONFIG/,
  ]);
});

t.test('headers for the CA are read beside those for discovery', async (t) => {
  const command = read({ XDS_ADDRESS: 'istiod:15012', CA_HEADER_Tenant: 'a' });
  t.match(command, { kind: 'run', settings: { caHeaders: { tenant: 'a' } } });
});

t.test(
  'where it has joined, a ztunnel shows its join credential and trusts what it trusts for certificates',
  async (t) => {
    const joined = {
      XDS_ADDRESS: 'control.example:15012',
      CA_ADDRESS: 'https://control.example:15012',
      CA_ROOT_CA: '/control-root.pem',
      AMBIT_STATE_DIR: '/state',
      AUTH_TOKEN: 'secret',
    };
    const trusted = { roots: { kind: 'file', path: '/control-root.pem' }, alternativeNames: [] } as const;
    t.match(controlPlaneOf(joined), { asMember: true, token: undefined, ...trusted });
    t.match(controlPlaneOf({ ...joined, ALT_CA_HOSTNAME: 'control' }), { alternativeNames: ['control'] });
    t.match(controlPlaneOf({ ...joined, XDS_ROOT_CA: '/other.pem' }), {
      asMember: true,
      roots: { path: '/other.pem' },
    });
    t.match(controlPlaneOf({ XDS_ADDRESS: 'localhost:15012', AMBIT_STATE_DIR: '/state' }), { asMember: true });
    const elsewhere = [
      { ...joined, XDS_ADDRESS: 'istiod:15012' },
      { ...joined, XDS_ADDRESS: 'control.example:15011' },
      { ...joined, XDS_ADDRESS: 'http://control.example:15012' },
      { ...joined, AMBIT_CA_DIR: '/ca' },
    ];
    for (const variables of elsewhere) {
      const { asMember, roots, token } = controlPlaneOf(variables);
      t.strictSame(
        { asMember, roots, token },
        {
          asMember: false,
          roots: { kind: 'file', path: './var/run/secrets/istio/root-cert.pem' },
          token: { kind: 'text', text: 'secret' },
        },
        JSON.stringify(variables),
      );
    }
  },
);

t.test('the control plane is held to COMPLIANCE_POLICY too', async (t) => {
  t.equal(controlPlaneOf({ XDS_ADDRESS: 'istiod:15012' }).keyExchange, undefined);
  const held = controlPlaneOf({ XDS_ADDRESS: 'istiod:15012', COMPLIANCE_POLICY: 'pqc' });
  t.equal(held.keyExchange, 'X25519MLKEM768');
});
