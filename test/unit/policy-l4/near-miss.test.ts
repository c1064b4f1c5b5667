/** Why nothing allowed a connection: the closest rule and what it lacked. */
import fc from 'fast-check';
import t from 'tap';
import { parseCidr } from '../../../src/base/address.ts';
import type { L4Policy, PolicyMatch } from '../../../src/mesh/model.ts';
import { matchHolds, unmetFields } from '../../../src/policy/l4-match.ts';
import { nearestAllow, nearMissText } from '../../../src/policy/l4-near-miss.ts';
import { describePeer, type L4Connection } from '../../../src/policy/l4-peer.ts';
import { makeMatch, makePolicy } from '../../support/mesh-records.ts';

const sleep: L4Connection = {
  peer: 'spiffe://cluster.local/ns/default/sa/sleep',
  sourceIp: '10.244.1.4',
  destinationIp: '10.244.2.5',
  destinationPort: 9080,
};
const exact = (value: string) => ({ kind: 'exact', value }) as const;

function nearest(policies: readonly L4Policy[], connection = sleep) {
  const miss = nearestAllow(connection, { policies, missing: [] });
  return miss === undefined ? undefined : nearMissText(miss, connection);
}

t.test('the rule that lacks least is named, with the fields and what was given', async (t) => {
  const far = makeMatch({ principals: [exact('cluster.local/ns/x/sa/y')], destinationPorts: [80] });
  const near = makeMatch({ namespaces: [exact('default')], destinationPorts: [81, 82] });
  t.equal(
    nearest([makePolicy({ name: 'a', rules: [[[far]]] }), makePolicy({ name: 'b', rules: [[[far]], [[far, near]]] })]),
    'closest: default/b rule 1, not met: destinationPorts (port is 9080)',
  );
  const both = makePolicy({ name: 'c', rules: [[[far]]] });
  t.equal(
    nearest([both]),
    'closest: default/c rule 0, not met: principals, destinationPorts ' +
      '(peer is spiffe://cluster.local/ns/default/sa/sleep, port is 9080)',
  );
  t.match(nearest([both], { ...sleep, peer: undefined }), 'the peer has no identity');
});

t.test('clauses add up, and DENY and dry-run policies are no way in', async (t) => {
  const principal = makeMatch({ principals: [exact('nobody')] });
  const port = makeMatch({ destinationPorts: [1] });
  const two = makePolicy({ name: 'two', rules: [[[principal], [port]]] });
  const one = makePolicy({ name: 'one', rules: [[[port], [makeMatch({ namespaces: [exact('default')] })]]] });
  t.match(nearest([two, one]), 'closest: default/one rule 0, not met: destinationPorts');
  t.equal(nearest([makePolicy({ action: 'deny', rules: [[[port]]] })]), undefined);
  t.equal(nearest([makePolicy({ dryRun: true, rules: [[[port]]] })]), undefined);
});

t.test('policies without rules, or with empty conditions, say so', async (t) => {
  t.equal(nearest([makePolicy({ name: 'none' })]), 'closest: default/none, which has no rules');
  t.equal(
    nearest([makePolicy({ name: 'empty', rules: [[[makeMatch()]]] })]),
    'closest: default/empty rule 0, whose conditions are empty',
  );
});

t.test('looking is bounded, however many rules there are', async (t) => {
  let looked = 0;
  const counted = new Proxy(makeMatch({ destinationPorts: [1] }), {
    get(target, field) {
      if (field === 'destinationPorts') looked++;
      return Reflect.get(target, field);
    },
  });
  t.match(nearest([makePolicy({ name: 'big', rules: Array(100_000).fill([[counted]]) })]), 'default/big rule 0');
  t.ok(looked < 128 * 4, `${looked} looks`);
});

t.test('nothing is unmet exactly when the match holds', async (t) => {
  const text = fc.constantFrom(exact('default'), exact('other'), { kind: 'presence' as const });
  const blocks = fc.constantFrom('10.244.0.0/16', '10.0.0.0/24').map((cidr) => parseCidr(cidr)) as fc.Arbitrary<never>;
  const account = fc.record({ namespace: fc.constantFrom('default', 'x'), serviceAccount: fc.constant('sleep') });
  const few = <T>(of: fc.Arbitrary<T>) => fc.array(of, { maxLength: 2 });
  const match = fc.record({
    namespaces: few(text),
    notNamespaces: few(text),
    principals: few(text),
    notPrincipals: few(text),
    serviceAccounts: few(account),
    notServiceAccounts: few(account),
    sourceIps: few(blocks),
    notSourceIps: few(blocks),
    destinationIps: few(blocks),
    notDestinationIps: few(blocks),
    destinationPorts: few(fc.constantFrom(80, 9080)),
    notDestinationPorts: few(fc.constantFrom(80, 9080)),
  }) as fc.Arbitrary<PolicyMatch>;
  const peers = fc.constantFrom(sleep, { ...sleep, peer: undefined }, { ...sleep, peer: 'spiffe://t/ns/x/sa/sleep' });
  fc.assert(
    fc.property(match, peers.map(describePeer), (each, peer) => {
      return (unmetFields(each, peer).length === 0) === matchHolds(each, peer);
    }),
    { numRuns: 3000 },
  );
  t.pass();
});
