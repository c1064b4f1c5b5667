/** On demand over the wire: the wildcard that is given up, names and their answers, and a new stream. */
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { eventually } from '../../support/eventually.ts';
import { denyAll, podResource, policyResource, portList, serviceResource } from '../../support/xds-resources.ts';
import { addressType, authorizationType, complete, makeServer, names, startClient } from './delta-harness.ts';

t.test('only the node’s own workloads come by themselves, the others when they are needed', async (t) => {
  const own = podResource('sleep', '10.9.0.1', { node: 'node-a' });
  const world = await makeServer(t, { ofNode: (name) => name === own.name });
  const { server } = world;
  const service = serviceResource('cart', '10.96.0.5', { 80: 8080 });
  const pod = podResource('cart-1', '10.9.0.2', { services: { [service.name]: { ports: portList({ 80: 8080 }) } } });
  server.set(addressType, own.name, { value: own.bytes, aliases: ['/10.9.0.1'] });
  server.set(addressType, service.name, { value: service.bytes, aliases: ['/10.96.0.5'] });
  server.set(addressType, pod.name, { value: pod.bytes, aliases: ['/10.9.0.2', service.name, '/10.96.0.5'] });
  server.set(authorizationType, 'shop/deny', policyResource('shop/deny', denyAll).bytes);
  const run = startClient(t, world, { onDemand: {} });
  await complete(run);
  t.same(names(run.store), { workloads: ['sleep'], services: [], policies: ['shop/deny'] });
  t.match(server.first(addressType, 1), { resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] });
  t.match(server.first(authorizationType, 1), { resourceNamesSubscribe: [], resourceNamesUnsubscribe: [] });

  t.equal(await run.onDemand?.need(['/10.96.0.5'], 5000), 'answered');
  t.same(names(run.store), { workloads: ['cart-1', 'sleep'], services: [service.name], policies: ['shop/deny'] });
  t.equal(await run.onDemand?.need(['/10.9.0.77'], 5000), 'answered', 'there is no such address');

  server.failStreams(status.UNAVAILABLE, 'transport is closing');
  await eventually('a new stream', () => server.first(authorizationType, 2) !== undefined);
  const again = server.first(addressType, 2);
  t.same(again?.resourceNamesSubscribe, ['*', '/10.96.0.5']);
  t.same(again?.resourceNamesUnsubscribe, ['*']);
  t.same(Object.keys(again?.initialResourceVersions ?? {}).sort(), [own.name, pod.name, service.name].sort());
  t.equal(names(run.store).workloads.length, 2);

  server.stop();
  await eventually('it noticed', () => run.metrics.connected.value === 0);
  const later = run.onDemand?.need([pod.name, '/10.9.0.78'], 5000);
  await server.start();
  t.equal(await later, 'answered', 'asked on the stream that comes');
});
