/** The evaluation against a slow one written from the definitions alone, over random policies and peers. */
import fc from 'fast-check';
import t from 'tap';
import { type Cidr, parseCidr } from '../../../src/base/address.ts';
import { parseSpiffeId } from '../../../src/base/spiffe.ts';
import type { L4Policy, PolicyMatch, StringMatch } from '../../../src/mesh/model.ts';
import { evaluateL4, type L4Options, type L4Verdict } from '../../../src/policy/l4.ts';
import type { L4Connection } from '../../../src/policy/l4-peer.ts';
import { makeMatch, makePolicy } from '../../support/mesh-records.ts';

const texts = ['a', 'b', 'td/ns/a/sa/x', 'td/ns/b/sa/y', 'td', '/sa/x'];
const stringMatches: fc.Arbitrary<StringMatch> = fc.oneof(
  fc.record({ kind: fc.constantFrom('exact', 'prefix', 'suffix'), value: fc.constantFrom(...texts) }),
  fc.constant({ kind: 'presence' as const }),
);
const accounts = fc.record({ namespace: fc.constantFrom('a', 'b'), serviceAccount: fc.constantFrom('x', 'y') });
const blocks = fc
  .constantFrom('10.0.0.0/31', '10.0.0.1/32', '10.0.0.0/8', '0.0.0.0/0', '::/0', 'fd00::/16', 'fd00::1/128')
  .map((text) => parseCidr(text) as Cidr);
const ips = ['10.0.0.0', '10.0.0.1', '11.0.0.1', 'fd00::1', 'fe80::1'];
const few = <T>(arbitrary: fc.Arbitrary<T>) => fc.array(arbitrary, { maxLength: 2 });

const matches: fc.Arbitrary<PolicyMatch> = fc
  .record(
    {
      namespaces: few(stringMatches),
      notNamespaces: few(stringMatches),
      principals: few(stringMatches),
      notPrincipals: few(stringMatches),
      serviceAccounts: few(accounts),
      notServiceAccounts: few(accounts),
      sourceIps: few(blocks),
      notSourceIps: few(blocks),
      destinationIps: few(blocks),
      notDestinationIps: few(blocks),
      destinationPorts: few(fc.constantFrom(80, 81)),
      notDestinationPorts: few(fc.constantFrom(80, 81)),
    },
    { requiredKeys: [] },
  )
  .map((fields) => makeMatch(fields));
const policies: fc.Arbitrary<L4Policy[]> = fc.array(
  fc
    .record({
      name: fc.constantFrom('p', 'q', 'r'),
      action: fc.constantFrom('allow', 'deny'),
      dryRun: fc.constantFrom(false, false, true),
      rules: few(few(few(matches))),
    })
    .map((fields) => makePolicy(fields)),
  { maxLength: 4 },
);
const connections: fc.Arbitrary<L4Connection> = fc.record({
  peer: fc.constantFrom(undefined, 'spiffe://td/ns/a/sa/x', 'spiffe://td/ns/b/sa/y'),
  alsoKnownAs: fc.constantFrom([], ['spiffe://td/ns/b/sa/y'], ['spiffe://old/ns/a/sa/x', 'spiffe://td/ns/a/sa/z']),
  sourceIp: fc.constantFrom(...ips),
  destinationIp: fc.constantFrom(...ips),
  destinationPort: fc.constantFrom(80, 81, 82),
});
const options: fc.Arbitrary<L4Options> = fc.record({
  unknownPolicy: fc.constantFrom('deny', 'skip'),
  emptyDenyMatch: fc.constantFrom('match', 'ignore'),
});

t.test('the verdict, and what it names, is the oracle’s for any policies, peer and options', async (t) => {
  fc.assert(
    fc.property(connections, policies, few(fc.constant('default/late')), options, (connection, list, missing, how) => {
      const verdict = evaluateL4(connection, { policies: list, missing }, how);
      return summary(verdict) === oracle(connection, list, missing, how);
    }),
    { numRuns: 3000 },
  );
  t.pass();
});

