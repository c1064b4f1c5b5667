/** What is answered from the mesh, with which records, and what is forwarded: example by example, then against an oracle. */
import fc from 'fast-check';
import t from 'tap';
import { candidatesOf, kubernetesSearchDomains } from '../../../src/dns/candidates.ts';
import { type DnsContext, type DnsDecision, type DnsRules, decideDns } from '../../../src/dns/decision.ts';
import { HeadlessServices } from '../../../src/dns/headless.ts';
import type { Service, Workload } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { types } from '../../support/dns-messages.ts';
import { makeChange, makeService, makeWorkload } from '../../support/mesh-records.ts';

const rules: DnsRules = {
  clusterDomain: 'cluster.local',
  searchDomains: undefined,
  preferredNamespace: undefined,
  ipv6: true,
};
const client = makeWorkload({ name: 'client', namespace: 'ns1' });

function world(services: readonly Service[], workloads: readonly Workload[] = [], changed: Partial<DnsRules> = {}) {
  const mesh = new MeshStore();
  mesh.apply(makeChange({ services, workloads }));
  const context: DnsContext = { mesh, headless: new HeadlessServices(mesh), rules: { ...rules, ...changed } };
  const ask = (name: string, type: number = types.A, who: Workload | undefined = client): DnsDecision =>
    decideDns(
      { name: { labels: name.toLowerCase().split('.'), bytes: Buffer.alloc(0) }, type, class: 1, edns: undefined },
      who,
      context,
    );
  /** Addresses and, before them, to what the name is an alias. */
  const told = (name: string, type?: number, who?: Workload) => {
    const decision = ask(name, type, who);
    if (decision.kind !== 'answer') return decision.kind;
    const { aliasLabels, addresses } = decision;
    return [...(aliasLabels === undefined ? [] : [name.split('.').slice(0, aliasLabels).join('.')]), ...addresses];
  };
  return { mesh, ask, told };
}

const vip = (ip: string, network = '') => ({ network, ip });

t.test('a service is found by every name that Kubernetes gives it', async (t) => {
  const { told } = world([makeService({ name: 'productpage', namespace: 'ns1', addresses: [vip('9.9.9.9')] })]);
  for (const name of ['productpage', 'productpage.ns1', 'productpage.ns1.svc', 'PRODUCTPAGE.ns1.svc.cluster.local']) {
    t.same(told(name), ['9.9.9.9'], name);
  }
  t.same(told('productpage.ns1.ns1.svc.cluster.local'), ['productpage.ns1', '9.9.9.9'], 'with a search domain');
  t.same(
    told('productpage', types.A, makeWorkload({ namespace: 'ns2' })),
    'forward',
    'a bare name is of the own namespace',
  );
  t.same(told('productpage.ns1.svc.cluster'), 'forward');
  t.same(told('productpage.ns1.svc.cluster.local.example.com'), 'forward');
  t.same(told('other.ns1.svc.cluster.local'), 'forward');
});

t.test(
  'hosts outside the cluster: exact before wildcard, the most specific wildcard first, search domains off',
  async (t) => {
    const entry = (hostname: string, ip: string) =>
      makeService({ key: `ns1/${hostname}`, name: hostname, namespace: 'ns1', hostname, addresses: [vip(ip)] });
    const { told } = world([
      entry('www.google.com', '1.1.1.1'),
      entry('*.google.com', '2.2.2.2'),
      entry('*.mail.google.com', '3.3.3.3'),
      entry('*.com', '4.4.4.4'),
    ]);
    t.same(told('www.google.com'), ['1.1.1.1']);
    t.same(told('www.google.com.ns1.svc.cluster.local'), ['www.google.com', '1.1.1.1']);
    t.same(told('maps.google.com'), ['2.2.2.2']);
    t.same(told('a.b.google.com'), ['2.2.2.2'], 'a star stands for several labels');
    t.same(told('imap.mail.google.com'), ['3.3.3.3']);
    t.same(told('bing.com'), ['4.4.4.4']);
    t.same(told('google.com'), ['4.4.4.4'], 'no wildcard covers its own parent');
    t.same(told('com'), 'forward');
    t.same(told('maps.google.com.svc.cluster.local'), ['2.2.2.2'], 'by a wildcard there is no alias');
    t.same(told('example.org'), 'forward');
  },
);

