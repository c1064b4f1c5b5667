/** Whom a span names: workloads of the mesh, and those of other networks by what their baggage says. */
import t from 'tap';
import { hopAttributes } from '../../../src/ztunnel/hop-span.ts';
import { namesFromBaggage } from '../../../src/ztunnel/peer-names.ts';
import { makeWorkload } from '../../support/mesh-records.ts';
import { testIdentity } from '../../support/test-ca.ts';

const cart = makeWorkload({ name: 'cart-1', namespace: 'shop', workloadName: 'cart', clusterId: 'west' });
const remote = testIdentity('spiffe://cluster.local/ns/shop/sa/web');
const result = { flag: '-', toUpstream: 1, toDownstream: 2 } as const;

function sourceOf(baggage: string | undefined) {
  const names = namesFromBaggage(baggage, remote);
  const attributes = hopAttributes(
    {
      direction: 'inbound',
      source: { address: { ip: '10.9.0.2', port: 1000 }, workload: undefined, identity: remote, names },
      destination: { address: { ip: '10.9.0.7', port: 15008 }, workload: cart, identity: cart.identity },
      authority: '10.9.0.7:8080',
      service: undefined,
      traceparent: undefined,
      hop: undefined,
    },
    result,
  );
  const known = attributes.filter(([key, value]) => value !== undefined && /^mesh\.(source|destination)\./.test(key));
  return Object.fromEntries(known);
}

const destination = {
  'mesh.destination.principal': cart.identity,
  'mesh.destination.workload': 'cart',
  'mesh.destination.pod': 'cart-1',
  'mesh.destination.namespace': 'shop',
  'mesh.destination.cluster': 'west',
};

t.test('a peer of another network has the names of its baggage', async (t) => {
  const baggage = 'k8s.cluster.name=east,k8s.namespace.name=shop,k8s.deployment.name=web,service.name=storefront';
  t.strictSame(sourceOf(baggage), {
    'mesh.source.principal': remote,
    'mesh.source.workload': 'web',
    'mesh.source.namespace': 'shop',
    'mesh.source.cluster': 'east',
    ...destination,
  });
  t.match(sourceOf('service.name=storefront'), { 'mesh.source.workload': 'storefront' }, 'or of its service');
});

t.test('without baggage, or with one that is not believed, it is its identity alone', async (t) => {
  const alone = { 'mesh.source.principal': remote, 'mesh.source.namespace': 'shop', ...destination };
  for (const baggage of [undefined, 'k8s.namespace.name=bank,k8s.deployment.name=web', 'x=y']) {
    t.strictSame(sourceOf(baggage), alone, String(baggage));
  }
});
