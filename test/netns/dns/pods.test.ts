/** DNS and SOCKS5 of a pod, with real redirection: its resolver knows nothing of ztunnel, and the answers are ztunnel's. */
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import t from 'tap';
import type { LabPod, Topology } from '../../../src/lab/topology.ts';
import { eventually, within } from '../../support/eventually.ts';
import { insideLab } from '../lab/inside.ts';
import { startLabZtunnels } from '../ztunnel/lab-ztunnels.ts';

const program = (name: string) => resolve(import.meta.dirname, `${name}.ts`);
const pod = (name: string, n: number, fields: Partial<LabPod> = {}): LabPod => ({
  name,
  namespace: 'default',
  serviceAccount: name,
  node: 'node-a',
  ip: `10.244.1.${n}`,
  secondIp: `fd00:10:244:1::${n}`,
  labels: {},
  captured: true,
  ...fields,
});
const topology: Topology = {
  nodes: [
    {
      name: 'node-a',
      ip: '172.18.0.2',
      podCidr: '10.244.1.0/24',
      gateway: '10.244.1.1',
      ztunnelIp: '10.244.1.2',
      ipv6: { ip: 'fd00:172:18::2', podCidr: 'fd00:10:244:1::/64', gateway: 'fd00:10:244:1::1' },
    },
  ],
  pods: [
    pod('sleep', 4),
    pod('control', 10, { captured: false }),
    pod('details', 6, { app: { kind: 'details', port: 9080 } }),
  ],
  services: [
    {
      name: 'details',
      namespace: 'default',
      vip: '10.96.36.10',
      secondVip: 'fd00:10:96::10',
      ports: [{ port: 9080, targetPort: 9080 }],
      endpoints: ['details'],
    },
  ],
};

t.setTimeout(180_000);

if (await insideLab()) {
  const resolvConf = join(tmpdir(), `ambit-resolv-${process.pid}.conf`);
  writeFileSync(resolvConf, 'nameserver 10.244.1.10\n');
  const { lab } = await startLabZtunnels(t, {
    topology,
    preset: 'modern',
    redirection: { mode: 'inpod', dns: true },
    environment: { AMBIT_RESOLV_CONF: resolvConf, UNSTABLE_ENABLE_SOCKS5: 'true' },
  });
  const upstream = lab.spawn('control', { name: 'upstream', argv: [process.execPath, program('upstream')] });
  await eventually('the name server', () => upstream.lines.some((line) => line.includes('listening')));

  const output = async (name: string, argv: readonly [string, ...string[]]) => {
    const started = lab.spawn('sleep', { name, argv });
    await within(`the end of ${name}`, started.exited, 30_000);
    return started.lines;
  };
  const answers = async (server: string, ...questions: string[]) => {
    const lines = await output('asking', [process.execPath, program('ask'), server, ...questions]);
    return lines
      .filter((line) => line.includes('"question"'))
      .map((line) => JSON.parse(line.slice(line.indexOf('{'))).answer);
  };

  // Nobody has these addresses: what answers is in between, and the answers seem to come from there.
  for (const server of ['10.96.0.10', '[fd00:10:96::a]']) {
    t.test(`a pod whose name server is ${server}: the mesh's names, and others' from inside the pod`, async (t) => {
      t.same(
        await answers(
          server,
          'details.default.svc.cluster.local',
          'details/AAAA',
          'example.com.default.svc.cluster.local',
          'example.com/TXT',
          'example.com/SRV',
        ),
        ['10.96.36.10', 'fd00:10:96::10', '10.244.1.4', '10.244.1.4', 'ENOTFOUND'],
      );
    });
  }

  t.test('SOCKS5: a name is resolved and reached, and the application sees the pod', async (t) => {
    const curl = ['curl', '-sS', '-D', '-', '--max-time', '10', '--socks5-hostname', '127.0.0.1:15080'] as const;
    const lines = await output('curl', [...curl, 'http://details:9080/health']);
    t.ok(
      lines.some((line) => /HTTP\/1.1 200/.test(line)),
      lines.join('\n'),
    );
    t.ok(lines.some((line) => /x-app-peer: 10\.244\.1\.4:/i.test(line)));
  });
}