t.test('types, classes, EDNS versions and unknown clients', async (t) => {
  const { ask, told } = world([makeService({ name: 'a', namespace: 'ns1', addresses: [vip('1.2.3.4')] })]);
  for (const type of [types.NS, types.TXT, types.SRV, types.HTTPS, 255]) t.same(told('a.ns1', type), 'forward');
  t.match(ask('a.ns1', types.A, makeWorkload({ namespace: 'x' })), { kind: 'answer' });
  const name = { labels: ['a', 'ns1'], bytes: Buffer.alloc(0) };
  const context = { mesh: new MeshStore(), headless: new HeadlessServices(new MeshStore()), rules };
  t.match(decideDns({ name, type: 1, class: 1, edns: undefined }, undefined, context), { kind: 'refuse', code: 2 });
  t.match(decideDns({ name, type: 1, class: 3, edns: undefined }, client, context), { kind: 'forward' });
  const edns = { payload: 1232, version: 1, dnssecOk: false };
  t.match(decideDns({ name, type: 1, class: 1, edns }, client, context), { kind: 'refuse', code: 16 });
});

t.test('families: a name without an address of the type asked for exists all the same', async (t) => {
  const services = [
    makeService({ name: 'four', namespace: 'ns1', addresses: [vip('1.2.3.4')] }),
    makeService({ name: 'both', namespace: 'ns1', addresses: [vip('1.2.3.5'), vip('fd00::5')] }),
  ];
  const { told } = world(services);
  t.same(told('four', types.AAAA), []);
  t.same(told('four.ns1.ns1.svc.cluster.local', types.AAAA), [], 'and is no alias');
  t.same(told('both', types.AAAA), ['fd00::5']);
  t.same(world(services, [], { ipv6: false }).told('both', types.AAAA), []);
  t.same(world(services, [], { ipv6: false }).told('both'), ['1.2.3.5']);
});

t.test('only addresses of the client’s own network', async (t) => {
  const { told } = world([
    makeService({ name: 'a', namespace: 'ns1', addresses: [vip('1.1.1.1', 'nw1'), vip('2.2.2.2', 'nw2')] }),
  ]);
  t.same(told('a', types.A, makeWorkload({ namespace: 'ns1', network: 'nw2' })), ['2.2.2.2']);
  t.same(told('a', types.A, makeWorkload({ namespace: 'ns1', network: 'nw3' })), []);
});

t.test(
  'of services with one name: the own namespace’s, then the canonical one, then the preferred, then the first',
  async (t) => {
    const shared = (namespace: string, ip: string, canonical = false, visibility: Service['visibility'] = 'public') =>
      makeService({
        key: `${namespace}/api.example`,
        namespace,
        hostname: 'api.example',
        addresses: [vip(ip)],
        canonical,
        visibility,
      });
    const [own, second, third, canonical] = [
      shared('ns1', '1.1.1.1'),
      shared('ns2', '2.2.2.2'),
      shared('ns3', '3.3.3.3'),
      shared('ns4', '4.4.4.4', true),
    ];
    const preferred = { preferredNamespace: 'ns3' };
    t.same(world([second, third, canonical, own], [], preferred).told('api.example'), ['1.1.1.1']);
    t.same(world([second, third, canonical], [], preferred).told('api.example'), ['4.4.4.4']);
    t.same(world([third, second], [], preferred).told('api.example'), ['3.3.3.3']);
    t.same(world([third, second]).told('api.example'), ['2.2.2.2']);
    const hidden = shared('ns0', '5.5.5.5', true, 'namespace');
    t.same(world([hidden]).told('api.example'), 'forward', 'private to another namespace: as if it were not there');
    t.same(world([hidden, third]).told('api.example'), ['3.3.3.3']);
    t.same(world([hidden]).told('api.example', types.A, makeWorkload({ namespace: 'ns0' })), ['5.5.5.5']);
  },
);

