/**
 * Who is captured and who is not (R44-R54), with the article's redirection: pods come and go under traffic, waypoints and
 * probes are left alone, plaintext and UDP arrive as they were sent.
 */
import process from 'node:process';
import t from 'tap';
import { startCapture } from '../../../src/lab/capture.ts';
import { mustRun } from '../../../src/lab/command.ts';
import type { Lab } from '../../../src/lab/lab.ts';
import { inNamespace } from '../../../src/lab/namespace.ts';
import type { LabAnswer } from '../../../src/lab/request.ts';
import { eventually } from '../../support/eventually.ts';
import { insideLab } from '../lab/inside.ts';
import {
  askHttp,
  field,
  get,
  ip,
  productpageWaypoint,
  startPathMesh,
  statusOf,
  untilAnswer,
  vip,
  writeConfig,
} from './path-mesh.ts';

t.setTimeout(240_000);

const newcomer = `
apiVersion: v1
kind: Pod
metadata: {name: details-two, namespace: default, labels: {app: details, version: v1}}
spec: {serviceAccountName: bookinfo-details, nodeName: node-b}
status: {phase: Running, podIP: 10.244.2.77}
`;
/** As Kubernetes says of a pod that has just begun or is about to go: nobody chooses it, and what it has is served to its end. */
const notReady = newcomer.replace(
  'podIP: 10.244.2.77',
  "podIP: 10.244.2.77, conditions: [{type: Ready, status: 'False'}]",
);

if (await insideLab()) {
  const mesh = await startPathMesh(t, { preset: 'legacy' });
  const { lab } = mesh;
  const detailsUrl = `http://${vip.details}:9080/details/0`;

  t.test('pods join and leave the mesh under traffic, and no request is lost', async (t) => {
    const traffic = startTraffic(lab, detailsUrl);
    const before = lab.pod('details');
    t.same(await membershipOf(lab, '10.244.2.77'), { inSet: false, routed: false });
    await lab.addPod({ ...before, name: 'details-two', ip: '10.244.2.77' });
    t.same(await membershipOf(lab, '10.244.2.77'), { inSet: true, routed: true });
    const filter = await inNode(lab, 'cat /proc/sys/net/ipv4/conf/v-details-two/rp_filter');
    t.equal(filter.trim(), '0', 'packets may come from where no route leads back');
    // Each ztunnel reads the folder for itself: both must know a pod before one of them may choose it, and after.
    writeConfig(mesh, 'newcomer.yaml', notReady);
    await eventually('the newcomer is known', async () => {
      const dumps = await Promise.all(['node-a', 'node-b'].map((node) => mesh.ask(`ztunnel-${node}`, '/config_dump')));
      return dumps.every(({ body }) => body.includes('10.244.2.77'));
    });
    writeConfig(mesh, 'newcomer.yaml', newcomer);
    const fromNewcomer = (answer: LabAnswer) => podOf(answer) === 'details-two';
    await untilAnswer(mesh, 'sleep', get(detailsUrl), fromNewcomer);
    t.match(await askHttp(mesh, 'details-two', get(detailsUrl)), { status: 200 }, 'it sends through the mesh as well');
    writeConfig(mesh, 'newcomer.yaml', notReady);
    await eventually('nobody chooses the newcomer', async () => {
      const { body } = await mesh.ask('ztunnel-node-a', '/config_dump');
      const { workloads } = JSON.parse(body) as { workloads: readonly { name: string; status: string }[] };
      return workloads.find(({ name }) => name === 'details-two')?.status === 'Unhealthy';
    });
    await traffic.underWay();
    writeConfig(mesh, 'newcomer.yaml', undefined);
    await eventually('the newcomer is forgotten', async () => {
      const dumps = await Promise.all(['node-a', 'node-b'].map((node) => mesh.ask(`ztunnel-${node}`, '/config_dump')));
      return dumps.every(({ body }) => !body.includes('10.244.2.77'));
    });
    const answers = await traffic.stop();
    t.ok(answers.length > 20, `${answers.length} requests meanwhile`);
    t.same(answers.filter((answer) => statusOf(answer) !== 200).slice(0, 3), []);
    t.ok(answers.some(fromNewcomer), 'some were the newcomer’s');
    await lab.removePod('details-two');
    t.same(await membershipOf(lab, '10.244.2.77'), { inSet: false, routed: false });
    t.match(await askHttp(mesh, 'sleep', get(detailsUrl)), { headers: { 'x-app-pod': 'details' } });
  });

  t.test('a running pod is let go and captured again without being touched', async (t) => {
    const details = lab.pod('details');
    const starts = () => mesh.output.of('details').filter((line) => line.startsWith('listening on ')).length;
    await lab.redirection.removePod(details);
    t.same(await membershipOf(lab, details.ip), { inSet: false, routed: false });
    const mark = mesh.access.mark('ztunnel-node-b');
    const plain = await askHttp(mesh, 'control', get(`http://${ip.details}:9080/health`));
    t.match(plain, { status: 200, headers: { 'x-app-peer': /^10\.244\.1\.10:/ } });
    t.same(mesh.access.since('ztunnel-node-b', mark), [], 'past ztunnel');
    await lab.redirection.addPod(details);
    t.same(await membershipOf(lab, details.ip), { inSet: true, routed: true });
    t.match(await askHttp(mesh, 'sleep', get(detailsUrl)), { status: 200 });
    await mesh.waitForAccess('ztunnel-node-b', field('dst.workload', 'details'), mark);
    t.equal(starts(), 1, 'the same program all the while');
  });

  t.test('a waypoint is not captured: what it sends does not meet ztunnel again', async (t) => {
    for (const place of mesh.plan.waypoints) {
      t.same(await membershipOf(lab, lab.pod(place.pod).ip), { inSet: false, routed: false }, place.pod);
    }
    using tunnels = startCapture(lab.namespace('ztunnel-node-a'), { interface: 'pistioout' });
    const answer = await askHttp(mesh, productpageWaypoint, get(`http://${ip.details}:9080/details/0`));
    t.match(answer, { status: 200, headers: { 'x-app-peer': /^10\.244\.1\.8:/ } });
    t.same(
      tunnels.packets.filter((packet) => packet.source === ip.waypoint),
      [],
    );
  });

  t.test('the node’s own probes reach a pod past ztunnel, even one that admits its waypoint alone', async (t) => {
    const mark = mesh.access.mark('ztunnel-node-b');
    const answer = await askHttp(mesh, 'node-b', get(`http://${ip.productpage}:9080/health`));
    t.match(answer, { status: 200, headers: { 'x-app-peer': /^10\.244\.2\.1:/ } });
    t.notOk(mesh.access.since('ztunnel-node-b', mark).some(field('src.addr', /^10\.244\.2\.1:/)));
  });

  t.test(
    'plaintext from outside the mesh arrives with the client’s address, by ztunnel and its policies',
    async (t) => {
      const mark = mesh.access.mark('ztunnel-node-b');
      const answer = await askHttp(mesh, 'control', get(`http://${ip.details}:9080/details/0`));
      t.match(answer, { status: 200, headers: { 'x-app-peer': /^10\.244\.1\.10:/ } });
      const line = await mesh.waitForAccess('ztunnel-node-b', field('src.addr', /^10\.244\.1\.10:/), mark);
      t.match(line.fields, { hop: 'capture inbound listener', 'dst.workload': 'details', direction: 'inbound' });
      t.notOk('src.identity' in line.fields, 'nobody has proven anything');
      const guarded = await lab.request('control', get(`http://${ip.productpage}:9080/productpage`));
      t.match(guarded, { kind: 'failed' }, 'not to a pod that wants its waypoint’s identity');
    },
  );

  t.test('UDP and DNS pass untouched', async (t) => {
    const server = `
      const { createSocket } = require('node:dgram');
      for (const port of [53, 5000]) {
        const socket = createSocket('udp4');
        socket.on('message', (text, from) => socket.send(text + ' from ' + from.address, from.port, from.address));
        socket.bind(port, () => console.log('bound ' + port));
      }`;
    const echo = lab.spawn('details', { name: 'udp-echo', argv: [process.execPath, '-e', server] });
    t.teardown(() => echo.stop());
    await echo.waitForLine((line) => line === 'bound 53');
    await echo.waitForLine((line) => line === 'bound 5000');
    using tunnels = startCapture(lab.namespace('ztunnel-node-a'), { filter: (packet) => packet.protocol === 'udp' });
    for (const port of [53, 5000]) {
      const client = `
        const socket = require('node:dgram').createSocket('udp4');
        socket.on('message', (text) => { console.log(String(text)); socket.close(); });
        socket.send('hello', ${port}, '${ip.details}');`;
      const sender = lab.spawn('sleep', { name: `udp-client-${port}`, argv: [process.execPath, '-e', client] });
      t.equal(await sender.waitForLine((line) => line.startsWith('hello'), 8000), `hello from ${ip.sleep}`);
      await sender.stop();
    }
    t.notOk(tunnels.packets.some((packet) => [53, 5000].includes(packet.destinationPort)));
  });
}

