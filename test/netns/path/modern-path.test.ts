/**
 * The same mesh as Istio is today: ztunnel's sockets inside the pods, waypoints on 15008 chosen by label. The bytes move
 * by the same code; what differs is what the preset says.
 */
import t from 'tap';
import { startCapture } from '../../../src/lab/capture.ts';
import type { HttpAnswer, LabAnswer } from '../../../src/lab/request.ts';
import { eventually } from '../../support/eventually.ts';
import { insideLab } from '../lab/inside.ts';
import { assertHops, type Hop } from './hops.ts';
import { attemptConnect, issue, meshAuthority } from './mesh-peer.ts';
import {
  askHttp,
  field,
  get,
  ip,
  isOpening,
  metricSum,
  productpageUrl,
  spiffe,
  startPathMesh,
  statusOf,
  untilAnswer,
  view,
  vip,
  writeConfig,
} from './path-mesh.ts';

t.setTimeout(240_000);

const waypoint = 'productpage-waypoint';
const newcomer = `
apiVersion: v1
kind: Pod
metadata: {name: details-two, namespace: default, labels: {app: details, version: v1}}
spec: {serviceAccountName: bookinfo-details, nodeName: node-b}
status: {phase: Running, podIP: 10.244.2.77}
`;

if (await insideLab()) {
  const mesh = await startPathMesh(t, { preset: 'modern' });
  const { lab } = mesh;
  const detailsUrl = `http://${vip.details}:9080/details/0`;

  t.test('a request goes from socket to socket inside the pods, by the waypoint on 15008', async (t) => {
    const hops: readonly Hop[] = [
      {
        title: 'the pod’s own rules turn the call to ztunnel’s socket',
        place: 'sleep',
        device: 'lo',
        source: '10.244.1.4',
        destination: '127.0.0.1:15001',
      },
      {
        title: 'ztunnel reaches the waypoint from inside the pod',
        place: 'sleep',
        device: 'eth0',
        source: '10.244.1.4',
        destination: '10.244.1.8:15008',
      },
      {
        title: 'the waypoint reaches ztunnel’s socket inside the pod',
        place: 'productpage',
        device: 'eth0',
        source: '10.244.1.8',
        destination: '10.244.2.5:15008',
      },
      {
        title: 'ztunnel hands it to the application as its peer',
        place: 'productpage',
        device: 'lo',
        source: '10.244.1.8',
        destination: '10.244.2.5:9080',
      },
    ];
    using wire = startCapture(lab.namespace('node-a'), { interface: 'eth0' });
    let answer: HttpAnswer | undefined;
    await assertHops(t, mesh, hops, async () => {
      answer = await askHttp(mesh, 'sleep', get(productpageUrl, { 'x-secret': 'in-the-clear' }));
    });
    t.match(answer, { status: 200, remote: '10.96.179.71:9080', headers: { 'x-app-peer': /^10\.244\.1\.8:/ } });
    const ports = new Set(wire.packets.filter(isOpening).map((packet) => packet.destinationPort));
    t.same([...ports], [15008], 'tunnels alone between the nodes');
    t.notOk(wire.holds('in-the-clear') || wire.holds('GET /productpage'), 'and nothing in clear');
  });

  t.test('without a waypoint the application sees its client’s own address', async (t) => {
    const mark = mesh.access.mark('ztunnel-node-b');
    const answer = await askHttp(mesh, 'sleep', get(detailsUrl));
    t.match(answer, { status: 200, headers: { 'x-app-pod': 'details', 'x-app-peer': /^10\.244\.1\.4:/ } });
    const line = await mesh.waitForAccess('ztunnel-node-b', field('src.workload', 'sleep'), mark);
    t.match(line.fields, {
      'src.addr': /^10\.244\.1\.4:/,
      'src.identity': spiffe('sleep'),
      'dst.addr': '10.244.2.6:15008',
      'dst.hbone_addr': '10.244.2.6:9080',
      direction: 'inbound',
    });
    t.notOk('hop' in line.fields, 'today’s log has none of the article’s words');
  });

  t.test('the waypoint’s stages bear today’s names', async (t) => {
    const mark = mesh.access.mark(waypoint);
    t.equal((await askHttp(mesh, 'sleep', get(productpageUrl))).status, 200);
    const listeners = await view<readonly { name: string; address?: string }[]>(mesh, waypoint, 'view=listeners');
    t.match(listeners[0], { name: 'connect_terminate', address: '[::]:15008' });
    t.ok(listeners.some(({ name }) => name === 'main_internal'));
    const clusters = await view<readonly { name: string }[]>(mesh, waypoint, 'view=clusters');
    const names = clusters.map(({ name }) => name);
    t.ok(names.includes('inbound-vip|9080|http|productpage.default.svc.cluster.local'), names.join(', '));
    const line = await mesh.waitForAccess(waypoint, field('path', '/productpage'), mark);
    t.match(line.fields, { method: 'GET', response_code: 200, source_principal: spiffe('sleep') });
  });

  t.test('the acceptance scenario holds: GET, DELETE, another client, and nobody round the waypoint', async (t) => {
    const denial = { status: 403, body: 'RBAC: access denied' };
    t.match(await askHttp(mesh, 'sleep', get(productpageUrl)), { status: 200 });
    t.match(await askHttp(mesh, 'sleep', { kind: 'http', url: productpageUrl, method: 'DELETE' }), denial);
    t.match(await askHttp(mesh, 'notsleep', get(productpageUrl)), denial);
    const denied = await metricSum(mesh, waypoint, 'istio_requests_total', {
      response_code: '403',
      source_principal: spiffe('notsleep'),
      connection_security_policy: 'mutual_tls',
    });
    t.equal(denied, 1);
    const certificate = await issue(await meshAuthority(mesh), spiffe('sleep'));
    const past = { place: 'control', host: ip.productpage, port: 15008, authority: '10.244.2.5:9080', certificate };
    t.match(await attemptConnect(mesh, past), { kind: 'answered', status: 401 });
  });

  t.test('reviews is split, its route sets a header', async (t) => {
    const count = 200;
    const answers = await lab.requestMany('sleep', {
      requests: Array.from({ length: count }, () => get(`http://${vip.reviews}:9080/reviews/0`)),
      concurrency: 8,
      keepAlive: true,
    });
    const of = (version: string) =>
      answers.filter((answer) => answer.kind === 'http' && answer.headers['x-app-version'] === version).length;
    t.equal(of('v1') + of('v2'), count);
    t.ok(Math.abs(of('v2') - count * 0.1) <= 4 * Math.sqrt(count * 0.1 * 0.9), `v2 got ${of('v2')} of ${count}`);
    const { body } = await askHttp(mesh, 'sleep', get(`http://${vip.reviews}:9080/headers`));
    t.match(JSON.parse(body), { headers: { 'x-waypoint': 'reviews' } });
  });

  t.test(
    'plaintext from outside arrives with its address, the node’s probes too, a waypoint is not captured',
    async (t) => {
      const outside = await askHttp(mesh, 'control', get(`http://${ip.details}:9080/details/0`));
      t.match(outside, { status: 200, headers: { 'x-app-peer': /^10\.244\.1\.10:/ } });
      const fromWaypoint = await askHttp(mesh, waypoint, get(`http://${ip.details}:9080/details/0`));
      t.match(fromWaypoint, { status: 200, headers: { 'x-app-peer': /^10\.244\.1\.8:/ } });
      const guarded = await lab.request('control', get(`http://${ip.productpage}:9080/productpage`));
      t.match(guarded, { kind: 'failed' }, 'not to a pod that wants its waypoint’s identity');
    },
  );

  t.test('a pod that comes gets sockets of ztunnel’s, and gives them back when it leaves', async (t) => {
    await lab.addPod({ ...lab.pod('details'), name: 'details-two', ip: '10.244.2.77' });
    writeConfig(mesh, 'newcomer.yaml', newcomer);
    const fromNewcomer = (answer: LabAnswer) => answer.kind === 'http' && answer.headers['x-app-pod'] === 'details-two';
    await untilAnswer(mesh, 'sleep', get(detailsUrl), fromNewcomer);
    t.match(await askHttp(mesh, 'details-two', get(detailsUrl)), { status: 200 });
    writeConfig(mesh, 'newcomer.yaml', undefined);
    await eventually('the newcomer is forgotten', async () => {
      const { body } = await mesh.ask('ztunnel-node-a', '/config_dump');
      return !body.includes('10.244.2.77');
    });
    await lab.removePod('details-two');
    t.match(await askHttp(mesh, 'sleep', get(detailsUrl)), { status: 200, headers: { 'x-app-pod': 'details' } });
  });

  t.test('with ztunnel killed a captured pod is refused, and served again when it is back', async (t) => {
    await mesh.stop('ztunnel-node-a', 'SIGKILL');
    using wire = startCapture(lab.namespace('node-a'), { interface: 'eth0', filter: isOpening });
    const tried = await lab.request('sleep', { kind: 'tcp', host: vip.details, port: 9080, timeoutMs: 1500 });
    t.match(tried, { kind: 'failed', phase: 'connect' });
    t.same(wire.packets, []);
    await mesh.startZtunnel('node-a');
    t.match(await untilAnswer(mesh, 'sleep', get(detailsUrl), (each) => statusOf(each) === 200), { status: 200 });
  });

  t.test(
    'with ENABLE_PROXY=false pods are taken in for DNS alone, and their TCP is refused, not passed on',
    async (t) => {
      await mesh.stop('ztunnel-node-a');
      await mesh.startZtunnel('node-a', { ENABLE_PROXY: 'false' });
      const { body } = await mesh.ask('ztunnel-node-a', '/config_dump');
      t.match(JSON.parse(body).workloadState, { 'default/sleep': { state: 'Up' } });
      using wire = startCapture(lab.namespace('node-a'), { interface: 'eth0', filter: isOpening });
      t.match(await lab.request('sleep', get(detailsUrl)), { kind: 'failed', phase: 'connect' });
      t.same(wire.packets, []);
    },
  );
}