const headless = makeService({ name: 'db', namespace: 'ns1' });
const endpoint = (name: string, addresses: readonly string[], fields: Partial<Workload> = {}) =>
  makeWorkload({
    name,
    namespace: 'ns1',
    addresses,
    services: new Map([[headless.key, new Map([[80, 80]])]]),
    ...fields,
  });

t.test('a headless service has its ready pods’ addresses, and each pod a name of its own', async (t) => {
  const { told, mesh } = world(
    [headless],
    [
      endpoint('db-0', ['10.0.0.1', 'fd00::1']),
      endpoint('db-1', ['10.0.0.2']),
      endpoint('db-2', ['10.0.0.3'], { healthy: false }),
      endpoint('db-3', ['10.0.0.4'], { network: 'elsewhere' }),
    ],
  );
  t.same(told('db'), ['10.0.0.1', '10.0.0.2']);
  t.same(told('db.ns1.svc.cluster.local', types.AAAA), ['fd00::1']);
  for (const name of ['db-0.db', 'db-0.db.ns1', 'db-0.db.ns1.svc', 'db-0.db.ns1.svc.cluster.local']) {
    t.same(told(name), ['10.0.0.1'], name);
  }
  t.same(told('db-1.db.ns1.svc.cluster.local', types.AAAA), []);
  t.same(told('db-0.db.ns1.svc.cluster.local', types.A, makeWorkload({ namespace: 'ns2' })), ['10.0.0.1']);
  for (const name of ['db-2.db', 'db-3.db', 'db-9.db']) t.same(told(name), 'forward', name);
  mesh.apply(
    makeChange({ workloads: [endpoint('db-0', ['10.1.0.1'], { uid: 'other//Pod/ns1/db-0', clusterId: 'other' })] }),
  );
  t.same(told('db-0.db'), ['10.0.0.1', '10.1.0.1'], 'a pod of the same name in another cluster');
  mesh.apply(makeChange({ removedWorkloads: ['other//Pod/ns1/db-0'] }));
  mesh.apply(
    makeChange({ workloads: [endpoint('db-2', ['10.0.0.3'])], removedWorkloads: ['Kubernetes//Pod/ns1/db-0'] }),
  );
  t.same(told('db'), ['10.0.0.2', '10.0.0.3'], 'lists follow the mesh');
  t.same(told('db-2.db'), ['10.0.0.3']);
  t.same(told('db-0.db'), 'forward');
  mesh.apply(makeChange({ services: [{ ...headless, ipFamilies: 'ipv6' }] }));
  t.same(told('db'), [], 'and its families count');
});

t.test('publishNotReadyAddresses publishes pods that are not ready', async (t) => {
  const published = { ...headless, loadBalancing: { ...headless.loadBalancing, allowUnhealthy: true } };
  const { told } = world([published], [endpoint('db-2', ['10.0.0.3'], { healthy: false })]);
  t.same(told('db'), ['10.0.0.3']);
  t.same(told('db-2.db'), ['10.0.0.3']);
});

t.test(
  'without an address a name outside the cluster is forwarded; pods of a service with one have no names',
  async (t) => {
    const entry = makeService({ key: 'ns1/x.example', namespace: 'ns1', hostname: 'x.example' });
    const { told } = world([entry, { ...headless, addresses: [vip('9.9.9.9')] }], [endpoint('db-0', ['10.0.0.1'])]);
    t.same(told('x.example'), 'forward');
    t.same(told('db-0.db.ns1.svc.cluster.local'), 'forward');
    t.same(world([headless]).told('db'), [], 'a headless service without pods exists');
  },
);

t.test('a single workload’s own search domains are used as its resolver has them', async (t) => {
  const { told } = world([makeService({ name: 'a', namespace: 'ns1', addresses: [vip('1.2.3.4')] })], [], {
    searchDomains: ['corp.example'],
  });
  t.same(told('a.ns1.corp.example'), ['a.ns1', '1.2.3.4']);
  t.same(told('a.ns1.ns1.svc.cluster.local'), 'forward');
});

