/** The choice among a cluster's endpoints: fairness, subsets, levels, panic, retries, and what survives a change. */
import fc from 'fast-check';
import t from 'tap';
import { seededRandom } from '../../../../bench/micro/seeded-random.ts';
import type { Random } from '../../../../src/base/random.ts';
import type { LoadBalancing, Locality, Workload } from '../../../../src/mesh/model.ts';
import type {
  LoadBalancerPolicy,
  LocalityBalancing,
  OutlierPolicy,
  Subset,
} from '../../../../src/route/destination.ts';
import { emptyDestinationPolicy } from '../../../../src/route/destination.ts';
import { Cluster, type ClusterInputs, type HostChoice } from '../../../../src/upstream/balance/cluster.ts';
import type { Host } from '../../../../src/upstream/balance/host.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { makeService, makeWorkload } from '../../../support/mesh-records.ts';

const service = makeService({ name: 'web' });
const services = new Map([[service.key, new Map([[80, 8080]])]]);
const nobody: ReadonlySet<string> = new Set();

function pod(index: number, fields: Partial<Workload> = {}): Workload {
  return makeWorkload({ name: `web-${index}`, addresses: [`10.0.${index >> 8}.${index & 255}`], services, ...fields });
}

const pods = (count: number, fields: (index: number) => Partial<Workload> = () => ({})): readonly Workload[] =>
  Array.from({ length: count }, (_, i) => pod(i, fields(i)));

const simple = (
  balancer: Extract<LoadBalancerPolicy['choice'], { kind: 'simple' }>['balancer'],
): LoadBalancerPolicy => ({
  choice: { kind: 'simple', balancer },
  warmup: undefined,
  locality: undefined,
});

const hashing = (table: Extract<LoadBalancerPolicy['choice'], { kind: 'hash' }>['table']): LoadBalancerPolicy => ({
  choice: { kind: 'hash', key: { kind: 'source-ip' }, table },
  warmup: undefined,
  locality: undefined,
});
const ring = hashing({ kind: 'ring', minimumSize: 1024 });

const outliers: OutlierPolicy = {
  consecutive5xx: 1,
  consecutiveGatewayErrors: 0,
  splitLocalOrigin: false,
  consecutiveLocalOrigin: 5,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 100,
  minHealthPercent: 0,
};

interface Setting {
  readonly loadBalancer?: LoadBalancerPolicy | undefined;
  readonly outlierDetection?: OutlierPolicy | undefined;
  readonly subset?: Subset | undefined;
  readonly source?: Workload | undefined;
  readonly loadBalancing?: LoadBalancing;
}

function inputs(endpoints: readonly Workload[], setting: Setting = {}): ClusterInputs {
  const { loadBalancer, outlierDetection, subset, source, loadBalancing } = setting;
  return {
    query: {
      service: loadBalancing === undefined ? service : { ...service, loadBalancing },
      endpoints,
      servicePort: 80,
      source,
      network: '',
      resolution: 'service',
      random: { next: () => 0 },
    },
    subset,
    loadBalancer,
    outlierDetection,
  };
}

function makeCluster(endpoints: readonly Workload[], setting: Setting = {}, random: Random = seededRandom(1)) {
  const clock = new FakeClock();
  const failures: unknown[] = [];
  const cluster = new Cluster({
    clock,
    random,
    outliers: { ejected: () => {}, spared: () => {}, returned: () => {} },
    background: (work) => void work().catch((error: unknown) => failures.push(error)),
  });
  cluster.follow(inputs(endpoints, setting));
  const choose = (tried = nobody, hash?: number): HostChoice =>
    cluster.choose({ hash, tried, destinationIp: '10.9.9.9' });
  const pick = (tried = nobody, hash?: number): Host => {
    const choice = choose(tried, hash);
    if (choice.kind === 'none') throw new Error(choice.reason);
    return choice.host;
  };
  const eject = (index: number) => {
    const host = cluster.hosts.find(({ workload }) => workload.name === `web-${index}`) as Host;
    cluster.detector.observe(host, { kind: 'status', status: 500 });
  };
  return { cluster, clock, choose, pick, eject, failures };
}

