/** Topologies: what cannot be built is refused with all its reasons, and what is built is wired as kind does it. */
import t from 'tap';
import { bookinfoTopology, oneNodeTopology } from '../../../src/lab/bookinfo.ts';
import { hostsText } from '../../../src/lab/hosts.ts';
import { serviceRules } from '../../../src/lab/services.ts';
import { assertTopology, podIps, topologyProblems } from '../../../src/lab/topology.ts';
import { hostInterface, nodeLinkLines, nodeRouteLines, podHostLines, podLines } from '../../../src/lab/wiring.ts';

const bookinfo = bookinfoTopology();

t.test('the presets can be built', async (t) => {
  t.same(topologyProblems(bookinfo), []);
  t.same(topologyProblems(oneNodeTopology()), []);
});

t.test('the article’s addresses are the article’s', async (t) => {
  const ipOf = new Map(bookinfo.pods.map((pod) => [pod.name, pod.ip]));
  t.equal(ipOf.get('sleep'), '10.244.1.4');
  t.equal(ipOf.get('waypoint'), '10.244.1.8');
  t.equal(ipOf.get('productpage'), '10.244.2.5');
  t.match(bookinfo.services[0], { name: 'productpage', vip: '10.96.179.71', ports: [{ port: 9080 }] });
  t.notOk(bookinfo.pods.find((pod) => pod.name === 'waypoint')?.captured, 'a captured waypoint would loop');
});

t.test('every problem is named at once', async (t) => {
  const [sleep] = bookinfo.pods;
  if (sleep === undefined) throw new Error('no pods');
  const broken = {
    ...bookinfo,
    pods: [...bookinfo.pods, { ...sleep, node: 'node-c' }, { ...sleep, name: 'Big', ip: '10.9.9.9' }],
    services: [...bookinfo.services, { ...bookinfo.services[0], vip: 'fd00::1', endpoints: ['ghost'] }],
  } as typeof bookinfo;
  t.same(topologyProblems(broken), [
    'Big: not a DNS label',
    'fd00::1: the nodes have no IPv6',
    'sleep: used twice',
    '10.244.1.4: used twice',
    'productpage.default: used twice',
    'pod sleep: no node node-c',
    'pod Big: 10.9.9.9 is outside 10.244.1.0/24 of node-a',
    'service productpage: no pod ghost',
  ]);
  t.throws(() => assertTopology(broken), { code: 'LAB_TOPOLOGY' });
});

t.test('interface names are readable, unique and fit the kernel', async (t) => {
  t.equal(hostInterface('productpage'), 'v-productpage');
  const long = ['ztunnel-node-a', 'ztunnel-node-b'].map((name) => hostInterface(name));
  t.equal(new Set(long).size, 2);
  for (const name of long) t.ok(name.length <= 15 && name.startsWith('v-ztunnel'));
});

t.test('a pod is a /32 behind its node', async (t) => {
  const [node] = bookinfo.nodes;
  if (node === undefined) throw new Error('no nodes');
  t.same(podHostLines(node, 'sleep', ['10.244.1.4'], '/net/sleep'), [
    'link add v-sleep type veth peer name eth0 netns /net/sleep',
    'addr add 10.244.1.1/32 dev v-sleep',
    'link set v-sleep up',
    'route add 10.244.1.4/32 dev v-sleep scope host',
  ]);
  t.same(podLines(node, ['10.244.1.4']).slice(2), [
    'route add 10.244.1.1 dev eth0 scope link src 10.244.1.4',
    'route add default via 10.244.1.1 dev eth0',
  ]);
});

t.test('two nodes meet on eth0; a third gets links of its own', async (t) => {
  const third = {
    name: 'node-c',
    ip: '172.18.0.4',
    podCidr: '10.244.3.0/24',
    gateway: '10.244.3.1',
    ztunnelIp: '10.244.3.2',
  };
  const nodes = [...bookinfo.nodes, third];
  t.same(nodeLinkLines(0, 1, '/net/b'), ['link add eth0 type veth peer name eth0 netns /net/b']);
  t.same(nodeLinkLines(1, 2, '/net/c'), ['link add eth1 type veth peer name eth1 netns /net/c']);
  t.equal(nodeRouteLines(nodes, 2, 0).at(-1), 'route add 10.244.1.0/24 via 172.18.0.2 dev eth0 onlink');
  t.throws(() => nodeRouteLines(nodes, 0, 3), RangeError);
});

