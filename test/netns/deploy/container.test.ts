/**
 * The container as deploy/ztunnel says it, made by hand: the image's entry point and arguments, the manifest's variables, user,
 * group and three capabilities, a read-only root file system, working directory `/`, and the mounts where Kubernetes puts them.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import t from 'tap';
import { parse } from 'yaml';
import { systemClock } from '../../../src/base/clock.ts';
import { openAuthority } from '../../../src/identity/authority.ts';
import { oneNodeTopology } from '../../../src/lab/bookinfo.ts';
import { startCapture } from '../../../src/lab/capture.ts';
import { createLab } from '../../../src/lab/lab.ts';
import { eventually } from '../../support/eventually.ts';
import { programFile } from '../../support/program-files.ts';
import { insideLab } from '../lab/inside.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');

interface Manifest {
  readonly spec: { readonly template: { readonly spec: { readonly containers: readonly [Container] } } };
}

interface Container {
  readonly args: readonly string[];
  readonly env: readonly {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } };
  }[];
  readonly securityContext: {
    readonly runAsUser: number;
    readonly runAsGroup: number;
    readonly capabilities: { readonly add: readonly string[] };
  };
}

/** $1: the agent's socket; $2: this repository, also when it lies below /tmp; the rest is run. */
const script = `
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -p /run/secrets/istio /run/secrets/tokens /run/ztunnel
echo token > /run/secrets/tokens/istio-token
: > /run/ztunnel/ztunnel.sock
mount --bind "$1" /run/ztunnel/ztunnel.sock
mkdir /run/repository
mount --bind "$2" /run/repository
mount -t tmpfs none /tmp
mkdir -p "$2"
mount --bind /run/repository "$2"
mount -o remount,ro,bind /
if touch /var/ambit-writable 2>/dev/null; then echo 'the root is writable'; exit 9; fi
cd /
shift 2
exec "$@"
`;

t.setTimeout(240_000);