/** How often each pod was chosen, by its number. */
function counts(pick: () => Host, choices: number, size: number): readonly number[] {
  const found = new Array<number>(size).fill(0);
  for (let i = 0; i < choices; i++) {
    const at = Number(pick().workload.name.slice('web-'.length));
    found[at] = (found[at] ?? 0) + 1;
  }
  return found;
}

/** Sum of squared differences from what is expected, in units of it: small for a fair choice (Pearson). */
function chiSquare(found: readonly number[], expected: readonly number[]): number {
  return found.reduce((sum, count, i) => {
    const want = expected[i] as number;
    return want === 0 ? sum + count * 1e9 : sum + (count - want) ** 2 / want;
  }, 0);
}

/** Beyond it a fair choice of ten goes once in ten thousand times (9 degrees of freedom). */
const limitOfTen = 33.7;

t.test('random and least request are fair, also by weight', async (t) => {
  const weights = Array.from({ length: 10 }, (_, i) => i + 1);
  const sum = weights.reduce((a, b) => a + b, 0);
  for (const loadBalancer of [simple('random'), simple('least-request'), undefined]) {
    const even = makeCluster(pods(10), { loadBalancer });
    t.ok(chiSquare(counts(even.pick, 10_000, 10), new Array(10).fill(1000)) < limitOfTen);
    const uneven = makeCluster(
      pods(10, (i) => ({ capacity: i + 1 })),
      { loadBalancer },
    );
    const expected = weights.map((weight) => (10_000 * weight) / sum);
    t.ok(chiSquare(counts(uneven.pick, 10_000, 10), expected) < limitOfTen);
  }
});

t.test('least request goes where less is under way for its weight', async (t) => {
  const { cluster, pick } = makeCluster(pods(2));
  const [busy, idle] = cluster.hosts as [Host, Host];
  busy.active = 5;
  const [ofBusy = 0] = counts(pick, 4000, 2);
  t.ok(Math.abs(ofBusy / 4000 - 1 / 4) < 0.05, 'only when both draws are the busy one');
  idle.active = 6;
  t.ok((counts(pick, 4000, 2)[0] ?? 0) > 2000);
});

t.test('least request evens out endpoints that are slower than others', async (t) => {
  const { cluster, pick } = makeCluster(pods(10));
  const running: { readonly host: Host; readonly until: number }[] = [];
  let most = 0;
  for (let now = 0; now < 20_000; now++) {
    for (let i = running.length - 1; i >= 0; i--) {
      const one = running[i];
      if (one === undefined || one.until > now) continue;
      one.host.active--;
      running.splice(i, 1);
    }
    const host = pick();
    host.active++;
    // One pod takes twenty times as long.
    running.push({ host, until: now + (host.workload.name === 'web-0' ? 200 : 10) });
    most = Math.max(most, ...cluster.hosts.map(({ active }) => active));
  }
  t.ok(most < 12, `${most} at once on one pod; a random choice would pile up 20`);
});

t.test('round robin: everybody once in a round, and by weights exactly', async (t) => {
  const { pick } = makeCluster(pods(7), { loadBalancer: simple('round-robin') });
  for (let round = 0; round < 3; round++) t.same(counts(pick, 7, 7), new Array(7).fill(1));
  const weighted = makeCluster(
    pods(3, (i) => ({ capacity: i + 1 })),
    { loadBalancer: simple('round-robin') },
  );
  for (const [i, count] of counts(weighted.pick, 6000, 3).entries()) t.ok(Math.abs(count - 1000 * (i + 1)) <= 2);
  const starts = new Set(
    Array.from({ length: 20 }, (_, seed) => {
      const one = makeCluster(pods(7), { loadBalancer: simple('round-robin') }, seededRandom(seed));
      return one.pick().uid;
    }),
  );
  t.ok(starts.size > 3, 'waypoints do not all begin with the same pod');
});

t.test('passthrough goes to the endpoint the client named, and nowhere else', async (t) => {
  const { cluster } = makeCluster(pods(3), { loadBalancer: simple('passthrough') });
  const at = (destinationIp: string) => cluster.choose({ hash: undefined, tried: nobody, destinationIp });
  t.match(at('10.0.0.2'), { kind: 'host', host: { key: '10.0.0.2:8080' } });
  t.same(at('10.96.0.1'), { kind: 'none', reason: 'not-an-endpoint' });
});

