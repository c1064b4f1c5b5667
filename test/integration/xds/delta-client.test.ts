/** The delta client against a scripted istiod: first state, changes, reconnects, what is refused and what stays. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { TestCa } from '../../support/test-ca.ts';
import { denyAll, podResource, policyResource, serviceResource } from '../../support/xds-resources.ts';
import {
  addressType,
  answered,
  authorizationType,
  complete,
  makeServer,
  names,
  serve,
  startClient,
} from './delta-harness.ts';

const cart = podResource('cart-1', '10.9.0.2');
const web = podResource('web-1', '10.9.0.3');
const service = serviceResource('cart', '10.96.0.5', { 80: 8080 });
const deny = policyResource('shop/deny', denyAll);

t.test('the first state of both types is complete, and each response acknowledged by its nonce', async (t) => {
  const world = await makeServer(t);
  const { server } = world;
  serve(server, addressType, cart, service);
  serve(server, authorizationType, deny);
  const run = startClient(t, world, {
    channel: { token: { kind: 'text', text: 'the-token' }, metadata: { clusterid: 'east', 'x-tenant': 'a' } },
  });
  await complete(run);
  t.same(names(run.store), { workloads: ['cart-1'], services: [service.name], policies: ['shop/deny'] });
  t.equal(run.store.workloadByAddress('', '10.9.0.2')?.name, 'cart-1');
  const first = server.first(addressType, 1);
  t.match(first, {
    node: { id: 'ztunnel~10.0.0.9~ztunnel-x.istio-system~istio-system.svc.cluster.local', cluster: '' },
    resourceNamesSubscribe: [],
    resourceNamesUnsubscribe: [],
    initialResourceVersions: {},
  });
  t.match(first?.node?.metadata, {
    NAME: 'ztunnel-x',
    NAMESPACE: 'istio-system',
    INSTANCE_IPS: '10.0.0.9',
    NODE_NAME: 'node-a',
  });
  t.same(
    server.requests.slice(0, 2).map(({ request }) => request.typeUrl),
    [addressType, authorizationType],
  );
  await answered(server, 1, authorizationType);
  t.match(server.answers(addressType), [{ kind: 'ack', nonce: /^\d{4}-.*Z\/\d+[0-9a-f]{8}-/ }]);
  const [metadata] = server.metadata;
  t.same(metadata?.get('authorization'), ['Bearer the-token']);
  t.same(metadata?.get('clusterid'), ['east']);
  t.same(metadata?.get('x-tenant'), ['a']);
  t.equal(run.metrics.type(addressType).messages.value, 1);
  t.ok(run.metrics.type(addressType).bytes.value > 100);
  t.equal(run.metrics.connected.value, 1);
});

t.test('one type alone is not a complete state', async (t) => {
  const world = await makeServer(t);
  world.server.script = () => {};
  const run = startClient(t, world);
  await eventually('both are asked', () => world.server.requests.length === 2);
  world.server.script = undefined;
  serve(world.server, addressType, cart);
  t.notOk(run.store.complete);
});

t.test('changes and removals take effect, what is unchanged is nothing new', async (t) => {
  const world = await makeServer(t);
  const { server } = world;
  serve(server, addressType, cart, web, service);
  const run = startClient(t, world);
  await complete(run);
  const before = run.store.workload(cart.name);
  let changes = 0;
  run.store.onChange(() => changes++);
  server.push(addressType, [cart.name, web.name, service.name]);
  await answered(server, 2);
  t.equal(changes, 0);
  t.equal(run.store.workload(cart.name), before);
  serve(server, addressType, podResource('cart-1', '10.9.0.9'));
  server.delete(addressType, web.name);
  server.delete(addressType, service.name);
  server.push(addressType, [cart.name, web.name, service.name]);
  await answered(server, 3);
  t.same(names(run.store), { workloads: ['cart-1'], services: [], policies: [] });
  t.equal(run.store.workloadByAddress('', '10.9.0.9')?.name, 'cart-1');
  t.equal(run.store.workloadByAddress('', '10.9.0.2'), undefined);
});

t.test('a response is refused by resource and field, and its other resources count', async (t) => {
  const world = await makeServer(t);
  const { server } = world;
  serve(server, addressType, cart);
  serve(server, authorizationType, deny);
  const run = startClient(t, world);
  await complete(run);
  const broken = podResource('broken', '10.9.0.4', { addresses: [new Uint8Array(3)] });
  serve(server, addressType, broken, web, podResource('cart-1', '10.9.0.2', { tunnelProtocol: 2 }));
  server.set(addressType, 'Kubernetes//Pod/default/other', web.bytes);
  server.push(addressType, [broken.name, web.name, cart.name, 'Kubernetes//Pod/default/other']);
  await answered(server, 2);
  const answer = server.answers(addressType)[1];
  t.equal(answer?.kind, 'nack');
  for (const part of [
    /Pod\/default\/broken.*addresses/,
    /Pod\/default\/cart-1.*tunnel_protocol/,
    /Pod\/default\/other.*uid/,
  ]) {
    t.match(answer?.reason, part);
  }
  t.same(names(run.store).workloads, ['cart-1', 'web-1']);
  t.equal(run.store.workload(cart.name)?.tunnelProtocol, 'hbone', 'its last good state stays');
  t.equal(run.metrics.type(addressType).refused.value, 1);
  server.delete(addressType, broken.name);
  server.push(addressType, [web.name]);
  await answered(server, 3);
  t.equal(server.answers(addressType)[2]?.kind, 'ack');
});

t.test('a policy that cannot be read denies until it can, unless told to skip', async (t) => {
  const world = await makeServer(t);
  const { server } = world;
  serve(server, addressType, cart);
  const readable = policyResource('shop/p', denyAll).bytes;
  server.set(authorizationType, 'shop/p', Buffer.concat([readable, Buffer.from([0xff, 0xff])]));
  const run = startClient(t, world);
  const skipping = startClient(t, world, { unreadablePolicy: 'skip' });
  await eventually('both have answered', () => server.answers(authorizationType).length === 2);
  t.match(server.answers(authorizationType)[0], { kind: 'nack', reason: /shop\/p/ });
  t.match(run.store.policy('shop/p'), { action: 'deny', scope: 'namespace', rules: [[]] });
  t.equal(skipping.store.policy('shop/p'), undefined);
  t.notOk(run.store.complete, 'a first state that was refused in part is not complete');
  serve(server, authorizationType, policyResource('shop/p'));
  server.push(authorizationType, ['shop/p']);
  await complete(run);
  t.match(run.store.policy('shop/p'), { action: 'allow', rules: [] });
});

t.test('a reconnect brings along what is held, and what vanished meanwhile goes', async (t) => {
  const world = await makeServer(t);
  const { server } = world;
  serve(server, addressType, cart, web, service);
  serve(server, authorizationType, deny, policyResource('shop/other'));
  const run = startClient(t, world);
  await complete(run);
  server.stop();
  await eventually('it noticed', () => run.metrics.connected.value === 0);
  t.same(names(run.store).workloads, ['cart-1', 'web-1'], 'what was in force stays so');
  server.delete(addressType, web.name);
  server.delete(authorizationType, 'shop/other');
  await server.start();
  await eventually(
    'the new state',
    () => names(run.store).workloads.length === 1 && names(run.store).policies.length === 1,
  );
  const again = server.first(addressType, 2);
  t.same(Object.keys(again?.initialResourceVersions ?? {}).sort(), [cart.name, web.name, service.name].sort());
  t.match(again?.initialResourceVersions[cart.name], /^[0-9a-f]{1,16}$/);
  t.same(server.first(authorizationType, 2)?.initialResourceVersions, { 'shop/deny': '', 'shop/other': '' });
  t.ok(run.metrics.terminations.Reconnect.value + run.metrics.terminations.ConnectionError.value >= 1);
});

t.test('policies that a new stream neither sends nor removes are in force 5 s more, then gone', async (t) => {
  const world = await makeServer(t);
  const { server } = world;
  serve(server, authorizationType, deny, policyResource('shop/other'));
  const clock = new FakeClock();
  const run = startClient(t, world, { clock });
  await complete(run);
  await answered(server, 1, authorizationType);
  server.endStreams();
  await eventually('it waits to ask again', () => clock.pending > 0);
  // Forgets what it had been asked with, as a server does that does not look at initial versions.
  server.delete(authorizationType, 'shop/other');
  server.script = (stream, request) => {
    request.initialResourceVersions = {};
    server.answer(stream, request);
  };
  clock.advance(60_000);
  await eventually('the policies were sent again', () => server.answers(authorizationType).length === 2);
  t.same(names(run.store).policies, ['shop/deny', 'shop/other']);
  await eventually('it has been answered', () => clock.pending > 0);
  clock.advance(4999);
  t.same(names(run.store).policies, ['shop/deny', 'shop/other']);
  clock.advance(1);
  t.same(names(run.store).policies, ['shop/deny']);
});

t.test('an istiod that is away at the start, or not ready, is asked until it answers', async (t) => {
  const world = await makeServer(t, {}, false);
  const { server } = world;
  await server.start();
  server.stop();
  serve(server, addressType, cart);
  const run = startClient(t, world);
  await eventually('it tries', () => run.metrics.terminations.ConnectionError.value >= 2);
  t.notOk(run.store.complete);
  server.refuse = { code: status.UNKNOWN, details: 'server is not ready to serve discovery information' };
  await server.start();
  await eventually('it was told', () => run.log.lines.some((line) => line.includes('server is not ready')));
  server.refuse = undefined;
  await complete(run);
});

t.test('roots and tokens are those of the moment of each stream', async (t) => {
  const world = await makeServer(t);
  const { server, ca } = world;
  const folder = mkdtempSync(join(tmpdir(), 'ambit-xds-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const root = join(folder, 'root.pem');
  const token = join(folder, 'token');
  writeFileSync(root, (await TestCa.create('other')).rootPem);
  writeFileSync(token, 'one\n');
  const run = startClient(t, world, {
    channel: { roots: { kind: 'file', path: root }, token: { kind: 'file', path: token } },
  });
  await eventually('the wrong root is told', () => run.log.lines.some((line) => line.includes('UNAVAILABLE')));
  t.equal(server.metadata.length, 0);
  writeFileSync(root, ca.rootPem);
  await complete(run);
  writeFileSync(token, 'two\n');
  server.failStreams(status.UNAVAILABLE, 'transport is closing');
  await eventually('it came again', () => server.metadata.length === 2);
  t.same(
    server.metadata.map((each) => each.get('authorization')[0]),
    ['Bearer one', 'Bearer two'],
  );
});

t.test('closing ends the stream and everything that waits', async (t) => {
  const world = await makeServer(t);
  const run = startClient(t, world);
  await complete(run);
  await within('the end', run.client.close());
  await eventually('the server saw it', () => world.server.streams === 0);
  const nobody = startClient(t, world, { port: 1 });
  await eventually('it tries', () => nobody.metrics.terminations.ConnectionError.value >= 3);
  await within('the end', nobody.client.close());
});
