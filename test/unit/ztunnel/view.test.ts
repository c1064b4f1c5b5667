/** The article's figures 3-7 and ztunnel's config dump, from state. */
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import type { Preset } from '../../../src/config/preset.ts';
import type { Relay } from '../../../src/hbone/seam.ts';
import type { MeshChange, Workload } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { adminViews } from '../../../src/ztunnel/admin-views.ts';
import { createZtunnel } from '../../../src/ztunnel/services.ts';
import { defaultZtunnelSettings } from '../../../src/ztunnel/settings.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeMatch, makePolicy } from '../../support/mesh-records.ts';
import { TestCa, TestSecretStore } from '../../support/test-ca.ts';
import { bookinfo, legacyPreset, modernPreset, productpageVip, sleep } from './bookinfo.ts';

const silentRelay: Relay = {
  capture: () => Promise.reject(new Error('no listeners in this test')),
  serve: () => Promise.reject(new Error('no listeners in this test')),
  open: () => Promise.reject(new Error('no tunnels in this test')),
  forgetPeer: () => {},
  forgetIdentity: () => {},
  stats: () => ({ sessions: 0, servedSessions: 0, streams: 0, captured: 0 }),
  drained: async () => {},
  close: async () => {},
};

async function views(change: MeshChange, preset: Preset) {
  const mesh = new MeshStore();
  mesh.apply(change);
  mesh.markComplete();
  const ca = await TestCa.create();
  const secrets = new TestSecretStore([await ca.issue(sleep.identity)]);
  const settings = { ...defaultZtunnelSettings, node: 'node-a' };
  const isLocal = (workload: Workload) => workload.node === 'node-a';
  const place = {
    name: 'node-a',
    namespace: undefined,
    ip: '0.0.0.0',
    sourceAt: () => undefined,
    workloadAt: () => undefined,
  };
  const ztunnel = createZtunnel({
    preset,
    settings,
    mesh,
    relay: silentRelay,
    secrets,
    clock: new FakeClock(),
    random: { next: () => 0 },
    logger: silentLogger,
    metrics: unscrapedMetrics,
    traffic: { connection: () => ({ opened() {}, transferred() {}, closed() {} }), request() {}, messages() {} },
    accessLog: { verbose: false, write() {} },
    resolve: async () => undefined,
    placeOf: (workload) => (isLocal(workload) ? place : undefined),
  });
  const locals = () => [...mesh.workloadsOnNode('node-a')].filter((each) => each.tunnelProtocol === 'hbone');
  const all = adminViews({
    services: ztunnel.services,
    locals,
    listenIp: '0.0.0.0',
    dump: {
      mesh,
      secrets,
      registry: ztunnel.services.registry,
      budgets: ztunnel.services.budgets,
      version: 'test',
      config: { preset: preset.name },
      pods: () => [
        {
          uid: 'pod-1',
          state: 'Up',
          info: { name: 'sleep', namespace: 'default', serviceAccount: 'sleep' },
          workload: sleep,
        },
      ],
    },
  });
  return async (name: string, query = '') => {
    const view = all.find((each) => each.name === name);
    if (view === undefined) throw new Error(`no view ${name}`);
    const body = view.render(new URLSearchParams(query));
    return typeof body === 'string' ? body : await text(Readable.from(body));
  };
}

const sleepId = sleep.identity;
const chain = `${sleepId}_to_server_waypoint_proxy_spiffe://cluster.local/ns/default/sa/bookinfo-productpage`;

t.test('figures 3 and 4: listener ztunnel_outbound and its matcher, from source to chain', async (t) => {
  const view = await views(bookinfo(true), legacyPreset);
  const [outbound, inbound, plaintext] = JSON.parse(await view('listeners'));
  t.match(outbound, { name: 'ztunnel_outbound', address: '0.0.0.0:15001', transparent: true, mark: 0x401 });
  const { filterChainMatcher: root } = outbound;
  t.equal(root.input, 'destination port');
  t.strictSame(root.entries, { 15001: { filterChain: 'blackhole outbound' } });
  t.equal(root.onNoMatch.input, 'source IP');
  const ofSleep = root.onNoMatch.entries['10.244.1.4'];
  t.strictSame(ofSleep.entries[productpageVip].entries['9080'], { filterChain: chain });
  t.strictSame(ofSleep.entries['10.244.2.5'], { filterChain: chain });
  t.strictSame(ofSleep.onNoMatch, { filterChain: 'PassthroughFilterChain' });
  t.ok(outbound.filterChains.some((each: { name: string }) => each.name === chain));
  t.match(inbound, {
    name: 'ztunnel_inbound',
    mark: 0x402,
    filterChainMatcher: { entries: { '10.244.1.9': { filterChain: 'inbound_10.244.1.9' } } },
  });
  t.match(plaintext, {
    name: 'ztunnel_inbound_plaintext',
    filterChainMatcher: { onNoMatch: { filterChain: 'blackhole inbound plaintext' } },
  });
});