t.test('hashing: one hash, one endpoint; without a hash any', async (t) => {
  for (const loadBalancer of [ring, hashing({ kind: 'maglev', size: 2039 })]) {
    const { pick } = makeCluster(pods(10), { loadBalancer });
    const first = pick(nobody, 12_345);
    for (let i = 0; i < 20; i++) t.equal(pick(nobody, 12_345).uid, first.uid);
    t.ok(new Set(Array.from({ length: 100 }, (_, i) => pick(nobody, i * 7919 * 7919).uid)).size > 5);
    t.ok(new Set(Array.from({ length: 100 }, () => pick().uid)).size > 5);
  }
});

const hashes = Array.from({ length: 1000 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 0);

t.test('hashing: who is ejected or leaves takes only its own requests along', async (t) => {
  const { cluster, clock, pick, eject, failures } = makeCluster(pods(10), {
    loadBalancer: ring,
    outlierDetection: outliers,
  });
  const before = hashes.map((hash) => pick(nobody, hash).workload.name);
  eject(3);
  const without = hashes.map((hash) => pick(nobody, hash).workload.name);
  t.notOk(without.includes('web-3'));
  t.ok(before.every((name, i) => name === 'web-3' || without[i] === name));
  clock.advance(30_000);
  t.same(
    hashes.map((hash) => pick(nobody, hash).workload.name),
    before,
    'back, everything is as it was',
  );
  cluster.follow(inputs(pods(10).toSpliced(3, 1), { loadBalancer: ring, outlierDetection: outliers }));
  const left = hashes.map((hash) => pick(nobody, hash).workload.name);
  t.same(left, without, 'at once, with the table of before');
  await new Promise((resolve) => setImmediate(resolve));
  const anew = hashes.map((hash) => pick(nobody, hash).workload.name);
  // Nine hosts have a few points more each than ten had.
  t.ok(anew.filter((name, i) => name !== without[i]).length < 150, 'and nearly so with the new one');
  t.same(failures, []);
});

t.test('hashing: a large table is built beside the traffic, and every request has an endpoint meanwhile', async (t) => {
  const loadBalancer = hashing({ kind: 'maglev', size: 100_003 });
  const { pick } = makeCluster(pods(50), { loadBalancer });
  const first = hashes.slice(0, 50).map((hash) => pick(nobody, hash).uid);
  t.same(
    hashes.slice(0, 50).map((hash) => pick(nobody, hash).uid),
    first,
  );
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  const later = hashes.map((hash) => pick(nobody, hash).uid);
  t.same(
    hashes.map((hash) => pick(nobody, hash).uid),
    later,
  );
  t.equal(new Set(later).size, 50);
});

t.test('a retry goes to somebody else while there is one, the same one for the same hash', async (t) => {
  const { pick } = makeCluster(pods(3));
  for (let i = 0; i < 50; i++) {
    const tried = new Set([pick().uid]);
    const second = pick(tried);
    t.notOk(tried.has(second.uid));
    tried.add(second.uid);
    const third = pick(tried);
    t.notOk(tried.has(third.uid));
    tried.add(third.uid);
    t.ok(tried.has(pick(tried).uid), 'all tried: any of them');
  }
  const sticky = makeCluster(pods(10), { loadBalancer: ring });
  const first = sticky.pick(nobody, 77);
  const next = sticky.pick(new Set([first.uid]), 77);
  t.not(next, first);
  t.equal(sticky.pick(new Set([first.uid]), 77), next);
  t.equal(makeCluster(pods(1), { loadBalancer: ring }).pick(new Set([pod(0).uid]), 77).workload.name, 'web-0');
});

const labelled = (version: string) => ({ labels: { version }, canonicalRevision: 'latest' });
const subset = (labels: Record<string, string>): Subset => ({
  name: 'v',
  labels,
  policies: { otherwise: emptyDestinationPolicy, ports: new Map() },
});

t.test(
  'a subset has the endpoints with its labels; what a control plane tells stands for labels it does not',
  async (t) => {
    const endpoints = pods(6, (i) => labelled(i < 2 ? 'v1' : 'v2'));
    const v1 = makeCluster(endpoints, { subset: subset({ version: 'v1' }) });
    t.same(counts(v1.pick, 100, 6).slice(2), [0, 0, 0, 0]);
    t.same(makeCluster(endpoints, { subset: subset({ version: 'v3' }) }).choose(), {
      kind: 'none',
      reason: 'empty-subset',
    });
    const fromDiscovery = pods(2, (i) => ({ canonicalRevision: `v${i}`, canonicalName: 'web' }));
    const known = makeCluster(fromDiscovery, { subset: subset({ app: 'web', version: 'v1' }) });
    t.same(counts(known.pick, 20, 2), [0, 20]);
    t.equal(makeCluster(fromDiscovery, { subset: subset({ tier: 'a' }) }).choose().kind, 'none');
    t.same(
      counts(makeCluster(endpoints, { subset: subset({}) }).pick, 600, 6).filter((count) => count === 0),
      [],
    );
  },
);

t.test('why nobody can be chosen is said', async (t) => {
  const reason = (endpoints: readonly Workload[]) => {
    const choice = makeCluster(endpoints).choose();
    return choice.kind === 'none' ? choice.reason : undefined;
  };
  t.equal(reason([]), 'no-endpoints');
  t.equal(reason(pods(2, () => ({ healthy: false }))), 'all-unhealthy');
  t.equal(reason(pods(2, () => ({ services: new Map() }))), undefined, 'the port of the service');
  t.equal(reason(pods(2, () => ({ capacity: 0 }))), 'no-capacity');
  t.equal(reason(pods(2, () => ({ addresses: [] }))), 'no-usable-address');
  const gateway = { kind: 'address', network: 'far', ip: '192.0.2.1', hbonePort: 15008 } as const;
  const far = { network: 'far', networkGateway: gateway };
  t.equal(reason(pods(2, () => far)), 'unsupported-remote');
  t.same(counts(makeCluster(pods(3, (i) => (i === 0 ? far : {}))).pick, 90, 3)[0], 0, 'others are used');
  const { choose, eject } = makeCluster(pods(1), { outlierDetection: outliers });
  eject(0);
  t.same(choose(), { kind: 'none', reason: 'all-ejected' });
});

t.test('below the threshold health is not looked at', async (t) => {
  const outlierDetection = { ...outliers, minHealthPercent: 60 };
  const { pick, choose, eject } = makeCluster(pods(4), { outlierDetection });
  eject(0);
  t.equal(counts(pick, 400, 4)[0], 0, '75 percent are well');
  eject(1);
  t.same(
    counts(pick, 400, 4).filter((count) => count === 0),
    [],
    'half are not believed',
  );
  t.match(choose(), { kind: 'host', panic: true });
  for (const loadBalancer of [ring, simple('round-robin')]) {
    const other = makeCluster(pods(4), { outlierDetection, loadBalancer });
    for (const at of [0, 1, 2, 3]) other.eject(at);
    let i = 0;
    t.same(
      counts(() => other.pick(nobody, hashes[i++]), 400, 4).filter((count) => count === 0),
      [],
    );
  }
});

const at = (region: string, zone = '', subzone = ''): Locality => ({ region, zone, subzone });
const here = makeWorkload({ name: 'waypoint', locality: at('r1', 'z1', 's1'), labels: { tier: 'a' }, node: 'node-a' });
const places = [at('r1', 'z1', 's1'), at('r1', 'z1', 's2'), at('r1', 'z2'), at('r2'), at('r3')];
const spread = places.map((locality, i) =>
  pod(i, { locality, labels: { tier: i < 2 ? 'a' : 'b' }, node: i === 2 ? 'node-a' : 'node-b' }),
);
const locality = (fields: Partial<LocalityBalancing>): LoadBalancerPolicy => ({
  ...simple('random'),
  locality: { enabled: true, distribute: [], failover: [], failoverPriority: [], ...fields },
});
const source = here;

/** The order in which pods are used as those before them fail. */
function order(setting: Setting): string {
  const { choose, eject } = makeCluster(spread, { outlierDetection: outliers, source, ...setting });
  const levels: string[] = [];
  for (let i = 0; i < spread.length; i++) {
    const found = new Set<string>();
    for (let j = 0; j < 100; j++) {
      const choice = choose();
      if (choice.kind === 'host') found.add(choice.host.workload.name.slice('web-'.length));
    }
    if (found.size === 0) break;
    levels.push([...found].sort().join(''));
    for (const name of found) eject(Number(name));
  }
  return levels.join(' ');
}

t.test('the nearest first, as the mesh does by default for who has outlier detection', async (t) => {
  t.equal(order({}), '0 1 2 34');
  t.equal(order({ loadBalancer: locality({}) }), '0 1 2 34');
  t.equal(order({ source: undefined }), '01234', 'nobody knows where we are');
  t.equal(order({ loadBalancer: locality({ enabled: false }) }), '01234');
  const without = makeCluster(spread, { source, loadBalancer: locality({ failover: [{ from: 'r1', to: 'r2' }] }) });
  t.same(
    counts(without.pick, 500, 5).filter((count) => count === 0),
    [],
    'without outlier detection there is no failover',
  );
});

t.test('failover to a region, and by labels', async (t) => {
  t.equal(order({ loadBalancer: locality({ failover: [{ from: 'r1', to: 'r3' }] }) }), '0 1 2 4 3');
  const tier = { label: 'tier', value: undefined };
  const node = { label: 'kubernetes.io/hostname', value: undefined };
  t.equal(order({ loadBalancer: locality({ failoverPriority: [tier] }) }), '01 234');
  t.equal(order({ loadBalancer: locality({ failoverPriority: [{ label: 'tier', value: 'b' }, node] }) }), '2 34 01');
  const both = { failoverPriority: [{ label: 'tier', value: 'b' }], failover: [{ from: 'r1', to: 'r3' }] };
  t.equal(order({ loadBalancer: locality(both) }), '2 4 3 0 1');
});

t.test('the next level gets what the first cannot take', async (t) => {
  const endpoints = pods(20, (i) => ({ locality: i < 10 ? at('r1', 'z1', 's1') : at('r2') }));
  const { pick, eject } = makeCluster(endpoints, { outlierDetection: outliers, source });
  for (let i = 0; i < 5; i++) eject(i);
  const first = counts(pick, 10_000, 20)
    .slice(0, 10)
    .reduce((a, b) => a + b, 0);
  t.ok(Math.abs(first - 7000) < 250, `${first}: half of ten, with a reserve of 40 percent`);
});

t.test('distribute: fixed shares, the rest gets nothing, and an unwell part gets less', async (t) => {
  const pattern = (region: string, zone?: string) => ({ region, zone, subzone: undefined });
  const distribute = [
    { from: pattern('r9'), to: [{ to: pattern('r2'), weight: 100 }] },
    {
      from: pattern('r1'),
      to: [
        { to: pattern('r1', 'z1'), weight: 60 },
        { to: pattern('r1'), weight: 10 },
        { to: pattern('r2'), weight: 30 },
      ],
    },
  ];
  const setting = { source, loadBalancer: locality({ distribute }), outlierDetection: outliers };
  const { pick, eject } = makeCluster(spread, setting);
  t.ok(chiSquare(counts(pick, 10_000, 5), [3000, 3000, 1000, 3000, 0]) < 25);
  eject(0);
  eject(1);
  t.ok(chiSquare(counts(pick, 10_000, 5), [0, 0, 2500, 7500, 0]) < 25);
  const elsewhere = makeCluster(spread, { ...setting, source: { ...here, locality: at('r7') } });
  t.same(
    counts(elsewhere.pick, 500, 5).filter((count) => count === 0),
    [],
    'no entry is about us',
  );
});

t.test('the traffic distribution of the Service holds until a rule says something else', async (t) => {
  const loadBalancing: LoadBalancing = {
    mode: 'failover',
    preferences: ['network', 'region', 'zone'],
    allowUnhealthy: false,
  };
  const near = makeCluster(spread, { source, loadBalancing });
  t.same(counts(near.pick, 400, 5).slice(2), [0, 0, 0]);
  const far = makeCluster(spread.slice(3), { source, loadBalancing });
  t.equal(far.choose().kind, 'host', 'others when there is nobody near');
  const off = makeCluster(spread, { source, loadBalancing, loadBalancer: locality({ enabled: false }) });
  t.same(
    counts(off.pick, 500, 5).filter((count) => count === 0),
    [],
  );
  const strict: LoadBalancing = { mode: 'strict', preferences: ['node'], allowUnhealthy: false };
  t.same(counts(makeCluster(spread, { source, loadBalancing: strict }).pick, 50, 5), [0, 0, 50, 0, 0]);
  const nowhere = makeCluster(spread.slice(0, 2), { source, loadBalancing: strict });
  t.same(nowhere.choose(), { kind: 'none', reason: 'no-endpoint-in-locality' });
});

t.test('new endpoints get more the older they are', async (t) => {
  const warmup = { durationMs: 60_000, minimumPercent: 10, aggression: 1 };
  for (const balancer of ['least-request', 'round-robin'] as const) {
    const loadBalancer = { ...simple(balancer), warmup };
    const { cluster, clock, pick } = makeCluster(pods(4), { loadBalancer });
    t.ok(chiSquare(counts(pick, 4000, 4), new Array(4).fill(1000)) < 25, 'who was there is warm');
    cluster.follow(inputs(pods(5), { loadBalancer }));
    const share = () => (counts(pick, 10_000, 5)[4] ?? 0) / 10_000;
    const expected = (factor: number) => factor / (4 + factor);
    t.ok(Math.abs(share() - expected(0.1)) < 0.012, `${balancer} at first`);
    clock.advance(30_000);
    t.ok(Math.abs(share() - expected(0.5)) < 0.025, `${balancer} half way`);
    clock.advance(30_000);
    t.ok(Math.abs(share() - expected(1)) < 0.025, `${balancer} in the end`);
  }
});

t.test('what is known of an endpoint survives changes that are not about it', async (t) => {
  const setting = { outlierDetection: outliers };
  const { cluster, eject, pick } = makeCluster(pods(3), setting);
  const [first] = cluster.hosts as [Host];
  first.active = 3;
  eject(1);
  cluster.follow(inputs(pods(5), { ...setting, outlierDetection: { ...outliers } }));
  t.equal(cluster.hosts[0], first);
  t.equal(cluster.detector.ejected, 1);
  t.equal(counts(pick, 500, 5)[1], 0, 'still ejected');
  cluster.follow(
    inputs(pods(5), { outlierDetection: { ...outliers, consecutive5xx: 9 }, loadBalancer: simple('random') }),
  );
  t.equal(counts(pick, 500, 5)[1], 0, 'also with other settings');
  cluster.follow(inputs(pods(5).slice(2), setting));
  t.equal(cluster.detector.ejected, 0, 'it left');
  t.notOk(first.present);
  cluster.follow(inputs(pods(5), setting));
  t.ok((counts(pick, 500, 5)[1] ?? 0) > 0, 'and has come back as a new one');
  t.not(
    cluster.hosts.find(({ uid }) => uid === first.uid),
    first,
  );
});

t.test('an endpoint that left, or is another at its address, is never chosen again', async () => {
  const balancers = [
    simple('random'),
    simple('least-request'),
    simple('round-robin'),
    ring,
    hashing({ kind: 'maglev', size: 131 }),
  ];
  const change = fc.array(fc.boolean(), { minLength: 8, maxLength: 8 });
  fc.assert(
    fc.property(
      fc.constantFrom(...balancers),
      fc.array(change, { minLength: 1, maxLength: 5 }),
      fc.nat(),
      (loadBalancer, changes, seed) => {
        const { cluster, choose } = makeCluster(pods(8), { loadBalancer }, seededRandom(seed));
        for (const present of changes) {
          const endpoints = pods(8).filter((_, i) => present[i]);
          cluster.follow(inputs(endpoints, { loadBalancer }));
          const uids = new Set(endpoints.map(({ uid }) => uid));
          for (let i = 0; i < 20; i++) {
            const choice = choose(nobody, hashes[i]);
            if (choice.kind === 'none' ? endpoints.length > 0 : !uids.has(choice.host.uid)) return false;
          }
        }
        return true;
      },
    ),
    { numRuns: 200 },
  );
});

t.test('active health checks count as outlier detection does', async (t) => {
  const { cluster, pick } = makeCluster(pods(3));
  cluster.setFailing(cluster.hosts[0] as Host, true);
  t.equal(counts(pick, 300, 3)[0], 0);
  cluster.setFailing(cluster.hosts[0] as Host, false);
  t.ok((counts(pick, 300, 3)[0] ?? 0) > 0);
});
