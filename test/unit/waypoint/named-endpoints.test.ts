/** Names that clients give: each client's share of what is remembered of them. */
import t from 'tap';
import { modernPreset } from '../../../src/config/preset.ts';
import { ClientNamedEndpoints } from '../../../src/waypoint/named-endpoints.ts';
import { defaultWaypointSettings } from '../../../src/waypoint/settings.ts';
import { makeService } from '../../support/mesh-records.ts';

const service = makeService({ name: 'wildcard' });
const services = {
  preset: modernPreset,
  settings: defaultWaypointSettings,
  identity: 'spiffe://cluster.local/ns/default/sa/waypoint' as never,
};

function world(limit: number) {
  const workloads: string[] = [];
  const hosts: string[] = [];
  const named = new ClientNamedEndpoints({
    limit,
    onWorkloadGone: (uid) => void workloads.push(uid),
    onHostGone: (host) => void hosts.push(host),
  });
  const use = (client: string, host: string, port = 443) => named.of(services, service, host, port, client);
  return { named, use, workloads, hosts };
}

t.test('a client that names very many pushes out its own, and nobody else’s', async (t) => {
  const { named, use, workloads, hosts } = world(100);
  const endpoints = ['a', 'b', 'c'].map((name) => use('quiet', `${name}.example.com`));
  for (let i = 0; i < 5000; i++) use('greedy', `g${i}.example.com`);
  t.equal(named.size, 100);
  t.equal(hosts.length, 4903);
  t.ok(hosts.every((host) => /^g/.test(host)));
  t.equal(workloads.length, 4903, 'their connections go with them');
  for (const [i, name] of ['a', 'b', 'c'].entries()) {
    t.ok(named.has(`${name}.example.com`));
    t.equal(use('quiet', `${name}.example.com`), endpoints[i], 'the same object: its connections are used again');
  }
});

t.test('a name that two clients use, or that has two ports, goes with the last of them', async (t) => {
  const { use, workloads, hosts, named } = world(4);
  use('greedy', 'x.example.com', 80);
  use('greedy', 'x.example.com', 443);
  use('quiet', 'x.example.com', 443);
  for (let i = 0; i < 50; i++) use('greedy', `g${i}.example.com`);
  t.notOk(hosts.includes('x.example.com'));
  t.ok(named.has('x.example.com'));
  t.notOk(workloads.some((uid) => uid.endsWith('/x.example.com')));
});
