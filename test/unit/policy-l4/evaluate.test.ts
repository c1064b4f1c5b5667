import t from 'tap';
import { parseCidr } from '../../../src/base/address.ts';
import type { L4Policy, PolicyMatch } from '../../../src/mesh/model.ts';
import { evaluateL4, failClosed, type L4Options, l4DenialText } from '../../../src/policy/l4.ts';
import type { L4Connection } from '../../../src/policy/l4-peer.ts';
import { makeMatch, makePolicy } from '../../support/mesh-records.ts';

const sleep: L4Connection = {
  peer: 'spiffe://cluster.local/ns/default/sa/sleep',
  sourceIp: '10.244.1.4',
  destinationIp: '10.244.2.5',
  destinationPort: 9080,
};
const plaintext: L4Connection = { ...sleep, peer: undefined };

const exact = (value: string) => ({ kind: 'exact', value }) as const;
const sleepOnly = makeMatch({ principals: [exact('cluster.local/ns/default/sa/sleep')] });
const strict = makePolicy({
  name: 'strict',
  action: 'deny',
  rules: [[[makeMatch({ notPrincipals: [{ kind: 'presence' }] })]]],
});

function evaluate(connection: L4Connection, policies: readonly L4Policy[], options: L4Options = failClosed) {
  return evaluateL4(connection, { policies, missing: [] }, options);
}

function allow(...matches: readonly PolicyMatch[]): L4Policy {
  return makePolicy({ name: 'allow', rules: [[matches]] });
}

t.test('without policies everything is allowed, and the reason says so', async (t) => {
  t.match(evaluate(plaintext, []), { kind: 'allow', reason: 'no-allow-policies', policy: undefined });
});

t.test('an ALLOW policy allows whom it matches and nobody else', async (t) => {
  t.match(evaluate(sleep, [allow(sleepOnly)]), { kind: 'allow', policy: 'default/allow', rule: 0 });
  const other = { ...sleep, peer: 'spiffe://cluster.local/ns/default/sa/notsleep' };
  const verdict = evaluate(other, [allow(sleepOnly)]);
  t.match(verdict, { kind: 'deny', reason: 'not-allowed' });
  t.equal(verdict.kind === 'deny' && l4DenialText(verdict), 'allow policies exist, but none allowed');
});

t.test('an ALLOW policy with no rules allows nobody, one with an empty rule everybody', async (t) => {
  t.match(evaluate(sleep, [makePolicy()]), { kind: 'deny', reason: 'not-allowed' });
  t.match(evaluate(plaintext, [makePolicy({ rules: [[]] })]), { kind: 'allow', rule: 0 });
});

t.test('DENY goes before ALLOW and names itself', async (t) => {
  const deny = makePolicy({
    name: 'deny',
    action: 'deny',
    rules: [[[makeMatch({ namespaces: [exact('x')] })]], [[sleepOnly]]],
  });
  const verdict = evaluate(sleep, [allow(sleepOnly), deny]);
  t.match(verdict, { kind: 'deny', reason: 'denied-by-policy', policy: 'default/deny', rule: 1, emptyMatch: false });
  t.equal(verdict.kind === 'deny' && l4DenialText(verdict), 'explicitly denied by: default/deny rule 1');
});

t.test('a strict policy turns plaintext away and lets identities in', async (t) => {
  t.equal(evaluate(plaintext, [strict]).kind, 'deny');
  t.equal(evaluate(sleep, [strict]).kind, 'allow');
});

t.test('without an identity nothing positive matches, not even presence', async (t) => {
  t.equal(evaluate(plaintext, [allow(makeMatch({ principals: [{ kind: 'presence' }] }))]).kind, 'deny');
  t.equal(evaluate(plaintext, [allow(makeMatch({ namespaces: [{ kind: 'prefix', value: '' }] }))]).kind, 'deny');
  const account = { namespace: 'default', serviceAccount: 'sleep' };
  t.equal(evaluate(plaintext, [allow(makeMatch({ serviceAccounts: [account] }))]).kind, 'deny');
  t.equal(evaluate(sleep, [allow(makeMatch({ serviceAccounts: [account] }))]).kind, 'allow');
  t.equal(evaluate(plaintext, [allow(makeMatch({ notServiceAccounts: [account] }))]).kind, 'allow');
});

t.test('a DENY that lost its conditions on the way still denies, unless told otherwise', async (t) => {
  const lost = makePolicy({ name: 'lost', action: 'deny', rules: [[[sleepOnly], [makeMatch()]]] });
  t.match(evaluate(sleep, [lost]), { kind: 'deny', policy: 'default/lost', emptyMatch: true });
  t.equal(evaluate(sleep, [lost], { ...failClosed, emptyDenyMatch: 'ignore' }).kind, 'allow');
  t.equal(evaluate(plaintext, [lost]).kind, 'allow', 'its other clauses still count');
});

