/** What DestinationRules say, on real tunnels: subsets, consistent hashing, outlier detection, changes under load. */
import type { RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import t from 'tap';
import type { Workload } from '../../../src/mesh/model.ts';
import {
  type Destination,
  type DestinationPolicy,
  emptyDestinationPolicy,
  type LoadBalancerPolicy,
  type OutlierPolicy,
} from '../../../src/route/destination.ts';
import { emptyL7Model, type L7Model, type Route, type RouteBackend } from '../../../src/route/model.ts';
import { waypointViews } from '../../../src/waypoint/admin-views.ts';
import { destinationLines, destinationViews } from '../../../src/waypoint/destination-view.ts';
import { eventually, within } from '../../support/eventually.ts';
import { makeChange, makeWorkload } from '../../support/mesh-records.ts';
import { TestSecretStore } from '../../support/test-ca.ts';
import { http1 } from './client.ts';
import { createHarness, type Harness, notSleepId, podUid, serviceKey } from './harness.ts';

const named =
  (name: string, status = 200): RequestListener =>
  (_request, response) => {
    response.statusCode = status;
    response.end(name);
  };

const outliers: OutlierPolicy = {
  consecutive5xx: 2,
  consecutiveGatewayErrors: 0,
  splitLocalOrigin: false,
  consecutiveLocalOrigin: 5,
  intervalMs: 50,
  baseEjectionMs: 600_000,
  maxEjectionPercent: 100,
  minHealthPercent: 0,
};

const hashing = (key: Extract<LoadBalancerPolicy['choice'], { kind: 'hash' }>['key']): LoadBalancerPolicy => ({
  choice: { kind: 'hash', key, table: { kind: 'ring', minimumSize: 256 } },
  warmup: undefined,
  locality: undefined,
});

const noSecrets = new TestSecretStore([]);

const roundRobin: LoadBalancerPolicy = {
  choice: { kind: 'simple', balancer: 'round-robin' },
  warmup: undefined,
  locality: undefined,
};

function destination(policy: Partial<DestinationPolicy>, subsets: Record<string, Record<string, string>> = {}) {
  const policies = { otherwise: { ...emptyDestinationPolicy, ...policy }, ports: new Map() };
  const found: Destination = {
    sources: [{ kind: 'DestinationRule', namespace: 'default', name: 'productpage' }],
    policies,
    subsets: new Map(Object.entries(subsets).map(([name, labels]) => [name, { name, labels, policies }])),
  };
  return new Map([[serviceKey, { otherwise: found, ofNamespace: new Map() }]]);
}

const backend = (subset: string | undefined, weight = 1): RouteBackend => ({
  service: serviceKey,
  port: 9080,
  weight,
  subset,
  requestHeaders: undefined,
  responseHeaders: undefined,
});

function routesTo(...backends: RouteBackend[]): L7Model['ports'] {
  const route: Route = {
    name: 'default/route/0/0',
    source: undefined,
    match: undefined,
    action: { kind: 'forward', backends },
    requestHeaders: undefined,
    responseHeaders: undefined,
    rewritePath: undefined,
    rewriteHost: undefined,
    timeoutMs: undefined,
    retry: { ...noRetry },
  };
  const ports = { service: serviceKey, port: 9080, appProtocol: 'http11', routes: [route], streams: [] } as const;
  return new Map([[`${serviceKey}:9080`, ports]]);
}

const noRetry = {
  attempts: 0,
  perTryTimeoutMs: undefined,
  onConnectFailure: false,
  onRefusedStream: false,
  onReset: false,
  on5xx: false,
  onGatewayError: false,
  onRetriable4xx: false,
  statusCodes: new Set<number>(),
  backoffMs: 1,
};

const ask = async (harness: Harness, headers: Record<string, string> = {}, path = '/') =>
  http1(await harness.tunnel(), { headers, path });

/** Bodies of so many answers, counted. */
async function tally(harness: Harness, times: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const { body } = await ask(harness);
    counts[body] = (counts[body] ?? 0) + 1;
  }
  return counts;
}

