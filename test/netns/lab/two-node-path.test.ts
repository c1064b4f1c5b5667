/** The article's path on two nodes, hop by hop, with plaintext stand-ins for the proxies (seed-design.md §6.1). */
import t, { type Test } from 'tap';
import { bookinfoTopology } from '../../../src/lab/bookinfo.ts';
import { type CapturedPacket, startCapture } from '../../../src/lab/capture.ts';
import { createLab, type Lab } from '../../../src/lab/lab.ts';
import type { TunnelKind } from '../../../src/lab/redirection.ts';
import { insideLab } from './inside.ts';
import { type Seen, startWaypoint, startZtunnel } from './stand-ins.ts';

const tunnels: readonly TunnelKind[] = ['vxlan', 'veth'];

if (await insideLab()) {
  for (const tunnel of tunnels) {
    for (const membership of ['ipset', 'rules'] as const) {
      t.test(`over ${tunnel} with ${membership} each hop sees the article's addresses`, async (t) => {
        const lab = await createLab({
          topology: bookinfoTopology(),
          redirection: { mode: 'node', tunnel, membership },
        });
        t.teardown(() => lab.close());
        const seen = await startStandIns(t, lab);
        using wire = startCapture(lab.namespace('node-b'), { interface: 'eth0', filter: isTcp });

        const answer = await lab.request('sleep', { kind: 'http', url: 'http://10.96.179.71:9080/health' });

        t.match(answer, { kind: 'http', status: 200, end: 'fin', remote: '10.96.179.71:9080' });
        t.match(answer, { headers: { 'x-app-pod': 'productpage', 'x-app-peer': /^10\.244\.1\.8:/ } });
        t.same(seen, [
          { at: '15001@node-a', peer: '10.244.1.4', local: '10.96.179.71:9080' },
          { at: 'waypoint', peer: '10.244.1.4', local: '10.244.1.8:15006' },
          { at: '15008@node-b', peer: '10.244.1.8', local: '10.244.2.5:15008' },
        ]);
        t.ok(wire.packets.length > 0, 'the nodes exchanged packets');
        t.ok(
          wire.packets.every((packet) => [packet.sourcePort, packet.destinationPort].includes(15008)),
          'between the nodes there is only the tunnel',
        );
      });
    }
  }

  t.test(
    'a client that is not in the mesh reaches a pod by its ztunnel’s plaintext port with its address kept',
    async (t) => {
      const lab = await createLab({ topology: bookinfoTopology(), redirection: { mode: 'node' } });
      t.teardown(() => lab.close());
      const seen = await startStandIns(t, lab);
      const answer = await lab.request('control', { kind: 'http', url: 'http://10.244.2.6:9080/details/0' });
      t.match(answer, { status: 200, headers: { 'x-app-peer': /^10\.244\.1\.10:/ } });
      t.match(seen, [{ at: '15006@node-b', peer: '10.244.1.10', local: '10.244.2.6:9080' }]);
    },
  );

  t.test('without a ztunnel captured traffic goes nowhere', async (t) => {
    const lab = await createLab({ topology: bookinfoTopology(), redirection: { mode: 'node' }, apps: false });
    t.teardown(() => lab.close());
    using wire = startCapture(lab.namespace('node-b'), { filter: isTcp });
    const tried = await lab.request('sleep', { kind: 'tcp', host: '10.96.179.71', port: 9080, timeoutMs: 1500 });
    t.match(tried, { kind: 'failed', phase: 'connect' });
    t.same(wire.packets, []);
  });
}

function isTcp(packet: CapturedPacket): boolean {
  return packet.protocol === 'tcp';
}

async function startStandIns(t: Test, lab: Lab): Promise<Seen[]> {
  const seen: Seen[] = [];
  const servers = [
    ...(await startZtunnel(lab, 'node-a', { waypointIp: '10.244.1.8', seen })),
    ...(await startZtunnel(lab, 'node-b', { waypointIp: '10.244.1.8', seen })),
    await startWaypoint(lab, '10.244.2.5', seen),
  ];
  t.teardown(() => Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve)))));
  return seen;
}
