/**
 * Both address families at once, on real packets: dual-stack pods, a pod and a service of IPv6 alone, a waypoint reached
 * over IPv6, policies by IPv6 block, plaintext and probes from outside.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { startLabMesh } from '../../../src/app/lab-mesh.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { modernPreset } from '../../../src/config/preset.ts';
import { startCapture } from '../../../src/lab/capture.ts';
import { runIp } from '../../../src/lab/namespace.ts';
import type { LabAnswer } from '../../../src/lab/request.ts';
import { connectFrom } from '../../../src/lab/sockets.ts';
import { builtPrograms } from '../../support/program-files.ts';
import { insideLab } from '../lab/inside.ts';
import { dualStackYaml, ip, vip } from './dual-stack-mesh.ts';
import { askHttp, field, get, isOpening, spiffe } from './path-mesh.ts';

t.setTimeout(240_000);

const probe = 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff';
const nodeB = 'fd00:10:244:2::1';

if (await insideLab()) {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-dual-'));
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'mesh.yaml'), dualStackYaml);
  const mesh = await startLabMesh({ ...builtPrograms, preset: modernPreset, folder, logger: silentLogger });
  t.teardown(() => mesh.close());
  rmSync(folder, { recursive: true, force: true });
  const { lab } = mesh;
  const url = (host: string, file = '/health') => `http://${host.includes(':') ? `[${host}]` : host}:9080${file}`;

  for (const family of ['v4', 'v6'] as const) {
    const shown = (address: string) => (family === 'v4' ? address : `[${address}]`);

    t.test(`${family}: service and pod, the client’s address kept to the application`, async (t) => {
      for (const target of [vip.details[family], ip.details[family]]) {
        const marks = { a: mesh.access.mark('ztunnel-node-a'), b: mesh.access.mark('ztunnel-node-b') };
        using wire = startCapture(lab.namespace('node-a'), { interface: 'eth0', filter: isOpening });
        const answer = await askHttp(mesh, 'sleep', get(url(target)));
        t.match(answer, { status: 200, headers: { 'x-app-pod': 'details' } });
        t.match(answer.headers['x-app-peer'], new RegExp(`^${ip.sleep[family]}:\\d+$`));
        const used = new Set(
          wire.packets.map(({ source, destination, destinationPort }) => `${source} ${destination} ${destinationPort}`),
        );
        t.ok(
          [...used].every((each) => each === `${ip.sleep[family]} ${ip.details[family]} 15008`),
          [...used].join('; '),
        );
        const inbound = await mesh.waitForAccess('ztunnel-node-b', field('direction', 'inbound'), marks.b);
        t.match(inbound.fields, {
          'src.identity': spiffe('sleep'),
          'dst.addr': `${shown(ip.details[family])}:15008`,
          'dst.hbone_addr': `${shown(ip.details[family])}:9080`,
        });
        t.ok(String(inbound.fields['src.addr']).startsWith(`${shown(ip.sleep[family])}:`), 'never as a mapped address');
        const outbound = await mesh.waitForAccess('ztunnel-node-a', field('direction', 'outbound'), marks.a);
        t.match(outbound.fields, {
          'dst.addr': `${shown(ip.details[family])}:15008`,
          'dst.hbone_addr': `${shown(ip.details[family])}:9080`,
          'src.workload': 'sleep',
          'dst.workload': 'details',
        });
        t.ok(String(outbound.fields['src.addr']).startsWith(`${shown(ip.sleep[family])}:`));
      }
    });

    t.test(`${family}: through a waypoint that has an IPv6 address alone`, async (t) => {
      using wire = startCapture(lab.namespace('node-b'), { interface: 'eth0', filter: isOpening });
      const answer = await askHttp(mesh, 'sleep', get(url(vip.reviews[family], '/headers')));
      t.equal(answer.status, 200);
      t.match(JSON.parse(answer.body), { headers: { 'x-waypoint': 'passed' } });
      const peers = new Set([ip.waypoint.v4, ip.waypoint.v6]);
      t.ok(
        wire.packets.every(({ source, destinationPort }) => destinationPort === 15008 && peers.has(source as never)),
      );
      // The authority is the address the client called.
      const called = field('dst.hbone_addr', `${shown(vip.reviews[family])}:9080`);
      const line = await mesh.waitForAccess('ztunnel-node-a', called, 0);
      t.match(line.fields, { 'dst.addr': `[${ip.waypoint.v6}]:15008`, 'dst.workload': 'waypoint' });
    });
  }

  t.test('a pod and a service of IPv6 alone; a policy by IPv6 block keeps one client out', async (t) => {
    for (const target of [vip.ratings.v6, ip.ratings.v6]) {
      t.match(await askHttp(mesh, 'sleep', get(url(target))), { status: 200, headers: { 'x-app-pod': 'ratings' } });
      const mark = mesh.access.mark('ztunnel-node-b');
      t.match(await lab.request('notsleep', get(url(target))), { kind: 'failed' });
      const line = await mesh.waitForAccess('ztunnel-node-b', field('src.workload', 'notsleep'), mark);
      t.match(line.fields, { error: /explicitly denied by: default\/no-upper-half/ });
      t.ok(String(line.fields['src.addr']).startsWith(`[${ip.notsleep.v6}]:`));
    }
  });

  t.test('plaintext from outside the mesh keeps its IPv6 address, and policies see it', async (t) => {
    const mark = mesh.access.mark('ztunnel-node-b');
    const answer = await askHttp(mesh, 'control', get(url(ip.details.v6)));
    t.equal(answer.status, 200);
    t.match(answer.headers['x-app-peer'], new RegExp(`^${ip.control.v6}:\\d+$`));
    const line = await mesh.waitForAccess('ztunnel-node-b', field('dst.workload', 'details'), mark);
    t.match(line.fields, { direction: 'inbound', 'dst.addr': `[${ip.details.v6}]:9080` });
    t.notOk('src.identity' in line.fields);
    const local = await askHttp(mesh, 'details', get(url(ip.details.v6)));
    t.match(local, { status: 200 }, 'a pod that calls itself');
  });

  t.test('kubelet’s probes pass ztunnel by, by their address alone', async (t) => {
    await runIp(lab.namespace('node-b'), [`addr add ${probe}/128 dev lo nodad`]);
    const mark = mesh.access.mark('ztunnel-node-b');
    t.match(await ask('node-b', ip.ratings.v6, probe), new RegExp(`x-app-peer: ${probe}:\\d+\r\n`, 'i'));
    // Any other address of the node comes in by ztunnel, which says so: its line is the first.
    t.match(await ask('node-b', ip.ratings.v6, nodeB), new RegExp(`x-app-peer: ${nodeB}:\\d+\r\n`, 'i'));
    const line = await mesh.waitForAccess('ztunnel-node-b', field('dst.workload', 'ratings'), mark);
    t.ok(String(line.fields['src.addr']).startsWith(`[${nodeB}]:`));
    const probed = mesh.access
      .since('ztunnel-node-b', mark)
      .filter(({ fields }) => String(fields['src.addr']).includes(probe));
    t.same(probed, []);
  });

  t.test('with IPV6_ENABLED=false IPv4 is served, and IPv6 of captured pods is refused, not passed on', async (t) => {
    await mesh.stop('ztunnel-node-a');
    await mesh.startZtunnel('node-a', { IPV6_ENABLED: 'false' });
    t.match(await askHttp(mesh, 'sleep', get(url(ip.details.v4))), { status: 200 });
    using wire = startCapture(lab.namespace('node-a'), { interface: 'eth0', filter: isOpening });
    const refused: LabAnswer = await lab.request('sleep', get(url(ip.details.v6)));
    t.match(refused, { kind: 'failed', phase: 'connect' });
    t.same(wire.packets, []);
  });

  /** One GET on a socket of a node with one of its addresses. */
  async function ask(node: string, host: string, from: string): Promise<string> {
    const socket = await connectFrom(lab.namespace(node), { host, port: 9080, from });
    socket.write('GET /health HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n');
    return await text(socket);
  }
}