function relabel(harness: Harness, index: number, fields: Partial<Workload>): void {
  const workload = harness.mesh.workload(podUid(index)) as Workload;
  harness.mesh.apply(makeChange({ workloads: [{ ...workload, ...fields }] }));
}

t.test('a route to a subset reaches its pods alone; one that nobody defines is 503', async (t) => {
  const harness = await createHarness(t, { pods: [named('one'), named('two'), named('three')] });
  relabel(harness, 0, { labels: { version: 'v1' } });
  relabel(harness, 1, { labels: { version: 'v2' } });
  relabel(harness, 2, { labels: { version: 'v2' } });
  const destinations = destination({}, { v1: { version: 'v1' }, v3: { version: 'v3' } });
  harness.model = { ...emptyL7Model, destinations, ports: routesTo(backend('v1')) };
  t.same(await tally(harness, 12), { one: 12 });
  harness.model = { ...emptyL7Model, destinations, ports: routesTo(backend('v3')) };
  const empty = await ask(harness);
  t.match(empty, { status: 503, body: 'no healthy upstream' });
  harness.model = { ...emptyL7Model, destinations, ports: routesTo(backend('nobody')) };
  t.match(await ask(harness), { status: 503, body: '' });
  await eventually('the last report', () => harness.requests.length === 14);
  t.equal(harness.requests.at(-1)?.request.responseFlags, 'NC');
  t.equal(harness.requests.at(-2)?.request.responseFlags, 'UH');
});

t.test('requests of one header value stay with one pod, those of many are spread', async (t) => {
  const harness = await createHarness(t, { pods: [named('a'), named('b'), named('c')] });
  harness.model = {
    ...emptyL7Model,
    destinations: destination({ loadBalancer: hashing({ kind: 'header', name: 'x-user' }) }),
  };
  const bodies = new Set<string>();
  for (let user = 0; user < 12; user++) {
    const of = new Set<string>();
    for (let i = 0; i < 3; i++) of.add((await ask(harness, { 'X-User': `user-${user}` })).body);
    t.equal(of.size, 1, `user-${user}`);
    bodies.add([...of].join());
  }
  t.ok(bodies.size > 1);
  harness.model = {
    ...emptyL7Model,
    destinations: destination({ loadBalancer: hashing({ kind: 'query', name: 'id' }) }),
  };
  const one = new Set<string>();
  for (let i = 0; i < 5; i++) one.add((await ask(harness, {}, `/?other=${i}&id=7`)).body);
  t.equal(one.size, 1);
});

t.test('a client without the cookie is given one, and stays where it was', async (t) => {
  const harness = await createHarness(t, { pods: [named('a'), named('b'), named('c'), named('d')] });
  const key = { kind: 'cookie', name: 'stick', path: '/shop', ttlMs: 90_000 } as const;
  harness.model = { ...emptyL7Model, destinations: destination({ loadBalancer: hashing(key) }) };
  for (let client = 0; client < 4; client++) {
    const first = await ask(harness);
    const [cookie = ''] = first.headers['set-cookie'] ?? [];
    t.match(cookie, /^stick=[0-9a-f]{16}; Max-Age=90; Path=\/shop; HttpOnly$/);
    const value = cookie.split(';')[0] ?? '';
    for (let i = 0; i < 3; i++) {
      const next = await ask(harness, { cookie: `other=1; ${value}` });
      t.equal(next.body, first.body);
      t.notOk(next.headers['set-cookie'], 'it has one');
    }
  }
  const silent = { ...key, ttlMs: undefined };
  harness.model = { ...emptyL7Model, destinations: destination({ loadBalancer: hashing(silent) }) };
  t.notOk((await ask(harness)).headers['set-cookie']);
});

