/**
 * What happens when something is missing: refused, with a reason, and never in clear (R27, R55); and whose keys a node
 * has (R56). Last, the waypoints of one Gateway share its load (R7).
 */
import t from 'tap';
import { startCapture } from '../../../src/lab/capture.ts';
import { listenIn } from '../../../src/lab/sockets.ts';
import { eventually } from '../../support/eventually.ts';
import { insideLab } from '../lab/inside.ts';
import {
  askHttp,
  field,
  get,
  ip,
  isOpening,
  productpageUrl,
  productpageWaypoint,
  spiffe,
  startPathMesh,
  statusOf,
  untilAnswer,
  view,
  vip,
  writeConfig,
} from './path-mesh.ts';

t.setTimeout(240_000);

const secondWaypoint = 'productpage-waypoint-two';
const secondWaypointPod = `
apiVersion: v1
kind: Pod
metadata: {name: ${secondWaypoint}, namespace: default, labels: {ambient-type: waypoint}}
spec: {serviceAccountName: bookinfo-productpage, nodeName: node-b}
status: {phase: Running, podIP: 10.244.2.8}
`;

const gatewayAlone = `
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: Gateway
metadata:
  name: productpage
  namespace: default
  annotations: {istio.io/service-account: bookinfo-productpage}
spec: {gatewayClassName: istio-mesh}
`;

