/**
 * The story the demo tells: the mesh, one request hop by hop, then the acceptance scenario of the 2022 announcement
 * (R43). Every line with a verdict compares what was captured, logged or answered with what the YAML asks for.
 */
import { errorText } from '../../base/errors.ts';
import type { HttpAnswer, LabAnswer } from '../../lab/request.ts';
import { connectFrom } from '../../lab/sockets.ts';
import { ztunnelName } from '../../lab/topology.ts';
import type { LabMesh } from '../lab-mesh.ts';
import type { DemoConsole } from './console.ts';
import { tellJourney } from './journey.ts';
import {
  client,
  describeAnswer,
  get,
  isDenied,
  patienceMs,
  port,
  server,
  serviceVip,
  statusOf,
  stranger,
} from './requests.ts';

const controlPort = 15012;
const splitRequests = 400;

export async function tellStory(mesh: LabMesh, say: DemoConsole): Promise<void> {
  await tellJourney(mesh, say);
  await tellPolicy(mesh, say);
  await tellRouting(mesh, say);
  await tellPrograms(mesh, say);
}

export function tellTopology({ plan }: LabMesh, say: DemoConsole, builtMs: number): void {
  const { nodes, pods, services } = plan.topology;
  const size = `${nodes.length} nodes, ${pods.length} pods, ${services.length} services`;
  say.heading('The mesh', `${size}, up in ${(builtMs / 1000).toFixed(1)} s`);
  const row = (name: string, ip: string, note = '') =>
    say.line(`    ${name.padEnd(38)}${note === '' ? ip : `${ip.padEnd(16)}${say.style('gray', note)}`}`);
  for (const node of nodes) {
    say.line(`  ${say.style('bold', node.name)} ${node.ip}`);
    row(ztunnelName(node), node.ztunnelIp, 'ztunnel');
    for (const pod of pods.filter((candidate) => candidate.node === node.name)) {
      const isWaypoint = plan.waypoints.some((place) => place.pod === pod.name);
      const isControl = pod.name === plan.control.pod;
      row(pod.name, pod.ip, isWaypoint ? 'waypoint' : isControl ? 'certificate authority, outside the mesh' : '');
    }
  }
  say.line(`  ${say.style('bold', 'services')}`);
  for (const { name, vip } of services) row(name, vip);
}

async function tellPolicy(mesh: LabMesh, say: DemoConsole): Promise<void> {
  say.heading(`Policy: ${client} may GET ${server}, nothing else is allowed`);
  const url = `http://${serviceVip(mesh, server)}:${port}/productpage`;
  const timeoutMs = patienceMs(mesh, say);
  const [allowed, deletion, other] = await Promise.all([
    mesh.lab.request(client, get(url, timeoutMs)),
    mesh.lab.request(client, { kind: 'http', url, method: 'DELETE', timeoutMs }),
    mesh.lab.request(stranger, get(url, timeoutMs)),
  ]);
  say.check(`${client} GET is answered`, statusOf(allowed) === 200, describeAnswer(allowed));
  say.check(`${client} DELETE is denied`, isDenied(deletion), describeAnswer(deletion));
  say.check(`${stranger} GET is denied`, isDenied(other), describeAnswer(other));
  const waypoint = mesh.plan.waypoints.find(({ gateway }) => gateway.name.startsWith(server))?.pod ?? '';
  const scrape = await mesh.lab.request(waypoint, get('http://127.0.0.1:15020/metrics', timeoutMs));
  const text = scrape.kind === 'http' ? scrape.body : '';
  const denied = text
    .split('\n')
    .filter((line) => line.startsWith('istio_requests_total{') && line.includes('response_code="403"'));
  const sources = [client, stranger].filter((name) =>
    denied.some((line) => line.includes(`source_principal="spiffe://cluster.local/ns/default/sa/${name}"`)),
  );
  const complete = denied.every((line) => line.includes('connection_security_policy="mutual_tls"'));
  say.check(
    'both denials are in istio_requests_total',
    sources.length === 2 && complete,
    `response_code="403" from ${sources.join(' and ') || 'nobody'}`,
  );
}

