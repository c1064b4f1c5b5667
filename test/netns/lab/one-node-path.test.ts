/** The one-node forms: ztunnel in the node's own namespace (seed-design.md §6.3) and today's in-pod rules (§6.4). */
import type { Socket } from 'node:net';
import { originalDestination } from 'node-tproxy-native';
import t from 'tap';
import { oneNodeTopology } from '../../../src/lab/bookinfo.ts';
import { createLab } from '../../../src/lab/lab.ts';
import { connectFrom, listenIn } from '../../../src/lab/sockets.ts';
import { insideLab } from './inside.ts';
import { type Seen, startWaypoint, startZtunnel } from './stand-ins.ts';

if (await insideLab()) {
  for (const returnPath of ['socket', 'connmark'] as const) {
    t.test(`ztunnel in the node's namespace serves the path, replies found by ${returnPath}`, async (t) => {
      const lab = await createLab({ topology: oneNodeTopology(), redirection: { mode: 'host', returnPath } });
      t.teardown(() => lab.close());
      const seen: Seen[] = [];
      const options = { place: 'node-a', waypointIp: '10.244.1.8', seen };
      const servers = [...(await startZtunnel(lab, 'node-a', options)), await startWaypoint(lab, '10.244.1.9', seen)];
      t.teardown(() => servers.forEach((server) => void server.close()));

      const answer = await lab.request('sleep', { kind: 'http', url: 'http://10.96.179.71:9080/health' });

      t.match(answer, { status: 200, headers: { 'x-app-pod': 'productpage', 'x-app-peer': /^10\.244\.1\.8:/ } });
      t.same(seen, [
        { at: '15001@node-a', peer: '10.244.1.4', local: '10.96.179.71:9080' },
        { at: 'waypoint', peer: '10.244.1.4', local: '10.244.1.8:15006' },
        { at: '15008@node-a', peer: '10.244.1.8', local: '10.244.1.9:15008' },
      ]);
      const probe = await lab.request('node-a', { kind: 'http', url: 'http://10.244.1.9:9080/health' });
      t.match(probe, { status: 200, headers: { 'x-app-peer': /^10\.244\.1\.1:/ } }, 'the node’s own probes bypass');
      t.equal(seen.length, 3);
    });
  }

  t.test('in-pod rules hand a pod’s outbound traffic, with its destination, to a listener in that pod', async (t) => {
    const lab = await createLab({ topology: oneNodeTopology(), redirection: { mode: 'inpod' } });
    t.teardown(() => lab.close());
    const originals: unknown[] = [];
    const { server } = await listenIn(lab.namespace('sleep'), { port: 15001 }, (socket) => {
      originals.push(originalDestination(descriptorOf(socket)));
      socket.end('captured');
    });
    t.teardown(() => server.close());
    t.match(await lab.request('sleep', { kind: 'tcp', host: '10.96.179.71', port: 9080 }), { body: 'captured' });
    t.same(originals, [{ address: '10.96.179.71', port: 9080, family: 4 }]);
    const plain = await connectFrom(lab.namespace('control'), { host: '10.244.1.6', port: 9080 }).catch(
      (error) => error,
    );
    t.equal(plain.code, 'ECONNREFUSED', 'inbound to a captured pod goes to its 15006, where nobody listens');
  });
}

function descriptorOf(socket: Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}
