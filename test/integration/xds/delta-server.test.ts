/** Our own control plane's discovery, asked by our own client and by raw requests. */
import { create, toBinary } from '@bufbuild/protobuf';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import type { MeshChange } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { AggregatedDiscoveryService, DeltaDiscoveryRequestSchema } from '../../../src/proto/gen/discovery_pb.js';
import { createChannel } from '../../../src/rpc/channel.ts';
import { startRpcServer } from '../../../src/rpc/server.ts';
import { splitDeltaResponse } from '../../../src/xds/delta-response.ts';
import { deltaRoute } from '../../../src/xds/delta-server.ts';
import { addressType, authorizationType } from '../../../src/xds/resource-types.ts';
import { ServedMesh } from '../../../src/xds/served-mesh.ts';
import { eventually, within } from '../../support/eventually.ts';
import { makeChange, makePolicy, makeService, makeWorkload } from '../../support/mesh-records.ts';
import { Log, runClient } from './delta-harness.ts';

const cart = makeWorkload({ name: 'cart', addresses: ['10.9.0.2'], authorizationPolicies: ['default/p'] });
const service = makeService({ name: 'cart', addresses: [{ network: '', ip: '10.96.0.5' }] });
const policy = makePolicy({ name: 'p', action: 'deny', rules: [[]] });

async function serve(t: Test, change: MeshChange, maxStreams = 10) {
  const store = new MeshStore();
  store.apply(change);
  const mesh = new ServedMesh(store);
  const log = new Log();
  const server = await startRpcServer(
    {
      listen: { ip: '127.0.0.1', port: 0 },
      tls: undefined,
      clock: systemClock,
      logger: silentLogger,
      maxRequestBytes: 1 << 20,
      maxCallsPerConnection: 10,
    },
    [deltaRoute({ mesh, clock: systemClock, logger: log, admits: () => undefined, maxStreams })],
  );
  t.teardown(async () => {
    mesh.close();
    await server.close(1000);
  });
  const channel = () => {
    const made = createChannel({
      address: { host: '127.0.0.1', port: server.address.port, tls: false },
      roots: { kind: 'system' },
      maxReceiveBytes: 8 << 20,
    });
    t.teardown(() => made.close());
    return made;
  };
  return { store, mesh, log, server, channel };
}

async function rawStream(t: Test, channel: ReturnType<typeof createChannel>) {
  const opened = await channel.openStream(AggregatedDiscoveryService.method.deltaAggregatedResources);
  if (opened.kind === 'error') throw new Error(opened.message);
  const { stream } = opened;
  t.teardown(() => stream.cancel());
  return {
    stream,
    ask: (fields: Parameters<typeof create<typeof DeltaDiscoveryRequestSchema>>[1]) =>
      stream.send(toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, fields))),
    async response() {
      const event = await within('a response', stream.next());
      if (event.kind !== 'message') return event;
      const response = splitDeltaResponse(event.bytes);
      if (response.kind === 'malformed') throw new Error(response.reason);
      const resources = [...response.resources()].map((each) => (each.kind === 'resource' ? each : undefined));
      return { kind: 'response' as const, nonce: response.nonce, resources, removed: [...response.removed()] };
    },
  };
}

t.test('a client holds what the control plane has, and follows its changes', async (t) => {
  const { store, channel } = await serve(t, makeChange({ workloads: [cart], services: [service], policies: [policy] }));
  const run = runClient(t, channel());
  await eventually('a complete state', () => run.store.complete);
  t.strictSame([...run.store.workloads()], [cart]);
  t.strictSame([...run.store.policies()], [policy]);
  t.equal(run.store.serviceByAddress('', '10.96.0.5', 'default')?.key, service.key);
  const moved = { ...cart, addresses: ['10.9.0.3'] };
  store.apply(makeChange({ workloads: [moved], removedServices: [service.key], removedPolicies: [policy.key] }));
  await eventually('the change', () => run.store.workloadByAddress('', '10.9.0.3') !== undefined);
  await eventually('the removals', () => [...run.store.services(), ...run.store.policies()].length === 0);
});