interface Membership {
  readonly inSet: boolean;
  readonly routed: boolean;
}

async function membershipOf(lab: Lab, address: string): Promise<Membership> {
  const node = address.startsWith('10.244.1.') ? 'node-a' : 'node-b';
  const script = 'ipset save ztunnel-pods-ips; ip route show table 100';
  const lines = (await mustRun(inNamespace(lab.namespace(node), ['sh', '-ec', script]))).split('\n');
  return {
    inSet: lines.some((line) => line.startsWith(`add ztunnel-pods-ips ${address}`)),
    routed: lines.some((line) => line.startsWith(`${address} via 192.168.126.2 dev istioin`)),
  };
}

function inNode(lab: Lab, command: string): Promise<string> {
  return mustRun(inNamespace(lab.namespace('node-b'), ['sh', '-ec', command]));
}

function podOf(answer: LabAnswer): string | undefined {
  return answer.kind === 'http' ? answer.headers['x-app-pod'] : undefined;
}

/** Requests one after the other, in small batches, until it is told to stop. */
interface Traffic {
  /** Resolves when the requests that are under way now have been answered. */
  underWay(): Promise<unknown>;
  stop(): Promise<readonly LabAnswer[]>;
}

function startTraffic(lab: Lab, url: string): Traffic {
  let stopping = false;
  let batch: Promise<readonly LabAnswer[]> = Promise.resolve([]);
  const running = (async () => {
    const answers: LabAnswer[] = [];
    do {
      const requests = Array.from({ length: 10 }, () => get(url));
      batch = lab.requestMany('sleep', { requests, concurrency: 2 });
      answers.push(...(await batch));
    } while (!stopping && answers.length < 2000);
    return answers;
  })();
  return {
    underWay: () => batch,
    stop() {
      stopping = true;
      return running;
    },
  };
}