t.test(
  'a pod that answers with errors is ejected, the view says why, and it survives a change of the rules',
  async (t) => {
    const harness = await createHarness(t, { pods: [named('well'), named('ill', 503)] });
    const settings = { outlierDetection: outliers, loadBalancer: roundRobin };
    harness.model = { ...emptyL7Model, destinations: destination(settings), ports: routesTo(backend(undefined)) };
    const before = await tally(harness, 8);
    t.equal(before.ill, 2, 'two errors are enough');
    t.same(await tally(harness, 6), { well: 6 });
    const { services } = harness.waypoint;
    const [view] = destinationViews(services, 100);
    t.match(view, {
      service: serviceKey,
      port: 9080,
      rules: ['default/productpage'],
      balancer: 'round-robin',
      ejected: 1,
    });
    const lines = destinationLines(destinationViews(services, 100));
    t.match(
      lines.find((line) => line.includes('ejected')),
      /default\/productpage-1 ejected \(consecutive-5xx, \d+s left of 600s\) active 0$/,
    );
    harness.model = {
      ...emptyL7Model,
      destinations: destination({ ...settings, outlierDetection: { ...outliers } }),
      ports: routesTo(backend(undefined)),
    };
    harness.waypoint.modelChanged();
    t.same(await tally(harness, 6), { well: 6 });
    harness.model = { ...emptyL7Model, ports: routesTo(backend(undefined)) };
    t.ok(((await tally(harness, 40)).ill ?? 0) > 0, 'without a rule nobody is ejected');
  },
);

t.test('a client whose requests end in errors has nobody ejected for others', async (t) => {
  const touchy: RequestListener = (request, response) => {
    response.statusCode = request.url === '/bad' ? 500 : 200;
    response.end();
  };
  const harness = await createHarness(t, { pods: [touchy, touchy] });
  const settings = { outlierDetection: { ...outliers, intervalMs: 60_000 }, loadBalancer: roundRobin };
  harness.model = { ...emptyL7Model, destinations: destination(settings), ports: routesTo(backend(undefined)) };
  for (let i = 0; i < 4; i++) t.equal((await ask(harness)).status, 200);
  for (let i = 0; i < 12; i++) {
    t.equal((await http1(await harness.tunnel(undefined, notSleepId), { path: '/bad' })).status, 500);
  }
  const [view] = destinationViews(harness.waypoint.services, 9);
  t.equal(view?.ejected, 0);
  for (let i = 0; i < 4; i++) t.equal((await ask(harness)).status, 200);
});

t.test('with too few pods left, all are used', async (t) => {
  const harness = await createHarness(t, { pods: [named('a', 500), named('b', 500)] });
  const settings = { outlierDetection: { ...outliers, minHealthPercent: 51 }, loadBalancer: roundRobin };
  harness.model = { ...emptyL7Model, destinations: destination(settings), ports: routesTo(backend(undefined)) };
  const found = await tally(harness, 12);
  t.ok((found.a ?? 0) >= 4 && (found.b ?? 0) >= 4, JSON.stringify(found));
  harness.model = {
    ...emptyL7Model,
    destinations: destination({ outlierDetection: outliers }),
    ports: routesTo(backend(undefined)),
  };
  await tally(harness, 8);
  t.match(await ask(harness), { status: 503, body: 'no healthy upstream' });
});

t.test('a pod that nobody can connect to is ejected for HTTP and for TCP', async (t) => {
  const settings = { outlierDetection: outliers, loadBalancer: roundRobin };
  const http = await createHarness(t, { pods: [named('up'), 'down'] });
  http.model = { ...emptyL7Model, destinations: destination(settings) };
  t.same(await tally(http, 6), { up: 6 }, 'retries hide it');
  await eventually('the ejection', () => destinationViews(http.waypoint.services, 9)[0]?.ejected === 1);
  const echo = (socket: Socket) => void socket.pipe(socket);
  const tcp = await createHarness(t, { pods: [echo, 'down'], podKind: 'tcp', appProtocol: 'tcp' });
  tcp.model = { ...emptyL7Model, destinations: destination(settings) };
  for (let i = 0; i < 5; i++) {
    const stream = await tcp.tunnel();
    stream.end('hello');
    t.equal(await within('the echo', text(stream)), 'hello');
  }
  const [view] = destinationViews(tcp.waypoint.services, 9);
  t.equal(view?.ejected, 1);
  await eventually('no connection to be counted', () =>
    view?.levels[0]?.groups[0]?.endpoints.every(({ active }) => active === 0),
  );
});

