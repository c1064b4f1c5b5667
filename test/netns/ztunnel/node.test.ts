/** Real ztunnels on real packets, in the article's way: TPROXY on two nodes, borrowed addresses, both return paths. */
import t, { type Test } from 'tap';
import { bookinfoTopology } from '../../../src/lab/bookinfo.ts';
import { type CapturedPacket, startCapture } from '../../../src/lab/capture.ts';
import { eventually } from '../../support/eventually.ts';
import { insideLab } from '../lab/inside.ts';
import { type LabZtunnels, startLabZtunnels } from './lab-ztunnels.ts';

const productpage = { kind: 'http', url: 'http://10.96.179.71:9080/health' } as const;
const sleepId = 'spiffe://cluster.local/ns/default/sa/sleep';
/** Of ratings alone. */
const strict = `policies:
- name: strict
  namespace: default
  scope: WorkloadSelector
  action: Deny
  rules: [[[{notPrincipals: [!Presence []]}]]]
  dryRun: false
`;

t.setTimeout(240_000);

if (await insideLab()) {
  t.test('with replies found by the marks of listeners', async (t) => {
    const ztunnels = await start(t, 'listener-marks');
    const { lab, mark, lines, processes } = ztunnels;

    // First, as long as there is no tunnel whose packets could be met.
    await t.test('between pods of one node the delivery is in process, with both log lines', async (t) => {
      using wire = startCapture(lab.namespace('ztunnel-node-b'), { interface: 'any', filter: isTcp });
      const answer = await lab.request('productpage', { kind: 'http', url: 'http://10.96.36.10:9080/health' });
      t.match(answer, { status: 200, headers: { 'x-app-pod': 'details' } });
      t.notOk(wire.packets.some((packet) => packet.destinationPort === 15008));
      await eventually('both lines', () => {
        const directions = lines('node-b').map((line) => line.direction);
        return directions.includes('inbound') && directions.includes('outbound');
      });
    });

    await twoNodes(t, ztunnels);

    await t.test('forty requests at eight a time all get their answer', async (t) => {
      const answers = await lab.requestMany('sleep', {
        concurrency: 8,
        requests: Array.from({ length: 40 }, () => productpage),
      });
      t.ok(answers.every((answer) => answer.kind === 'http' && answer.status === 200));
    });

    await t.test(
      'plaintext from outside the mesh reaches a pod with its address kept, unless policy wants an identity',
      async (t) => {
        const before = mark('node-b');
        const open = await lab.request('control', { kind: 'http', url: 'http://10.244.2.6:9080/health' });
        t.match(open, { status: 200, headers: { 'x-app-peer': /^10\.244\.1\.10:/ } });
        const closed = await lab.request('control', { kind: 'http', url: 'http://10.244.2.7:9080/health' });
        t.match(closed, { kind: 'failed' });
        const line = await eventually('the line', () =>
          lines('node-b', before).find((each) => each.error !== undefined),
        );
        t.match(line, { error: /explicitly denied by: default\/strict/, hop: 'capture inbound listener' });
        const inMesh = await lab.request('sleep', { kind: 'http', url: 'http://10.244.2.7:9080/health' });
        t.match(inMesh, { status: 200 });
      },
    );

    await t.test('when ztunnel is gone captured traffic goes nowhere; when it is back it flows again', async (t) => {
      await processes.get('node-a')?.stop();
      const tried = await lab.request('sleep', { kind: 'tcp', host: '10.96.179.71', port: 9080, timeoutMs: 1000 });
      t.match(tried, { kind: 'failed', phase: 'connect' });
      await ztunnels.start('node-a');
      t.match(await lab.request('sleep', productpage), { status: 200 });
    });
  });

  t.test('with replies found by the connection’s mark', async (t) => {
    await twoNodes(t, await start(t, 'connmark'));
  });
}

function start(t: Test, returnPath: 'listener-marks' | 'connmark'): Promise<LabZtunnels> {
  return startLabZtunnels(t, {
    topology: bookinfoTopology(),
    preset: 'legacy',
    redirection: { mode: 'node' },
    environment: { AMBIT_RETURN_PATH: returnPath },
    policies: strict,
    named: { ratings: ['default/strict'] },
  });
}

async function twoNodes(t: Test, { lab, mark, lines, ask }: LabZtunnels): Promise<void> {
  await t.test('two nodes: encrypted between them, logged at both ends', async (t) => {
    const before = { a: mark('node-a'), b: mark('node-b') };
    using wire = startCapture(lab.namespace('node-b'), { interface: 'eth0', filter: isTcp });
    const answer = await lab.request('sleep', productpage);
    t.match(answer, { kind: 'http', status: 200, end: 'fin', remote: '10.96.179.71:9080' });
    // The preview's tunnel straight to a pod carries ztunnel's own address, and the application sees that.
    t.match(answer, { headers: { 'x-app-pod': 'productpage', 'x-app-peer': /^10\.244\.1\.2:/ } });
    t.ok(wire.packets.length > 0);
    t.ok(wire.packets.every((packet) => [packet.sourcePort, packet.destinationPort].includes(15008)));
    const outbound = await eventually('the line', () =>
      lines('node-a', before.a).find((line) => line.direction === 'outbound'),
    );
    t.match(outbound, {
      'src.addr': /^10\.244\.1\.4:/,
      'src.identity': sleepId,
      'dst.addr': '10.244.2.5:15008',
      'dst.hbone_addr': '10.244.2.5:9080',
      hop: 'capture outbound (no waypoint proxy)',
    });
    const inbound = await eventually('the line', () =>
      lines('node-b', before.b).find((line) => line.direction === 'inbound'),
    );
    t.match(inbound, {
      'src.identity': sleepId,
      'src.workload': 'sleep',
      'dst.workload': 'productpage',
      hop: 'inbound hcm',
    });
    const listeners = await ask('node-a', '/config_dump?view=listeners.txt&source=sleep');
    t.match(listeners, 'listener ztunnel_outbound');
    t.match(listeners, `10.96.179.71\n`);
  });
}

function isTcp(packet: CapturedPacket): boolean {
  return packet.protocol === 'tcp';
}
