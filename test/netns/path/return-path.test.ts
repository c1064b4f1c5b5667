/** The other tunnel and the other way back (R48, R50, R51): the path, its addresses and large bodies stay as they are. */
import t from 'tap';
import { startCapture } from '../../../src/lab/capture.ts';
import { insideLab } from '../lab/inside.ts';
import { askHttp, get, ip, productpageUrl, startPathMesh, vip } from './path-mesh.ts';

t.setTimeout(240_000);

if (await insideLab()) {
  for (const [tunnel, returnPath] of [
    ['veth', 'listener-marks'],
    ['veth', 'connmark'],
    ['vxlan', 'connmark'],
  ] as const) {
    t.test(`over ${tunnel}, with replies by ${returnPath}, the path is the same`, async (t) => {
      const mesh = await startPathMesh(t, {
        preset: 'legacy',
        redirection: { tunnel },
        environment: { '*': { AMBIT_RETURN_PATH: returnPath } },
      });
      using outbound = startCapture(mesh.lab.namespace('node-a'), { interface: 'istioout' });
      const answer = await askHttp(mesh, 'sleep', get(productpageUrl));
      t.match(answer, { status: 200, remote: '10.96.179.71:9080', headers: { 'x-app-peer': /^10\.244\.1\.8:/ } });
      const direct = await askHttp(mesh, 'sleep', get(`http://${vip.details}:9080/bytes/1000000`));
      t.match(direct, { status: 200, bodyBytes: 1_000_000, headers: { 'x-app-peer': /^10\.244\.1\.2:/ } });
      const replies = outbound.packets.filter((packet) => packet.destination === ip.sleep);
      if (returnPath === 'connmark') t.same(replies, [], 'replies leave by ztunnel’s own device');
      else t.ok(replies.length > 4, 'both directions use the tunnel');
    });
  }
}