t.test('the nearest pods are used, and those farther away when they are ill', async (t) => {
  const at = (zone: string) => ({ locality: { region: 'r1', zone, subzone: '' } });
  let ill = false;
  const near: RequestListener = (_request, response) => {
    response.statusCode = ill ? 500 : 200;
    response.end('near');
  };
  const self = makeWorkload({ name: 'waypoint', ...at('z1') });
  const harness = await createHarness(t, { pods: [near, named('far')], self });
  relabel(harness, 0, at('z1'));
  relabel(harness, 1, at('z2'));
  const destinations = destination({ outlierDetection: outliers });
  harness.model = { ...emptyL7Model, destinations, ports: routesTo(backend(undefined)) };
  t.same(await tally(harness, 6), { near: 6 });
  ill = true;
  t.same(await tally(harness, 8), { near: 2, far: 6 });
  const views = waypointViews({
    services: harness.waypoint.services,
    secrets: noSecrets,
    listenAddress: () => '-',
    compilation: () => undefined,
  });
  const render = (name: string) => {
    const shown = views.find((view) => view.name === name)?.render(new URLSearchParams());
    return typeof shown === 'string' ? shown : '';
  };
  const shown = JSON.parse(render('destinations'));
  t.match(shown, [{ service: serviceKey, levels: [{ load: 0 }, { load: 100 }] }]);
  t.match(render('destinations.txt'), /level 0 load 0%\n {4}127\.0\.0\.2:\d+ default\/productpage-0 ejected/);
});

t.test('endpoints are asked how they are, and those that are unwell are not used', async (t) => {
  let ill = true;
  const seen: string[] = [];
  const checked: RequestListener = (request, response) => {
    if (request.url === '/healthz') {
      seen.push(`${request.headers.host} ${request.headers['user-agent']}`);
      response.statusCode = ill ? 500 : 204;
    }
    response.end('checked');
  };
  const harness = await createHarness(t, { pods: [checked, named('well')] });
  const healthCheck = {
    path: '/healthz',
    intervalMs: 100,
    timeoutMs: 2000,
    unhealthyThreshold: 2,
    healthyThreshold: 1,
  };
  const views = destination({ loadBalancer: roundRobin });
  const found = { ...(views.get(serviceKey)?.otherwise as Destination), healthCheck };
  const destinations = new Map([[serviceKey, { otherwise: found, ofNamespace: new Map() }]]);
  harness.model = { ...emptyL7Model, destinations, ports: routesTo(backend(undefined)) };
  const health = () => destinationViews(harness.waypoint.services, 9)[0]?.levels[0]?.groups[0]?.endpoints[0]?.health;
  await ask(harness);
  await eventually('the pod to be found unwell', () => health() === 'failing');
  t.same(await tally(harness, 6), { well: 6 });
  t.match(seen[0], /^productpage\.default\.svc\.cluster\.local:9080 ambit-health-check$/);
  ill = false;
  await eventually('the pod to be found well', () => health() === 'well');
  t.same(await tally(harness, 6), { checked: 3, well: 3 });
  const tcp = await createHarness(t, {
    pods: [(socket: Socket) => void socket.end('up'), 'down'],
    podKind: 'tcp',
    appProtocol: 'tcp',
  });
  tcp.model = { ...emptyL7Model, destinations };
  await within('the greeting', text(await tcp.tunnel()));
  const second = () => destinationViews(tcp.waypoint.services, 9)[0]?.levels[0]?.groups[0]?.endpoints[1]?.health;
  await eventually('nobody to be there', () => second() === 'failing');
});

