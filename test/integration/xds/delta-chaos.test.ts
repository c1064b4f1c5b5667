/** An istiod that is wrong, slow or broken: nothing crashes, what was in force stays, and what is wrong is named. */
import { randomBytes } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import t from 'tap';
import { DeltaDiscoveryResponseSchema } from '../../../src/proto/gen/discovery_pb.js';
import { eventually, within } from '../../support/eventually.ts';
import { type RelayBehaviour, startTcpRelay } from '../../support/tcp-relay.ts';
import { TurnCounter } from '../../support/turn-counter.ts';
import { denyAll, podResource, policyResource } from '../../support/xds-resources.ts';
import {
  addressType,
  answered,
  authorizationType,
  complete,
  makeServer,
  names,
  type RunningClient,
  serve,
  startClient,
} from './delta-harness.ts';

const cart = podResource('cart-1', '10.9.0.2');
const deny = policyResource('shop/deny', denyAll);
const lastGood = { workloads: ['cart-1'], services: [], policies: ['shop/deny'] };

const broken = ({ metrics: { terminations } }: RunningClient) =>
  terminations.Error.value +
  terminations.Reconnect.value +
  terminations.ConnectionError.value +
  terminations.Complete.value;

type T = Parameters<typeof makeServer>[0];

async function running(t: T, behaviour?: RelayBehaviour, maxReceiveBytes = 8 << 20) {
  const world = await makeServer(t);
  serve(world.server, addressType, cart);
  serve(world.server, authorizationType, deny);
  const port = behaviour === undefined ? world.server.port : await startTcpRelay(t, world.server.port, behaviour);
  const run = startClient(t, world, { port, channel: { maxReceiveBytes } });
  return { ...world, run };
}

function response(fields: Parameters<typeof create<typeof DeltaDiscoveryResponseSchema>>[1]): Uint8Array {
  return toBinary(DeltaDiscoveryResponseSchema, create(DeltaDiscoveryResponseSchema, fields));
}

t.test('one byte at a time is slow and nothing else', async (t) => {
  const { run } = await running(t, { trickle: true });
  await eventually('a complete state', () => run.store.complete, 20_000);
  t.same(names(run.store), lastGood);
  t.equal(broken(run), 0);
});

t.test('a stream that breaks off in the middle of a response is begun anew', async (t) => {
  const behaviour: RelayBehaviour = { cutAfterBytes: 300_000 };
  const world = await makeServer(t);
  for (let i = 0; i < 5000; i++)
    serve(world.server, addressType, podResource(`pod-${i}`, `10.${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`));
  const port = await startTcpRelay(t, world.server.port, behaviour);
  const run = startClient(t, world, { port });
  await eventually('it broke twice', () => broken(run) >= 2);
  t.notOk(run.store.complete);
  t.equal(names(run.store).workloads.length, 0, 'half a message says nothing');
  delete behaviour.cutAfterBytes;
  await complete(run);
  t.equal(names(run.store).workloads.length, 5000);
});

t.test('garbage in place of TLS is no connection', async (t) => {
  const behaviour: RelayBehaviour = { garbage: randomBytes(5000) };
  const { run } = await running(t, behaviour);
  await eventually('it failed', () => run.metrics.terminations.ConnectionError.value >= 2);
  delete behaviour.garbage;
  await complete(run);
});

t.test('garbage in place of a response ends the stream, and what was in force stays', async (t) => {
  const { server, run } = await running(t);
  await complete(run);
  for (let i = 1; i <= 6; i++) {
    await eventually('a stream', () => server.streams > 0 && run.metrics.connected.value === 1);
    server.sendRaw(randomBytes(i * 37));
    await eventually('it ended', () => broken(run) >= i);
    t.same(names(run.store), lastGood);
  }
  serve(server, addressType, podResource('web-1', '10.9.0.3'));
  await eventually('it goes on', () => {
    server.push(addressType, ['Kubernetes//Pod/default/web-1']);
    return names(run.store).workloads.length === 2;
  });
});

t.test('a type nobody asked for is refused, and the stream goes on', async (t) => {
  const { server, run } = await running(t);
  await complete(run);
  const typeUrl = 'type.googleapis.com/istio.workload.Workload';
  server.sendRaw(
    response({ typeUrl, nonce: 'n', resources: [{ name: 'a', resource: { typeUrl, value: cart.bytes } }] }),
  );
  await eventually('its answer', () => server.answers(typeUrl).length === 1);
  t.match(server.answers(typeUrl), [{ kind: 'nack', nonce: 'n', reason: /istio\.workload\.Workload.*not asked for/ }]);
  t.equal(broken(run), 0);
  t.same(names(run.store), lastGood);
});

