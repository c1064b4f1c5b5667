/** One workload per process (PROXY_MODE=dedicated), inside its own network namespace and without a node agent. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import t from 'tap';
import { AccessRecord } from '../../../src/app/lab-access.ts';
import { askSocket } from '../../../src/app/lab-admin.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { openAuthority } from '../../../src/identity/authority.ts';
import { oneNodeTopology } from '../../../src/lab/bookinfo.ts';
import { createLab } from '../../../src/lab/lab.ts';
import { eventually } from '../../support/eventually.ts';
import { programFile } from '../../support/program-files.ts';
import { insideLab } from '../lab/inside.ts';

const program = programFile('ztunnel');

t.setTimeout(240_000);

if (await insideLab()) {
  const topology = oneNodeTopology();
  const access = new AccessRecord();
  const lab = await createLab({
    topology,
    redirection: { mode: 'inpod' },
    onLine: (name, line) => access.take(name, line),
  });
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
    protocol: ['sleep', 'details'].includes(pod.name) ? 'HBONE' : 'TCP',
    node: pod.node,
    services: {},
  }));
  writeFileSync(path.join(folder, 'mesh.yaml'), JSON.stringify({ workloads }));
  const url = `http://${lab.pod('details').ip}:9080/health`;

  for (const name of ['sleep', 'details']) {
    const { namespace, serviceAccount } = lab.pod(name);
    const socket = path.join(folder, `${name}.admin`);
    const started = lab.spawn(name, {
      name: `ztunnel-of-${name}`,
      argv: [process.execPath, program, 'proxy', 'ztunnel'],
      env: {
        PROXY_MODE: 'dedicated',
        PROXY_WORKLOAD_INFO: `${namespace}/${name}/${serviceAccount}`,
        // The rules in the pod must know our packets; without them none would be marked.
        PACKET_MARK: '1337',
        LOCAL_XDS_PATH: path.join(folder, 'mesh.yaml'),
        AMBIT_CA_DIR: authority,
        AMBIT_ADMIN_SOCKET: socket,
        LOG_FORMAT: 'json',
      },
    });
    await eventually(
      `ztunnel of ${name}`,
      async () => {
        if (!started.running) throw new Error(`it ended:\n${started.lines.slice(-10).join('\n')}`);
        return (await askSocket(socket, '/healthz/ready').catch(() => undefined))?.status === 200;
      },
      20_000,
    );
  }

  t.test('asks for no certificate before one is needed, and for its own alone', async (t) => {
    const certificates = async (name: string) =>
      (await askSocket(path.join(folder, `${name}.admin`), '/config_dump?view=certs.txt')).body;
    t.notMatch(await certificates('sleep'), 'spiffe://');
    t.match(await lab.request('sleep', { kind: 'http', url }), { status: 200 });
    const shown = await certificates('sleep');
    t.match(shown, 'sa/sleep ');
    t.notMatch(shown, /sa\/(?!sleep )/);
  });

  t.test('the two speak HBONE from pod to pod, and the application sees its client', async (t) => {
    const answer = await lab.request('sleep', { kind: 'http', url });
    t.match(answer, { status: 200, headers: { 'x-app-pod': 'details' } });
    if (answer.kind === 'http') t.ok(answer.headers['x-app-peer']?.startsWith(`${lab.pod('sleep').ip}:`));
    const line = await eventually('the line of the receiving end', () =>
      access.since('ztunnel-of-details', 0).find(({ fields }) => fields['src.workload'] === 'sleep'),
    );
    t.match(line.fields, {
      direction: 'inbound',
      'src.identity': 'spiffe://cluster.local/ns/default/sa/sleep',
      'dst.addr': `${lab.pod('details').ip}:15008`,
    });
  });
}