t.test('TCP: the connections of one client address stay with one pod, and PASSTHROUGH goes nowhere else', async (t) => {
  const greet = (name: string) => (socket: Socket) => void socket.end(name);
  const pods = [greet('a'), greet('b'), greet('c')];
  const harness = await createHarness(t, { pods, podKind: 'tcp', appProtocol: 'tcp' });
  harness.model = { ...emptyL7Model, destinations: destination({ loadBalancer: hashing({ kind: 'source-ip' }) }) };
  const found = new Set<string>();
  for (let i = 0; i < 8; i++) found.add(await within('the greeting', text(await harness.tunnel())));
  t.equal(found.size, 1);
  const passthrough = { ...roundRobin, choice: { kind: 'simple', balancer: 'passthrough' } } as const;
  harness.model = { ...emptyL7Model, destinations: destination({ loadBalancer: passthrough }) };
  await within('the end', t.rejects(text(await harness.tunnel())));
});

t.test('what asks for TLS in a way that cannot be read, or for a tunnel, is refused', async (t) => {
  const harness = await createHarness(t, { pods: [named('never')] });
  harness.model = { ...emptyL7Model, destinations: destination({ tls: { mode: 'invalid', reason: 'x' } }) };
  t.match(await ask(harness), { status: 503 });
  const tcp = await createHarness(t, {
    pods: [(socket: Socket) => void socket.end('never')],
    podKind: 'tcp',
    appProtocol: 'tcp',
  });
  for (const policy of [{ tls: { mode: 'invalid', reason: 'x' } }, { tunnel: { protocol: 'invalid' } }] as const) {
    tcp.model = { ...emptyL7Model, destinations: destination(policy) };
    await within('the end', t.rejects(text(await tcp.tunnel())));
  }
  t.same([harness.arrived.length, tcp.arrived.length], [0, 0]);
});

t.test('pods come and go under load and no request fails; what runs on one that leaves ends well', async (t) => {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const slow: RequestListener = (request, response) => {
    if (request.url === '/slow') void held.then(() => response.end('slow one'));
    else response.end('a');
  };
  const harness = await createHarness(t, { pods: [slow, named('b'), named('c')] });
  harness.model = { ...emptyL7Model, destinations: destination({ outlierDetection: outliers }) };
  const all = [0, 1, 2].map((i) => harness.mesh.workload(podUid(i)) as Workload);
  const keep = (...indexes: number[]) => {
    const gone = [0, 1, 2].filter((i) => !indexes.includes(i)).map(podUid);
    harness.mesh.apply(makeChange({ removedWorkloads: gone, workloads: indexes.map((i) => all[i] as Workload) }));
  };
  keep(0);
  const running = ask(harness, {}, '/slow');
  await eventually('the slow request to arrive', () => harness.arrived.length > 0);
  let going = true;
  let asked = 0;
  const failures: string[] = [];
  const client = async () => {
    while (going) {
      const { status, body } = await ask(harness);
      asked++;
      if (status !== 200) failures.push(`${status} ${body}`);
    }
  };
  const clients = Array.from({ length: 4 }, client);
  const wave = async (...indexes: number[]) => {
    keep(...indexes);
    const until = asked + 8;
    await eventually('some requests', () => asked >= until);
  };
  for (let round = 0; round < 3; round++) {
    await wave(0, 1);
    await wave(1);
    await wave(1, 2);
    await wave(2);
    await wave(0, 2);
  }
  keep(1);
  const after = new Set<string>();
  going = false;
  await Promise.all(clients);
  for (let i = 0; i < 6; i++) after.add((await ask(harness)).body);
  t.same([...after], ['b'], 'only who is left');
  release();
  t.match(await running, { status: 200, body: 'slow one' });
  t.same(failures, []);
});
