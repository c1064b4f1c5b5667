/** Trust domains that count as one: who is let in, and whom policies mean. */
import t from 'tap';
import { isTrusted, otherIds } from '../../../src/base/trust-domains.ts';
import { decideInbound } from '../../../src/ztunnel/inbound-decision.ts';
import { makeChange, makeMatch, makePolicy } from '../../support/mesh-records.ts';
import { testIdentity } from '../../support/test-ca.ts';
import { at, bookinfo, makeBench, modernPreset, productpage } from './bookinfo.ts';

const aliases = ['old.example', 'older.example'];
const oldSleep = testIdentity('spiffe://old.example/ns/default/sa/sleep');

t.test('without aliases a workload trusts its own domain alone', async (t) => {
  t.ok(isTrusted('cluster.local', 'cluster.local', []));
  t.notOk(isTrusted('old.example', 'cluster.local', []));
  t.same(otherIds(oldSleep, 'cluster.local', []), []);
});

t.test('an alias is let in, and counts as the same workload of every other domain', async (t) => {
  t.ok(isTrusted('older.example', 'cluster.local', aliases));
  t.notOk(isTrusted('foreign.example', 'cluster.local', aliases));
  t.same(otherIds(oldSleep, 'cluster.local', aliases), [
    'spiffe://cluster.local/ns/default/sa/sleep',
    'spiffe://older.example/ns/default/sa/sleep',
  ]);
  const own = testIdentity('spiffe://cluster.local/ns/default/sa/sleep');
  t.same(otherIds(own, 'cluster.local', ['old.example']), [oldSleep]);
  t.same(otherIds(testIdentity('spiffe://foreign.example/ns/a/sa/b'), 'cluster.local', aliases), []);
  t.same(otherIds(undefined, 'cluster.local', aliases), []);
});

t.test('a policy that names a principal of one domain means that of its aliases too', async (t) => {
  const named = (trustDomain: string, action: 'allow' | 'deny') =>
    makePolicy({
      name: `${action}-sleep`,
      action,
      rules: [[[makeMatch({ principals: [{ kind: 'exact', value: `${trustDomain}/ns/default/sa/sleep` }] })]]],
    });
  const answer = (policy: ReturnType<typeof named>, peerIdentity: typeof oldSleep, trustDomainAliases: string[]) => {
    const guarded = { ...productpage, authorizationPolicies: [policy.key] };
    const change = makeChange({ ...bookinfo(false), workloads: [guarded], policies: [policy] });
    const { inbound } = makeBench(change, modernPreset, { trustDomainAliases }, 'node-b');
    const peer = at('10.244.1.4:50806');
    const event = { peerIdentity, peer, source: peer.ip, local: at('10.244.2.5:15008'), authority: '10.244.2.5:9080' };
    return decideInbound(event, inbound).kind;
  };
  const own = testIdentity('spiffe://cluster.local/ns/default/sa/sleep');
  t.equal(answer(named('cluster.local', 'allow'), oldSleep, ['old.example']), 'dial');
  t.equal(answer(named('old.example', 'allow'), own, ['old.example']), 'dial');
  t.equal(answer(named('cluster.local', 'deny'), oldSleep, ['old.example']), 'refuse');
  t.equal(answer(named('cluster.local', 'allow'), oldSleep, []), 'refuse', 'and nothing of it without aliases');
});
