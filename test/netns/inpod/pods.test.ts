/** Real ztunnels on real packets, in today's way: listeners inside each pod, handed over by the node agent. */
import { readdirSync } from 'node:fs';
import t from 'tap';
import { bookinfoTopology } from '../../../src/lab/bookinfo.ts';
import { type CapturedPacket, startCapture } from '../../../src/lab/capture.ts';
import type { LabProcess } from '../../../src/lab/process.ts';
import { eventually } from '../../support/eventually.ts';
import { insideLab } from '../lab/inside.ts';
import { startLabZtunnels } from '../ztunnel/lab-ztunnels.ts';

const productpage = { kind: 'http', url: 'http://10.96.179.71:9080/health' } as const;

t.setTimeout(240_000);

if (await insideLab()) {
  const { lab, mark, lines, ask, processes, start } = await startLabZtunnels(t, {
    topology: bookinfoTopology(),
    preset: 'modern',
    redirection: { mode: 'inpod' },
    // Two ztunnels of one node are to run at a time.
    environment: { AMBIT_ADMIN_PORT: '0', AMBIT_METRICS_PORT: '0', AMBIT_READINESS_PORT: '0' },
  });

  // First, as long as there are no other connections whose packets could be met.
  t.test('between pods of one node the bytes go from one pod to the other in process', async (t) => {
    using wire = startCapture(lab.namespace('node-b'), { interface: 'any', filter: isTcp });
    const answer = await lab.request('productpage', { kind: 'http', url: 'http://10.96.36.10:9080/health' });
    t.match(answer, { status: 200, headers: { 'x-app-pod': 'details', 'x-app-peer': /^10\.244\.2\.5:/ } });
    t.same(wire.packets, [], 'nothing of it passed the node');
    t.match(
      await lab.request('control', { kind: 'http', url: 'http://10.244.2.6:9080/health' }),
      { status: 200, headers: { 'x-app-peer': /^10\.244\.1\.10:/ } },
      'plaintext from outside keeps its address',
    );
    await eventually('a line of each end and one of the plaintext', () => lines('node-b').length === 3);
  });

  t.test('two nodes: the tunnel leaves the client’s pod with its address, and the application sees that', async (t) => {
    const before = { a: mark('node-a'), b: mark('node-b') };
    using wire = startCapture(lab.namespace('node-b'), { interface: 'eth0', filter: isTcp });
    const answer = await lab.request('sleep', productpage);
    t.match(answer, {
      status: 200,
      end: 'fin',
      headers: { 'x-app-pod': 'productpage', 'x-app-peer': /^10\.244\.1\.4:/ },
    });
    t.ok(wire.packets.length > 0);
    t.ok(wire.packets.every((packet) => [packet.sourcePort, packet.destinationPort].includes(15008)));
    t.ok(wire.packets.some((packet) => packet.source === '10.244.1.4'));
    await eventually(
      'both lines',
      () => lines('node-a', before.a).length === 1 && lines('node-b', before.b).length === 1,
    );
    t.match(lines('node-b', before.b)[0], {
      direction: 'inbound',
      'src.workload': 'sleep',
      'dst.workload': 'productpage',
    });
    const dump = JSON.parse(await ask('node-a', '/config_dump'));
    t.match(dump.workloadState, { 'default/sleep': { state: 'Up', info: { name: 'sleep' } } });
  });

  t.test('a pod that comes is served, one that goes leaves no descriptor behind', async (t) => {
    const ztunnel = processes.get('node-b');
    if (ztunnel === undefined) throw new Error('no ztunnel on node-b');
    const asked = mark('node-b');
    t.match(await lab.request('sleep', productpage), { status: 200 });
    await eventually('the end of its connection', () => lines('node-b', asked).length === 1);
    const pod = lab.pod('ratings');
    await lab.removePod('ratings');
    const before = descriptors(ztunnel);
    await lab.addPod(pod);
    await eventually('listeners and namespace', () => descriptors(ztunnel) >= before + 4);
    t.match(await lab.request('sleep', { kind: 'http', url: `http://${pod.ip}:9080/health` }), { status: 200 });
    await lab.removePod('ratings');
    await eventually('all closed', () => descriptors(ztunnel) <= before + 1);
  });

  t.test('a new ztunnel takes the pods over while the old one still runs', async (t) => {
    const old = processes.get('node-a');
    await start('node-a');
    await old?.stop();
    t.match(await lab.request('sleep', productpage), { status: 200 });
  });
}

function isTcp(packet: CapturedPacket): boolean {
  return packet.protocol === 'tcp';
}

function descriptors(process: LabProcess): number {
  return readdirSync(`/proc/${process.pid}/fd`).length;
}