t.test('who has everything is told nothing, and what it has beyond is gone', async (t) => {
  const { store, channel } = await serve(t, makeChange({ workloads: [cart], policies: [policy] }));
  const first = await rawStream(t, channel());
  await first.ask({ typeUrl: addressType });
  const all = await first.response();
  if (all.kind !== 'response') throw new Error(all.kind);
  t.match(all, { nonce: /Z\/1[0-9a-f]{8}-/, resources: [{ name: cart.uid, version: /^[0-9a-f]{16}$/ }], removed: [] });
  const version = all.resources[0]?.version ?? '';
  const again = await rawStream(t, channel());
  await again.ask({ typeUrl: addressType, initialResourceVersions: { [cart.uid]: version, 'no/more': 'x' } });
  t.match(await again.response(), { resources: [], removed: ['no/more'] });
  await again.ask({ typeUrl: addressType, responseNonce: 'stale' });
  store.apply(makeChange({ workloads: [{ ...cart, node: 'elsewhere' }] }));
  t.match(await again.response(), { resources: [{ name: cart.uid }], removed: [] });
});

t.test('while a client does not read, what changes is kept by name alone', async (t) => {
  const { store, channel } = await serve(t, makeChange({ workloads: [cart] }));
  const slow = await rawStream(t, channel());
  await slow.ask({ typeUrl: addressType });
  t.equal((await slow.response()).kind, 'response');
  const big = 'x'.repeat(60_000);
  for (let i = 0; i < 200; i++) {
    store.apply(makeChange({ workloads: [{ ...cart, canonicalName: `${i}${big}` }] }));
    await new Promise((resolve) => setImmediate(resolve));
  }
  let responses = 0;
  for (let last = ''; !last.startsWith('199'); responses++) {
    const response = await slow.response();
    if (response.kind !== 'response') throw new Error(response.kind);
    last =
      Buffer.from(response.resources[0]?.value ?? [])
        .toString('latin1')
        .match(/(\d+)x{100}/)?.[1] ?? '';
  }
  t.ok(responses < 200, `${responses} responses for 200 changes`);
});

t.test('what is not served is refused, and a refusal is logged', async (t) => {
  const { channel, log } = await serve(t, makeChange({}), 3);
  const strange = await rawStream(t, channel());
  await strange.ask({ typeUrl: 'type.googleapis.com/envoy.config.cluster.v3.Cluster' });
  t.match(await strange.response(), { kind: 'error', code: 'INVALID_ARGUMENT' });
  const names = await rawStream(t, channel());
  await names.ask({ typeUrl: addressType, resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] });
  t.match(await names.response(), { kind: 'error', code: 'UNIMPLEMENTED', message: /XDS_ON_DEMAND/ });
  const garbage = await rawStream(t, channel());
  await garbage.stream.send(Uint8Array.of(0xff, 0xff));
  t.match(await garbage.response(), { kind: 'error', code: 'INVALID_ARGUMENT' });
  const refusing = await rawStream(t, channel());
  await refusing.ask({ typeUrl: authorizationType });
  t.equal((await refusing.response()).kind, 'response');
  await refusing.ask({
    typeUrl: authorizationType,
    responseNonce: 'n',
    errorDetail: { code: 3, message: 'a/b: rules' },
  });
  await eventually('the line', () => log.lines.some((line) => line.includes('a/b: rules')));
  const open = [await rawStream(t, channel()), await rawStream(t, channel())];
  for (const each of open) await each.ask({ typeUrl: addressType });
  for (const each of open) t.equal((await each.response()).kind, 'response');
  const tooMany = await rawStream(t, channel());
  await tooMany.ask({ typeUrl: addressType });
  t.match(await tooMany.response(), { kind: 'error', code: 'RESOURCE_EXHAUSTED' });
});

t.test('a server that closes ends its streams', async (t) => {
  const { mesh, channel } = await serve(t, makeChange({ workloads: [cart] }));
  const stream = await rawStream(t, channel());
  await stream.ask({ typeUrl: addressType });
  t.equal((await stream.response()).kind, 'response');
  mesh.close();
  t.match(await stream.response(), { kind: 'error', code: 'UNAVAILABLE', message: /shutting down/ });
});