t.test('a response without a nonce ends the stream instead of asking for ever', async (t) => {
  const { server, run } = await running(t);
  await complete(run);
  server.sendRaw(response({ typeUrl: addressType, removedResources: [cart.name] }));
  await eventually('it ended', () => run.metrics.terminations.Error.value === 1);
  t.same(names(run.store), lastGood);
});

t.test('wrong resources are refused one by one, by name and field', async (t) => {
  const { server, run } = await running(t);
  await complete(run);
  const good = podResource('web-1', '10.9.0.3');
  const typeUrl = addressType;
  const resources = [
    { name: 'empty', version: '1' },
    { name: '', version: '1', resource: { typeUrl, value: good.bytes } },
    { name: 'foreign', version: '1', resource: { typeUrl: authorizationType, value: deny.bytes } },
    { name: 'garbage', version: '1', resource: { typeUrl, value: randomBytes(50) } },
    { name: good.name, version: '1', resource: { typeUrl, value: good.bytes } },
  ];
  server.sendRaw(response({ typeUrl, nonce: 'n', resources, removedResources: ['never-known', ''] }));
  await answered(server, 2);
  const answer = server.answers(addressType)[1];
  t.match(answer, { kind: 'nack', nonce: 'n' });
  for (const part of [/empty: resource\.type_url/, /name: it is empty/, /foreign: resource\.type_url/, /garbage/]) {
    t.match(answer?.reason, part);
  }
  t.same(names(run.store).workloads, ['cart-1', 'web-1']);
});

t.test('a message over the limit ends the stream, and what was in force stays', async (t) => {
  const { server, run } = await running(t, undefined, 100_000);
  await complete(run);
  server.sendRaw(new Uint8Array(200_000));
  await eventually('it ended', () => run.log.lines.some((line) => line.includes('RESOURCE_EXHAUSTED')));
  t.equal(run.metrics.terminations.Error.value, 1);
  t.same(names(run.store), lastGood);
});

t.test('two responses in a row are answered in their order, each with its nonce', async (t) => {
  const { server, run } = await running(t);
  await complete(run);
  await answered(server, 1);
  for (const nonce of ['one', 'two', 'three']) {
    server.sendRaw(response({ typeUrl: addressType, nonce, removedResources: [`x-${nonce}`] }));
  }
  await answered(server, 4);
  t.same(
    server
      .answers(addressType)
      .slice(1)
      .map(({ kind, nonce }) => [kind, nonce]),
    [
      ['ack', 'one'],
      ['ack', 'two'],
      ['ack', 'three'],
    ],
  );
  // istiod ignores the first two: they are stale by then. What it sends next still counts.
  serve(server, addressType, podResource('web-1', '10.9.0.3'));
  server.push(addressType, ['Kubernetes//Pod/default/web-1']);
  await eventually('it goes on', () => names(run.store).workloads.length === 2);
});

t.test('a fault of our own ends one stream; what was not in force is sent again', async (t) => {
  const { server, run } = await running(t);
  await complete(run);
  let faults = 1;
  run.store.onChange(() => {
    if (faults-- > 0) throw new Error('a defect');
  });
  serve(server, addressType, podResource('web-1', '10.9.0.3'));
  server.push(addressType, ['Kubernetes//Pod/default/web-1']);
  await eventually('it ended', () => run.metrics.terminations.Error.value === 1);
  t.ok(run.log.lines.some((line) => line.startsWith('error') && line.includes('a defect')));
  await eventually('a new stream', () => server.answers(addressType).length === 2);
  t.same(names(run.store).workloads, ['cart-1', 'web-1']);
});

t.test('a server that never answers holds nothing back but itself', async (t) => {
  const world = await makeServer(t);
  world.server.script = () => {};
  const run = startClient(t, world);
  await eventually('it was asked', () => world.server.requests.length === 2);
  t.notOk(run.store.complete);
  await within('the end', run.client.close());
});

t.test('a large first state is worked off in many turns of the loop', async (t) => {
  const world = await makeServer(t);
  for (let i = 0; i < 30_000; i++)
    serve(world.server, addressType, podResource(`pod-${i}`, `10.${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`));
  const counter = new TurnCounter();
  const run = startClient(t, world, { channel: { maxReceiveBytes: 64 << 20 } });
  await eventually(
    'the first records',
    () => run.store.workload('Kubernetes//Pod/default/pod-0') !== undefined,
    20_000,
  );
  counter.start();
  await eventually('a complete state', () => run.store.complete, 20_000);
  counter.stop();
  t.equal(names(run.store).workloads.length, 30_000);
  t.ok(counter.turns > 5, `${counter.turns} turns`);
});