t.test('policies that come, go and change places are decided on as if they had always been so', async (t) => {
  const lists = policies.chain((pool) => fc.array(fc.shuffledSubarray(pool), { minLength: 2, maxLength: 5 }));
  fc.assert(
    fc.property(lists, connections, options, (steps, connection, how) => {
      const inForce = { policies: [] as readonly L4Policy[], missing: [] };
      return steps.every((list) => {
        inForce.policies = list;
        const kept = evaluateL4(connection, inForce, how);
        return summary(kept) === summary(evaluateL4(connection, { ...inForce }, how));
      });
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

function summary({ kind, policy, rule, dryRun }: L4Verdict): string {
  return JSON.stringify([kind, policy, rule, dryRun.map((note) => [note.policy, note.rule])]);
}

/** Every rule in order, as if there were no index. */
function oracle(c: L4Connection, list: readonly L4Policy[], missing: readonly string[], how: L4Options): string {
  if (missing.length > 0 && how.unknownPolicy === 'deny') return JSON.stringify(['deny', missing[0], undefined, []]);
  const notes: unknown[] = [];
  for (const action of ['deny', 'allow'] as const) {
    const emptyMeans = action === 'deny' && how.emptyDenyMatch === 'match';
    for (const policy of list) {
      if (policy.action !== action) continue;
      const rule = policy.rules.findIndex((clauses) => ruleMatches(clauses, c, emptyMeans));
      if (rule < 0) continue;
      if (!policy.dryRun) return JSON.stringify([action, policy.key, rule, notes]);
      notes.push([policy.key, rule]);
    }
  }
  const restricted = list.some((policy) => policy.action === 'allow' && !policy.dryRun);
  return JSON.stringify([restricted ? 'deny' : 'allow', undefined, undefined, notes]);
}

function ruleMatches(clauses: L4Policy['rules'][number], c: L4Connection, emptyMeans: boolean): boolean {
  return clauses.every((clause) => clause.length === 0 || clause.some((match) => oneMatches(match, c, emptyMeans)));
}

function oneMatches(match: PolicyMatch, c: L4Connection, emptyMeans: boolean): boolean {
  if (Object.values(match).every((list) => list.length === 0)) return emptyMeans;
  const identity = c.peer === undefined ? undefined : parseSpiffeId(c.peer);
  const either = <T>(values: readonly T[], notValues: readonly T[], holds: (value: T) => boolean) =>
    (values.length === 0 || values.some(holds)) && !notValues.some(holds);
  const text = (subject: string | undefined) => (value: StringMatch) => {
    if (subject === undefined) return false;
    if (value.kind === 'presence') return true;
    const pattern = { exact: `^${value.value}$`, prefix: `^${value.value}`, suffix: `${value.value}$` }[value.kind];
    return new RegExp(pattern).test(subject);
  };
  const block = (ip: string) => (cidr: Cidr) => inBlock(ip, cidr.text);
  return (
    either(match.namespaces, match.notNamespaces, text(identity?.namespace)) &&
    either(match.principals, match.notPrincipals, (value) =>
      (c.peer === undefined ? [] : [c.peer, ...(c.alsoKnownAs ?? [])]).some((id) => text(id.slice(9))(value)),
    ) &&
    either(
      match.serviceAccounts,
      match.notServiceAccounts,
      ({ namespace, serviceAccount }) =>
        `${namespace}/${serviceAccount}` === `${identity?.namespace}/${identity?.serviceAccount}`,
    ) &&
    either(match.sourceIps, match.notSourceIps, block(c.sourceIp)) &&
    either(match.destinationIps, match.notDestinationIps, block(c.destinationIp)) &&
    either(match.destinationPorts, match.notDestinationPorts, (port) => port === c.destinationPort)
  );
}

/** Which of the test's addresses lie in which of its blocks, written out by hand. */
function inBlock(ip: string, block: string): boolean {
  const members: Record<string, readonly string[]> = {
    '10.0.0.0/31': ['10.0.0.0', '10.0.0.1'],
    '10.0.0.1/32': ['10.0.0.1'],
    '10.0.0.0/8': ['10.0.0.0', '10.0.0.1'],
    '0.0.0.0/0': ['10.0.0.0', '10.0.0.1', '11.0.0.1'],
    '::/0': ['fd00::1', 'fe80::1'],
    'fd00::/16': ['fd00::1'],
    'fd00::1/128': ['fd00::1'],
  };
  const list = members[block];
  if (list === undefined) throw new Error(`the table lacks ${block}`);
  return list.includes(ip);
}