t.test('endpoints of a service get equal chances', async (t) => {
  const reviews = bookinfo.services.filter((service) => service.name === 'reviews');
  const lines = serviceRules(reviews, bookinfo.pods).split('\n');
  t.same(
    lines.filter((line) => line.includes('DNAT')).map((line) => /--probability ([\d.]+)/.exec(line)?.[1]),
    ['0.3333333333', '0.5000000000', undefined],
  );
  t.ok(lines.includes('-A LAB-HAIRPIN -s 10.244.2.11/32 -d 10.244.2.11/32 -j MASQUERADE'));
});

t.test('a service without endpoints has no rule', async (t) => {
  const [service] = bookinfo.services;
  if (service === undefined) throw new Error('no services');
  t.notMatch(serviceRules([{ ...service, endpoints: ['gone'] }], bookinfo.pods), 'DNAT');
});

t.test('services have all their names; the bare one in the default namespace only', async (t) => {
  const [service] = bookinfo.services;
  if (service === undefined) throw new Error('no services');
  const text = hostsText([service, { ...service, namespace: 'shop', vip: '10.96.0.9' }]);
  t.match(
    text,
    '10.96.179.71 productpage productpage.default productpage.default.svc productpage.default.svc.cluster.local',
  );
  t.match(text, '10.96.0.9 productpage.shop productpage.shop.svc productpage.shop.svc.cluster.local');
});

t.test('IPv6 is wired as IPv4 is, and only where there is some', async (t) => {
  const [a, b] = bookinfo.nodes.map((node, i) => ({
    ...node,
    ipv6: { ip: `fd00:172:18::${i + 2}`, podCidr: `fd00:10:244:${i + 1}::/64`, gateway: `fd00:10:244:${i + 1}::1` },
  }));
  const [sleep, ...others] = bookinfo.pods;
  const [service] = bookinfo.services;
  if (a === undefined || b === undefined || sleep === undefined || service === undefined) throw new Error('no nodes');
  const dual = { ...sleep, secondIp: 'fd00:10:244:1::4' };
  const alone = { ...sleep, name: 'alone', ip: 'fd00:10:244:2::9', node: 'node-b' };
  const both = { ...service, secondVip: 'fd00:10:96::1', endpoints: ['sleep', 'alone'] };
  t.same(topologyProblems({ nodes: [a, b], pods: [dual, alone, ...others], services: [both] }), []);
  t.same(
    topologyProblems({
      nodes: [a, ...bookinfo.nodes.slice(1)],
      pods: [
        { ...dual, secondIp: 'fd00:9::1' },
        { ...alone, secondIp: 'fd00:10:244:2::A' },
      ],
      services: [],
    }),
    [
      'some nodes are without IPv6',
      'fd00:10:244:2::A: not an IP address',
      'pod sleep: fd00:9::1 is outside fd00:10:244:1::/64 of node-a',
      'pod alone: two addresses of one family',
    ],
  );
  t.same(podHostLines(a, 'sleep', podIps(dual), '/net/sleep').slice(1), [
    'addr add 10.244.1.1/32 dev v-sleep',
    'addr add fd00:10:244:1::1/128 dev v-sleep nodad',
    'link set v-sleep up',
    'route add 10.244.1.4/32 dev v-sleep scope host',
    'route add fd00:10:244:1::4/128 dev v-sleep',
  ]);
  t.same(podLines(b, podIps(alone)), [
    'addr add fd00:10:244:2::9/128 dev eth0 nodad',
    'link set eth0 up',
    'route add fd00:10:244:2::1/128 dev eth0 src fd00:10:244:2::9',
    'route add default via fd00:10:244:2::1 dev eth0',
  ]);
  t.same(nodeRouteLines([a, b], 0, 1).slice(4), [
    'addr add fd00:172:18::2/128 dev eth0 nodad',
    'route add fd00:172:18::3/128 dev eth0 src fd00:172:18::2',
    'route add fd00:10:244:2::/64 via fd00:172:18::3 dev eth0',
  ]);
  t.equal(nodeRouteLines(bookinfo.nodes, 0, 1).length, 4);
  const lines = (family: 4 | 6) =>
    serviceRules([both], [dual, alone], family)
      .split('\n')
      .filter((line) => line.includes('DNAT'));
  t.same(lines(4), [
    '-A LAB-SERVICES -d 10.96.179.71/32 -p tcp -m tcp --dport 9080 -j DNAT --to-destination 10.244.1.4:9080',
  ]);
  t.match(
    lines(6).at(-1),
    '-d fd00:10:96::1/128 -p tcp -m tcp --dport 9080 -j DNAT --to-destination [fd00:10:244:2::9]:9080',
  );
  t.match(hostsText([both]), 'fd00:10:96::1 productpage productpage.default');
});
