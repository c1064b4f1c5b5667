/** Names that a peer of another network gives itself: for logs, and within what its certificate proves. */
import t from 'tap';
import { BelievedNames, namesFromBaggage } from '../../../src/ztunnel/peer-names.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { testIdentity } from '../../support/test-ca.ts';

const identity = testIdentity('spiffe://cluster.local/ns/shop/sa/cart');

t.test('members become names', async (t) => {
  const baggage =
    'k8s.cluster.name=c2,k8s.namespace.name=shop,k8s.deployment.name=cart,service.name=cart,service.version=v1,cloud.region=r,cloud.availability_zone=z';
  t.same(namesFromBaggage(baggage, identity), {
    namespace: 'shop',
    workloadName: 'cart',
    canonicalName: 'cart',
    canonicalRevision: 'v1',
    clusterId: 'c2',
    region: 'r',
    zone: 'z',
  });
});

t.test('nothing is believed that the certificate contradicts, or that nothing proves', async (t) => {
  t.equal(namesFromBaggage('k8s.namespace.name=bank,k8s.pod.name=vault', identity), undefined);
  t.equal(namesFromBaggage('k8s.pod.name=vault', undefined), undefined);
  t.equal(namesFromBaggage(undefined, identity), undefined);
});

t.test('what does not look like a name is left out', async (t) => {
  t.match(namesFromBaggage(`k8s.pod.name=${'x'.repeat(300)},service.name=a\u0001b,cloud.region=;p=1,,=,x`, identity), {
    namespace: 'shop',
    workloadName: '',
    canonicalName: '',
    region: '',
  });
  t.equal(namesFromBaggage(`k8s.pod.name=${'x'.repeat(5000)}`, identity), undefined);
});

t.test('one identity cannot go by ever new names, each of which would be metric series of its own', async (t) => {
  const clock = new FakeClock();
  const believed = new BelievedNames(clock, true);
  const heard = (count: number, id = identity) =>
    Array.from({ length: count }, (_, i) => believed.of(`k8s.pod.name=flood-${i}`, id)).filter(Boolean).length;
  t.equal(heard(1000), 16);
  t.equal(heard(1000), 16, 'those that are known go on being believed');
  t.equal(heard(3, testIdentity('spiffe://cluster.local/ns/default/sa/other')), 3, 'another identity is not concerned');
  clock.advance(10 * 60_000);
  t.match(believed.of('k8s.pod.name=new', identity), { workloadName: 'new' });
  t.equal(new BelievedNames(clock, false).of('k8s.pod.name=any', identity), undefined);
});
