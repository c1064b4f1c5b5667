/** What a scrape brings up to date: byte counters of all connections, in slices, and open sockets by who accepted them. */
import t from 'tap';
import type { End, Join } from '../../../src/hbone/seam.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { ConnectionRegistry } from '../../../src/ztunnel/connection-registry.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { at, sleep } from './bookinfo.ts';
import { makeTestHop } from './test-hop.ts';

const join: Join = { counts: { toUpstream: 0, toDownstream: 0 }, heldBytes: 0, stop: () => {} };
const end: End = {
  kind: 'closed',
  by: 'local',
  status: undefined,
  error: undefined,
  established: undefined,
  counts: join.counts,
};

function add(registry: ConnectionRegistry, direction: 'inbound' | 'outbound', protocol: 'HBONE' | 'TCP') {
  const hop = makeTestHop(direction);
  registry.add({ hop, join, workload: sleep, originalDestination: at('10.244.2.5:9080'), protocol });
  return hop;
}

t.test('every outbound connection has a socket of its own, of inbound ones those in clear', async (t) => {
  const registry = new ConnectionRegistry(new MeshStore(), new FakeClock());
  const hops = [
    add(registry, 'outbound', 'HBONE'),
    add(registry, 'outbound', 'TCP'),
    add(registry, 'inbound', 'TCP'),
    add(registry, 'inbound', 'HBONE'),
  ];
  t.strictSame(registry.sockets(), { outbound: 2, inbound: 1 });
  for (const hop of hops) {
    hop.ended(end);
    hop.ended(end);
  }
  t.strictSame(registry.sockets(), { outbound: 0, inbound: 0 });
});

t.test('counters of many connections are brought up to date in steps', async (t) => {
  const registry = new ConnectionRegistry(new MeshStore(), new FakeClock());
  for (let i = 0; i < 1000; i++) add(registry, 'outbound', 'TCP');
  t.equal([...registry.flushing()].length, 3, 'a pause after each 256');
});