t.test('figures 5 to 7: chain, cluster of the same name, endpoint on 15006', async (t) => {
  const view = await views(bookinfo(true), legacyPreset);
  const text = await view('listeners.txt', 'source=sleep');
  t.match(text, `      10.96.179.71\n`);
  t.match(text, `9080 → ${chain}`);
  t.match(text, `tcp_proxy → cluster ${chain}`);
  const cluster = JSON.parse(await view('clusters')).find((each: { name: string }) => each.name === chain);
  t.match(cluster, {
    type: 'EDS',
    loadBalancing: 'ROUND_ROBIN',
    connectTimeoutMs: 2000,
    tls: { versions: 'TLSv1.3', alpn: 'h2', certificate: sleepId },
  });
  const endpoints = JSON.parse(await view('endpoints')).find((each: { cluster: string }) => each.cluster === chain);
  t.match(endpoints.endpoints, [{ address: '10.244.1.8:15006', health: 'HEALTHY', weight: 1 }]);
  t.match(await view('endpoints.txt'), '10.244.1.8:15006 HEALTHY weight 1');
  t.match(await view('clusters.txt'), `certificate ${sleepId}`);
  t.match(await view('certs.txt'), `${sleepId} Available`);
});

t.test('without a waypoint the service’s chain has the tunnel as its endpoint', async (t) => {
  const view = await views(bookinfo(false), legacyPreset);
  const name = `${sleepId}_to_http_productpage.default.svc.cluster.local_outbound_internal`;
  const endpoints = JSON.parse(await view('endpoints')).find((each: { cluster: string }) => each.cluster === name);
  t.match(endpoints.endpoints, [{ tunnel: { destination: '10.244.2.5:9080', address: '10.244.2.5:15008' } }]);
});

t.test('a view of one source is of that source, and a large one is cut short and says so', async (t) => {
  const view = await views(bookinfo(false), modernPreset);
  const [outbound] = JSON.parse(await view('listeners', 'source=default/notsleep'));
  t.strictSame(Object.keys(outbound.filterChainMatcher.onNoMatch.entries), ['10.244.1.5']);
  t.match(JSON.parse(await view('listeners', 'limit=1'))[0], { truncated: true });
});

t.test('the whole dump has ztunnel’s keys, spellings and no key', async (t) => {
  const policy = makePolicy({
    name: 'p',
    rules: [
      [
        [
          makeMatch({
            principals: [{ kind: 'exact', value: 'a/ns/b/sa/c' }],
            notPrincipals: [{ kind: 'presence' }],
            destinationPorts: [80],
          }),
        ],
      ],
    ],
  });
  const dumped = await (await views({ ...bookinfo(true), policies: [policy] }, legacyPreset))('');
  const dump = JSON.parse(dumped);
  const productpage = dump.workloads.find((each: { name: string }) => each.name === 'productpage-v1');
  t.match(productpage, {
    workloadIps: ['10.244.2.5'],
    protocol: 'HBONE',
    status: 'Healthy',
    waypoint: { destination: '/10.244.1.8', hboneMtlsPort: 15006 },
    services: ['default/productpage.default.svc.cluster.local'],
  });
  const service = dump.services.find((each: { name: string }) => each.name === 'productpage');
  t.match(service, {
    vips: [`/${productpageVip}`],
    ports: { 9080: 9080 },
    endpoints: { [productpage.uid]: { port: { 9080: 9080 } } },
  });
  t.strictSame(dump.policies[0].rules, [
    [[{ principals: [{ Exact: 'a/ns/b/sa/c' }], notPrincipals: [{ Presence: null }], destinationPorts: [80] }]],
  ]);
  t.match(dump.certificates[0], { identity: sleepId, state: 'Available', certChain: [{ serialNumber: /./ }] });
  t.match(dump.workloadState['pod-1'], { state: 'Up', connections: { inbound: [], outbound: [] } });
  t.notMatch(dumped, /PRIVATE KEY/);
  t.notMatch(Buffer.from(dump.certificates[0].certChain[0].pem, 'base64').toString(), /PRIVATE KEY/);
});