if (await insideLab()) {
  const { spec } = parse(read('deploy/ztunnel/daemonset.yaml')) as Manifest;
  const [{ args, env, securityContext }] = spec.template.spec.containers;
  const topology = oneNodeTopology();
  const lab = await createLab({ topology, redirection: { mode: 'inpod' } });
  t.teardown(() => lab.close());
  const folder = path.join(lab.directory, 'given');
  mkdirSync(folder);
  const authority = path.join(folder, 'authority');
  await openAuthority({ folder: authority, create: true, trustDomain: 'cluster.local', clock: systemClock });
  const workloads = topology.pods.map((pod) => ({
    uid: `Kubernetes//Pod/${pod.namespace}/${pod.name}`,
    name: pod.name,
    namespace: pod.namespace,
    workloadIps: [pod.ip],
    serviceAccount: pod.serviceAccount,
    trustDomain: 'cluster.local',
    protocol: pod.captured ? 'HBONE' : 'TCP',
    node: pod.node,
    services: {},
  }));
  const ip = lab.node('node-a').ztunnelIp;
  const ztunnel = {
    uid: 'Kubernetes//Pod/istio-system/ztunnel-x',
    name: 'ztunnel-x',
    namespace: 'istio-system',
    workloadIps: [ip],
    serviceAccount: 'ztunnel',
    trustDomain: 'cluster.local',
    protocol: 'HBONE',
    node: 'node-a',
    services: {},
  };
  writeFileSync(path.join(folder, 'mesh.yaml'), JSON.stringify({ workloads: [...workloads, ztunnel] }));
  const fields: Readonly<Record<string, string>> = {
    'metadata.name': 'ztunnel-x',
    'metadata.namespace': 'istio-system',
    'spec.nodeName': 'node-a',
    'status.podIP': ip,
    'spec.serviceAccountName': 'ztunnel',
  };
  const given = env.map(({ name, value, valueFrom }) => [name, value ?? fields[valueFrom?.fieldRef.fieldPath ?? '']]);
  const entry = JSON.parse(/^ENTRYPOINT (.+)$/m.exec(read('Dockerfile'))?.[1] ?? '') as string[];
  // One uid and gid are all there is in a user namespace of an ordinary user.
  const mapped = /^\s*0\s+0\s+4294967295/.test(readFileSync('/proc/self/gid_map', 'utf8'));
  const kept = securityContext.capabilities.add.map((name) => `+${name.toLowerCase()}`).join(',');
  const identity = mapped
    ? ['--reuid', String(securityContext.runAsUser), '--regid', String(securityContext.runAsGroup), '--clear-groups']
    : [];
  const container = lab.spawn('ztunnel-node-a', {
    name: 'container',
    argv: [
      ...(['unshare', '--mount', 'sh', '-ec', script, 'sh', lab.agents.of('node-a').path, root] as const),
      ...['setpriv', ...identity, `--bounding-set=-all,${kept}`, '--inh-caps=-all'],
      ...[process.execPath, ...entry.slice(1, -1), programFile('image'), ...args],
    ],
    env: {
      ...Object.fromEntries(given),
      // In place of istiod.
      XDS_ADDRESS: '',
      LOCAL_XDS_PATH: path.join(folder, 'mesh.yaml'),
      AMBIT_CA_DIR: authority,
    },
  });

  t.test('it becomes ready on 15021, and takes the node’s pods in', async (t) => {
    await eventually(
      'it is ready',
      async () => {
        if (!container.running) throw new Error(`it ended:\n${container.lines.join('\n')}`);
        const answer = await lab.request('ztunnel-node-a', { kind: 'http', url: `http://${ip}:15021/healthz/ready` });
        return answer.kind === 'http' && answer.status === 200 && answer.body === 'ready\n';
      },
      30_000,
    );
    const status = readFileSync(`/proc/${container.pid}/status`, 'utf8');
    const effective = /^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1];
    t.equal(effective, '0000000000203000', 'NET_ADMIN, NET_RAW and SYS_ADMIN, nothing else');
    if (mapped) t.match(status, /^Uid:\s+0\s[\s\S]*^Gid:\s+1337\s/m);
    const metrics = await lab.request('ztunnel-node-a', { kind: 'http', url: `http://${ip}:15020/metrics` });
    const pods = topology.pods.filter(({ captured }) => captured).length;
    t.match(metrics, { status: 200, body: new RegExp(`^workload_manager_active_proxy_count ${pods}$`, 'm') });
  });

  t.test('traffic goes through it with the client’s address', async (t) => {
    const details = lab.pod('details');
    const answer = await lab.request('sleep', { kind: 'http', url: `http://${details.ip}:9080/health` });
    t.match(answer, { status: 200, headers: { 'x-app-pod': 'details' } });
    if (answer.kind === 'http') t.ok(answer.headers['x-app-peer']?.startsWith(`${lab.pod('sleep').ip}:`));
    await eventually(
      'its lines',
      () => container.lines.filter((line) => line.includes('connection complete')).length >= 2,
    );
  });

  t.test('its metrics are read through the mesh, by its own identity', async (t) => {
    using wire = startCapture(lab.namespace('ztunnel-node-a'), { interface: 'eth0' });
    const metrics = await lab.request('sleep', { kind: 'http', url: `http://${ip}:15020/metrics` });
    t.match(metrics, { status: 200, body: /^workload_manager_active_proxy_count /m });
    t.ok(
      wire.packets.some(({ destinationPort }) => destinationPort === 15008),
      'in a tunnel',
    );
    t.notOk(wire.holds('GET /metrics'), 'and nothing in clear');
    const admin = await lab.request('sleep', { kind: 'http', url: `http://${ip}:15000/config_dump` });
    t.match(admin, { kind: 'failed' }, 'the admin port is not reached that way');
  });

  t.test('it leaves when Kubernetes says so', async (t) => {
    container.signal('SIGTERM');
    t.match(await container.exited, { code: 0 });
  });
}