if (await insideLab()) {
  const mesh = await startPathMesh(t, { preset: 'legacy', files: { 'second-waypoint.yaml': secondWaypointPod } });
  const { lab } = mesh;
  const detailsUrl = `http://${vip.details}:9080/details/0`;

  t.test('a ztunnel has certificates for the identities of its own node and no others', async (t) => {
    const identities = async (node: string) => {
      const certificates = await view<readonly { identity: string }[]>(mesh, `ztunnel-${node}`, 'view=certs');
      return certificates.map(({ identity }) => identity).sort();
    };
    t.same(await identities('node-a'), [spiffe('notsleep'), spiffe('sleep')]);
    t.same(
      await identities('node-b'),
      ['details', 'productpage', 'ratings', 'reviews'].map((app) => spiffe(`bookinfo-${app}`)),
    );
    const views = await Promise.all(
      mesh.proxies.flatMap((proxy) =>
        ['', 'view=certs', 'view=clusters'].map((query) => mesh.ask(proxy, `/config_dump?${query}`)),
      ),
    );
    t.notOk(
      views.some(({ body }) => body.includes('PRIVATE KEY') || body.includes('UFJJVkFURSBLRVk')),
      'no key is shown',
    );
  });

  t.test('two waypoints of one Gateway share its requests', async (t) => {
    const marks = new Map(mesh.proxies.map((name) => [name, mesh.access.mark(name)]));
    const endpoints = await view<readonly { cluster: string; endpoints: readonly { address: string }[] }[]>(
      mesh,
      'ztunnel-node-a',
      'view=endpoints&source=sleep',
    );
    const cluster = `${spiffe('sleep')}_to_server_waypoint_proxy_${spiffe('bookinfo-productpage')}`;
    const addresses = endpoints.find((each) => each.cluster === cluster)?.endpoints.map(({ address }) => address);
    t.same(addresses?.sort(), ['10.244.1.8:15006', '10.244.2.8:15006']);
    // A fair choice misses one of two in sixteen tries once in 32 768 runs.
    const answers = await lab.requestMany('sleep', {
      requests: Array.from({ length: 16 }, () => get(productpageUrl)),
      concurrency: 4,
    });
    t.ok(answers.every((answer) => statusOf(answer) === 200));
    for (const waypoint of [productpageWaypoint, secondWaypoint]) {
      const terminated = mesh.access
        .since(waypoint, marks.get(waypoint) ?? 0)
        .filter(field('stage', 'inbound_CONNECT_terminate'));
      t.ok(terminated.length > 0, `${waypoint} had ${terminated.length}`);
    }
  });

  t.test('a waypoint that leaves takes nothing with it: the other one serves', async (t) => {
    writeConfig(mesh, 'second-waypoint.yaml', undefined);
    await eventually('one endpoint is left', async () => {
      const { body } = await mesh.ask('ztunnel-node-a', '/config_dump?view=endpoints&source=sleep');
      return !body.includes('10.244.2.8:15006');
    });
    await mesh.stop(secondWaypoint);
    const answers = await lab.requestMany('sleep', { requests: Array.from({ length: 8 }, () => get(productpageUrl)) });
    t.ok(answers.every((answer) => statusOf(answer) === 200));
  });

  t.test('a waypoint that is configured and gone is a refusal, never a way past it', async (t) => {
    await mesh.stop(productpageWaypoint, 'SIGKILL');
    const mark = mesh.access.mark('ztunnel-node-a');
    using wire = startCapture(lab.namespace('node-a'), { interface: 'eth0', filter: isOpening });
    t.match(await lab.request('sleep', get(productpageUrl)), { kind: 'failed', end: 'reset' });
    const toProductpage = field('dst.hbone_addr', `${vip.productpage}:9080`);
    const hasFailed = field('error', /\S/);
    // Connections of the test before this one may end only now, and well.
    const line = await mesh.waitForAccess('ztunnel-node-a', (entry) => toProductpage(entry) && hasFailed(entry), mark);
    t.match(line.fields, { 'dst.addr': `${ip.waypoint}:15006` });
    t.same(wire.packets, [], 'nothing left the node');
    t.match(await askHttp(mesh, 'sleep', get(detailsUrl)), { status: 200 }, 'other services are not concerned');
  });

  t.test('a Gateway without any waypoint pod refuses with that reason', async (t) => {
    const { body } = await mesh.ask('ztunnel-node-a', '/config_dump?view=endpoints&source=sleep');
    t.match(body, '10.244.1.8:15006');
    writeConfig(mesh, 'productpage-waypoint.yaml', gatewayAlone);
    await eventually('the waypoint’s pod is forgotten', async () => {
      const { body } = await mesh.ask('ztunnel-node-a', '/config_dump?view=endpoints&source=sleep');
      return !body.includes('10.244.1.8:15006');
    });
    const mark = mesh.access.mark('ztunnel-node-a');
    t.match(await lab.request('sleep', get(productpageUrl)), { kind: 'failed' });
    const line = await mesh.waitForAccess('ztunnel-node-a', field('error', /waypoint/), mark);
    t.match(line.fields, { error: /waypoint .* cannot be reached: no-endpoints/ });
  });

  t.test('when the Gateway goes, the service is an ordinary one again', async (t) => {
    writeConfig(mesh, 'productpage-waypoint.yaml', undefined);
    const answer = await untilAnswer(mesh, 'sleep', get(productpageUrl), (each) => statusOf(each) === 200);
    t.match(answer, { headers: { 'x-app-peer': /^10\.244\.1\.2:/ } }, 'straight from ztunnel');
  });

  t.test('with the sender’s ztunnel killed new connections go nowhere, and come back with it', async (t) => {
    await mesh.stop('ztunnel-node-a', 'SIGKILL');
    using wire = startCapture(lab.namespace('node-a'), { interface: 'eth0' });
    const [tried, direct] = await Promise.all(
      [vip.details, ip.details].map((host) => lab.request('sleep', { kind: 'tcp', host, port: 9080, timeoutMs: 1500 })),
    );
    t.match(tried, { kind: 'failed', phase: 'connect', end: 'timeout' });
    t.match(direct, { kind: 'failed', phase: 'connect', end: 'timeout' });
    t.same(
      wire.packets.filter((packet) => packet.protocol === 'tcp' && packet.source === ip.sleep),
      [],
      'nothing of sleep left the node',
    );
    await mesh.startZtunnel('node-a');
    t.match(await untilAnswer(mesh, 'sleep', get(detailsUrl), (each) => statusOf(each) === 200), { status: 200 });
  });

  t.test('with the receiver’s ztunnel killed a captured pod gets nothing, in tunnels or in clear', async (t) => {
    await mesh.stop('ztunnel-node-b', 'SIGKILL');
    using pod = startCapture(lab.namespace('details'), { interface: 'eth0', filter: isOpening });
    const url = detailsUrl;
    const [inside, outside] = await Promise.all([
      lab.request('sleep', { kind: 'http', url, timeoutMs: 8000 }),
      lab.request('control', { kind: 'tcp', host: ip.details, port: 9080, timeoutMs: 1500 }),
    ]);
    t.match(inside, { kind: 'failed' });
    t.match(outside, { kind: 'failed', phase: 'connect' });
    t.same(pod.packets, []);
    await mesh.startZtunnel('node-b');
    t.match(await untilAnswer(mesh, 'sleep', get(url), (each) => statusOf(each) === 200), { status: 200 });
  });

  t.test('ztunnel’s own port is no destination, and what the mesh does not know keeps its address', async (t) => {
    const own = { kind: 'tcp', host: vip.details, port: 15001, timeoutMs: 3000 } as const;
    const mark = mesh.access.mark('ztunnel-node-a');
    t.match(await lab.request('sleep', own), { end: 'reset' });
    const refused = await mesh.waitForAccess('ztunnel-node-a', field('error', /port is the listener itself/), mark);
    t.match(refused.fields, { hop: 'blackhole outbound' });
    const { server } = await listenIn(lab.namespace('control'), { port: 7070 }, (socket) => {
      socket.end(socket.remoteAddress ?? '');
    });
    t.teardown(() => server.close());
    const unknown = { kind: 'tcp', host: ip.control, port: 7070 } as const;
    t.match(await lab.request('sleep', unknown), { end: 'fin', body: ip.sleep, remote: `${ip.control}:7070` });
    const line = await mesh.waitForAccess('ztunnel-node-a', field('dst.addr', `${ip.control}:7070`), mark);
    t.match(line.fields, { hop: 'passthrough' });
  });

  t.test('a captured pod that the mesh does not know may send nothing', async (t) => {
    const stranger = { ...lab.pod('notsleep'), name: 'stranger', ip: '10.244.1.66' };
    await lab.addPod(stranger);
    t.teardown(() => lab.removePod('stranger'));
    using wire = startCapture(lab.namespace('node-a'), { interface: 'eth0', filter: isOpening });
    const mark = mesh.access.mark('ztunnel-node-a');
    t.match(await lab.request('stranger', { kind: 'http', url: detailsUrl }), { kind: 'failed' });
    const line = await mesh.waitForAccess('ztunnel-node-a', field('src.addr', /^10\.244\.1\.66:/), mark);
    t.match(line.fields, { hop: 'blackhole outbound', error: /source/ });
    t.same(wire.packets, []);
  });
}