t.test('an empty match in an ALLOW allows nobody', async (t) => {
  t.equal(evaluate(sleep, [allow(makeMatch())]).kind, 'deny');
  t.equal(evaluate(sleep, [allow(makeMatch(), sleepOnly)]).kind, 'allow');
});

t.test('a policy that is named but unknown denies, unless it may still be under way', async (t) => {
  const inForce = { policies: [], missing: ['default/late'] };
  const verdict = evaluateL4(sleep, inForce, failClosed);
  t.match(verdict, { kind: 'deny', reason: 'unknown-policy', policy: 'default/late' });
  t.match(verdict.kind === 'deny' && l4DenialText(verdict), 'unknown: default/late');
  t.equal(evaluateL4(sleep, inForce, { ...failClosed, unknownPolicy: 'skip' }).kind, 'allow');
});

t.test('dry-run policies decide nothing and are reported', async (t) => {
  const deny = makePolicy({ name: 'deny', action: 'deny', dryRun: true, rules: [[]] });
  const never = makePolicy({ name: 'never', dryRun: true });
  t.same(evaluate(sleep, [deny, never]), {
    kind: 'allow',
    reason: 'no-allow-policies',
    policy: undefined,
    rule: undefined,
    dryRun: [{ policy: 'default/deny', rule: 0, action: 'deny' }],
    dryRunDenial: { reason: 'denied-by-policy', policy: 'default/deny', rule: 0 },
  });
});

t.test('only dry-run ALLOW policies, and none allows: it would have been denied', async (t) => {
  const trial = { ...allow(sleepOnly), dryRun: true };
  const dryRunDenial = { reason: 'not-allowed', policy: undefined, rule: undefined };
  t.match(evaluate(plaintext, [trial]), { kind: 'allow', dryRun: [], dryRunDenial });
  t.match(evaluate(sleep, [trial]), { kind: 'allow', dryRun: [{ action: 'allow' }], dryRunDenial: undefined });
  // One that is enforced allows it: the trial would have changed nothing.
  t.match(evaluate(plaintext, [trial, makePolicy({ rules: [[]] })]), { kind: 'allow', dryRunDenial: undefined });
});

t.test('strict mutual TLS reads as such, static or of a PeerAuthentication', async (t) => {
  const rules = [[[makeMatch({ notPrincipals: [{ kind: 'presence' }] })]]];
  for (const name of ['istio_converted_static_strict', 'converted_peer_authentication_shop']) {
    const policy = makePolicy({ name, namespace: 'istio-system', action: 'deny', rules });
    const verdict = evaluate(plaintext, [policy]);
    if (verdict.kind !== 'deny') throw new Error('it was let in');
    t.equal(
      l4DenialText(verdict, true),
      `explicitly denied by: istio-system/${name} rule 0: strict mutual TLS, and the connection came in clear`,
    );
    t.equal(evaluate(sleep, [policy]).kind, 'allow');
  }
});

t.test('addresses and ports are those of the application’s socket', async (t) => {
  const block = parseCidr('10.244.1.0/24');
  if (block === undefined) throw new Error('not a block');
  t.equal(evaluate(sleep, [allow(makeMatch({ sourceIps: [block] }))]).kind, 'allow');
  t.equal(evaluate(sleep, [allow(makeMatch({ destinationIps: [block] }))]).kind, 'deny');
  t.equal(evaluate({ ...sleep, sourceIp: 'fd00::1' }, [allow(makeMatch({ sourceIps: [block] }))]).kind, 'deny');
  t.equal(evaluate(sleep, [allow(makeMatch({ destinationPorts: [80, 9080] }))]).kind, 'allow');
  t.equal(evaluate(sleep, [allow(makeMatch({ notDestinationPorts: [9080] }))]).kind, 'deny');
});

t.test(
  'a peer that goes by several names is meant by each of them, in DENY and in ALLOW, and by a negation of any',
  async (t) => {
    const known = { ...sleep, alsoKnownAs: ['spiffe://old.example/ns/default/sa/sleep'] };
    const old = exact('old.example/ns/default/sa/sleep');
    const suffix = { kind: 'suffix', value: '.example/ns/default/sa/sleep' } as const;
    for (const value of [old, suffix, exact('cluster.local/ns/default/sa/sleep')]) {
      t.match(evaluate(known, [allow(makeMatch({ principals: [value] }))]), { kind: 'allow' });
      t.match(evaluate(known, [makePolicy({ action: 'deny', rules: [[[makeMatch({ principals: [value] })]]] })]), {
        kind: 'deny',
      });
      t.match(evaluate(known, [allow(makeMatch({ notPrincipals: [value] }))]), { kind: 'deny', reason: 'not-allowed' });
    }
    t.match(evaluate(sleep, [allow(makeMatch({ principals: [old] }))]), { kind: 'deny', reason: 'not-allowed' });
  },
);