async function tellRouting(mesh: LabMesh, say: DemoConsole): Promise<void> {
  const vip = serviceVip(mesh, 'reviews');
  say.heading('Routing: reviews 90/10, a header set, retries over a failing replica');
  const ask = async (path: string) =>
    await mesh.lab.request(client, get(`http://${vip}:${port}${path}`, patienceMs(mesh, say)));
  const echoed = await ask('/headers');
  const headers = echoed.kind === 'http' ? echoed.body : '';
  const set = /"x-waypoint": ?"reviews"/.test(headers);
  const seen = /"x-waypoint[^,}]*/.exec(headers)?.[0] ?? describeAnswer(echoed);
  say.check('the route sets a header', set, seen);
  if (echoed.kind === 'failed') {
    say.check('nine of ten requests go to reviews v1', false, 'not tried: reviews does not answer');
    say.check('retries hide a replica’s failures', false, 'not tried: reviews does not answer');
    return;
  }
  await tellSplit(mesh, say, `http://${vip}:${port}/reviews/0`);
  await tellRetries(mesh, say, `http://${vip}:${port}/reviews/0`);
}

async function tellSplit(mesh: LabMesh, say: DemoConsole, url: string): Promise<void> {
  say.progress(`${splitRequests} requests to reviews`);
  const answers = await mesh.lab.requestMany(client, {
    requests: Array.from({ length: splitRequests }, () => get(url, patienceMs(mesh, say))),
    concurrency: 8,
    keepAlive: true,
  });
  const good = answers.filter((answer): answer is HttpAnswer => statusOf(answer) === 200);
  const [first = 0, second = 0] = ['v1', 'v2'].map(
    (version) => good.filter((answer) => answer.headers['x-app-version'] === version).length,
  );
  const expected = splitRequests * 0.1;
  // Four standard deviations of a binomial share: a right split fails here once in some 15 000 runs.
  const spread = 4 * Math.sqrt(splitRequests * 0.1 * 0.9);
  const fits =
    good.length === splitRequests && first + second === splitRequests && Math.abs(second - expected) <= spread;
  const text = `v1 ${first}, v2 ${second} of ${splitRequests} (v2 expected ${expected} ± ${spread.toFixed(0)})`;
  say.check('nine of ten requests go to reviews v1', fits, text);
}

async function tellRetries(mesh: LabMesh, say: DemoConsole, url: string): Promise<void> {
  const before = failures(mesh);
  const fail = { kind: 'http', url: `http://127.0.0.1:${port}/admin/fail?count=3`, method: 'POST' } as const;
  await mesh.lab.request('reviews-v1', fail);
  const requests = Array.from({ length: 20 }, () => get(url, patienceMs(mesh, say)));
  const answers: readonly LabAnswer[] = await mesh.lab.requestMany(client, { requests });
  const good = answers.filter((answer) => statusOf(answer) === 200).length;
  const failed = failures(mesh) - before;
  const text = `${good} of ${answers.length} answered 200, reviews-v1 failed ${failed} times`;
  say.check('retries hide a replica’s failures', good === answers.length && failed === 3, text);
}

/** How often reviews-v1 answered 503, by its own log. */
function failures(mesh: LabMesh): number {
  return mesh.output.of('reviews-v1').filter((line) => / 503\b/.test(line)).length;
}

/** That everything still serves: a control plane that is gone shows only here, since certificates last. */
async function tellPrograms(mesh: LabMesh, say: DemoConsole): Promise<void> {
  say.heading('Afterwards');
  const { nodes } = mesh.plan.topology;
  const proxies = [...nodes.map(ztunnelName), ...mesh.plan.waypoints.map(({ pod }) => pod)];
  const states = await Promise.all(proxies.map(async (name) => `${name} ${await readiness(mesh, name)}`));
  const unready = states.filter((state) => !state.endsWith(' ready'));
  say.check(
    'every proxy is ready',
    unready.length === 0,
    unready.join(', ') || `${nodes.length} ztunnels, ${mesh.plan.waypoints.length} waypoints`,
  );
  const { ip } = mesh.plan.control;
  const place = mesh.lab.namespace(nodes[0]?.name ?? '');
  try {
    (await connectFrom(place, { host: ip, port: controlPort, deadlineMs: 2000 })).destroy();
    say.check('the control plane answers', true, `on ${ip}:${controlPort}`);
  } catch (error) {
    say.check('the control plane answers', false, `${errorText(error)}; the proxies keep the certificates they have`);
  }
}

async function readiness(mesh: LabMesh, name: string): Promise<string> {
  try {
    const { status, body } = await mesh.ask(name, '/healthz/ready');
    return status === 200 ? 'ready' : body.trim();
  } catch {
    return 'does not answer';
  }
}