t.test('names are looked up as often as there are lengths of wildcards, not as there are labels', async (t) => {
  const { mesh, ask } = world([
    makeService({ key: 'ns1/*.x', namespace: 'ns1', hostname: '*.x', addresses: [vip('1.1.1.1')] }),
  ]);
  let lookUps = 0;
  const find = mesh.servicesByHostname.bind(mesh);
  mesh.servicesByHostname = (name) => {
    lookUps++;
    return find(name);
  };
  t.match(ask(Array(120).fill('a').join('.')), { kind: 'forward' });
  t.ok(lookUps <= 2, `${lookUps} look-ups`);
  mesh.apply(makeChange({ removedServices: ['ns1/*.x'] }));
  t.equal(mesh.hasWildcardHostname(2), false);
});

/** The specification once more, slowly: every service is compared with every name it may be meant by. */
function oracle(name: string, services: readonly Service[], asking: Workload): readonly string[] | 'forward' {
  const search = kubernetesSearchDomains(asking.namespace, 'cluster.local');
  const labels = name.split('.');
  const visible = services.filter((each) => each.visibility === 'public' || each.namespace === asking.namespace);
  for (const { name: meant } of candidatesOf(labels, {
    clusterDomain: 'cluster.local',
    namespace: asking.namespace,
    searchDomains: search,
  })) {
    const parts = meant.split('.');
    const patterns = [meant, ...parts.slice(0, -1).map((_, index) => `*.${parts.slice(index + 1).join('.')}`)];
    for (const pattern of patterns) {
      const found = visible
        .filter((each) => each.hostname === pattern)
        .filter((each) => each.addresses.length > 0 || each.hostname.endsWith('.svc.cluster.local'))
        .sort((a, b) => (a.key < b.key ? -1 : 1));
      const best =
        found.find((each) => each.namespace === asking.namespace) ?? found.find((each) => each.canonical) ?? found[0];
      if (best !== undefined) return best.addresses.map(({ ip }) => ip);
    }
  }
  return 'forward';
}

t.test('property: answers are the oracle’s, through changes of the mesh', async (t) => {
  const word = fc.constantFrom('a', 'b', 'ns1', 'ns2', 'svc', 'com');
  const host = fc.oneof(
    fc
      .tuple(fc.constantFrom('a', 'b'), fc.constantFrom('ns1', 'ns2'))
      .map(([name, ns]) => `${name}.${ns}.svc.cluster.local`),
    fc.array(word, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.')),
    fc.array(word, { minLength: 1, maxLength: 3 }).map((labels) => `*.${labels.join('.')}`),
  );
  const service = fc
    .record({
      hostname: host,
      namespace: fc.constantFrom('ns1', 'ns2', 'ns3'),
      vip: fc.boolean(),
      canonical: fc.boolean(),
      hidden: fc.boolean(),
      n: fc.nat(250),
    })
    .map((each) =>
      makeService({
        key: `${each.namespace}/${each.hostname}`,
        namespace: each.namespace,
        hostname: each.hostname,
        addresses: each.vip ? [vip(`10.0.0.${each.n}`)] : [],
        canonical: each.canonical,
        visibility: each.hidden ? 'namespace' : 'public',
      }),
    );
  const suffix = fc.constantFrom('', '.svc.cluster.local', '.ns1.svc.cluster.local', '.cluster.local');
  const asked = fc
    .tuple(fc.array(word, { minLength: 1, maxLength: 4 }), suffix)
    .map(([labels, end]) => labels.join('.') + end);
  fc.assert(
    fc.property(
      fc.array(service, { maxLength: 8 }),
      fc.array(service, { maxLength: 4 }),
      fc.array(asked, { minLength: 1, maxLength: 8 }),
      (before, after, names) => {
        const { mesh, told } = world(before);
        const removed = before.slice(0, 2).map((each) => each.key);
        mesh.apply(makeChange({ removedServices: removed, services: after }));
        const now = [...mesh.services()];
        for (const name of names) {
          const decided = told(name);
          const expected = oracle(name, now, client);
          const addresses = typeof decided === 'string' ? decided : decided.filter((each) => /^\d/.test(each));
          if (JSON.stringify(addresses) !== JSON.stringify(expected))
            throw new Error(`${name}: ${decided}, not ${expected}`);
        }
      },
    ),
    { numRuns: 500 },
  );
  t.pass();
});
