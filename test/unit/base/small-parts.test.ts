import fc from 'fast-check';
import t from 'tap';
import { Backoff } from '../../../src/base/backoff.ts';
import { AmbitError, errorCode, errorText } from '../../../src/base/errors.ts';
import { pickWeighted } from '../../../src/base/random.ts';
import { formatSpiffeId, isSpiffeId, parseSpiffeId } from '../../../src/base/spiffe.ts';

t.test('only the exact form of a workload identity is one', async (t) => {
  t.same(parseSpiffeId('spiffe://cluster.local/ns/default/sa/sleep'), {
    trustDomain: 'cluster.local',
    namespace: 'default',
    serviceAccount: 'sleep',
  });
  for (const bad of [
    'spiffe://cluster.local/ns/default/sa/',
    'spiffe://cluster.local/ns/default/sa/a/b',
    'spiffe://cluster.local/ns/../sa/a',
    'spiffe://Cluster.local/ns/default/sa/a',
    'spiffe://cluster.local/ambit/node/node-a',
    'https://cluster.local/ns/default/sa/a',
    'spiffe://cluster.local/ns/default/sa/a ',
    'spiffe://cluster.local/ns/default/sa/a\n',
    'spiffe://cluster.local:80/ns/default/sa/a',
  ]) {
    t.notOk(isSpiffeId(bad), bad);
  }
  t.throws(() => formatSpiffeId({ trustDomain: 'a', namespace: 'b/c', serviceAccount: 'd' }), TypeError);
});

t.test('a weighted pick never takes a weight of zero and follows the shares', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(5), { maxLength: 6 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (weights, point) => {
        const index = pickWeighted(weights, { next: () => point });
        return weights.some((weight) => weight > 0) ? (weights[index] ?? 0) > 0 : index === -1;
      },
    ),
  );
  const counts = [0, 0, 0];
  for (let i = 0; i < 1000; i++) {
    const index = pickWeighted([90, 0, 10], { next: () => i / 1000 });
    counts[index] = (counts[index] ?? 0) + 1;
  }
  t.same(counts, [900, 0, 100]);
});

t.test('back-off grows to its cap and starts again after a reset', async (t) => {
  const backoff = new Backoff({ initialMs: 10, maxMs: 50, jitter: 0 }, { next: () => 0.5 });
  t.same([backoff.nextMs(), backoff.nextMs(), backoff.nextMs(), backoff.nextMs()], [10, 20, 40, 50]);
  backoff.reset();
  t.equal(backoff.nextMs(), 10);
});

t.test('an error tells its causes and its code', async (t) => {
  const error = new AmbitError('cannot listen on 15001', {
    code: 'NET_LISTEN',
    origin: 'local',
    cause: Object.assign(new Error('bind'), { code: 'EADDRINUSE' }),
  });
  t.equal(errorText(error), 'cannot listen on 15001: bind');
  t.equal(errorCode(error), 'NET_LISTEN');
  t.equal(errorCode(error.cause), 'EADDRINUSE');
  t.equal(errorCode('text'), undefined);
});
