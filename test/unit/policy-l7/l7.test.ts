/** L7 authorization: order of actions, missing attributes, TCP, and a slow oracle. */
import fc from 'fast-check';
import t from 'tap';
import { parseCidr } from '../../../src/base/address.ts';
import { evaluateL7, type L7Facts } from '../../../src/policy/l7.ts';
import type { L7Condition, L7Policy, TextMatch } from '../../../src/route/model.ts';
import { testIdentity } from '../../support/test-ca.ts';

const sleep = testIdentity('spiffe://cluster.local/ns/default/sa/sleep');
const request: L7Facts = {
  principal: sleep,
  sourceIp: '10.244.1.4',
  remoteIp: '10.244.1.4',
  destinationIp: '10.96.179.71',
  destinationPort: 9080,
  http: { method: 'GET', path: '/productpage', host: 'productpage:9080', headers: ['X-Token', 'a', 'x-token', 'b'] },
};
const connection: L7Facts = { ...request, http: undefined };

const text = (value: string, kind: 'exact' | 'prefix' | 'suffix' = 'exact'): TextMatch => ({
  kind,
  value,
  ignoreCase: false,
});
const method = (...values: string[]): L7Condition => ({
  kind: 'method',
  values: values.map((v) => text(v)),
  notValues: [],
});
const principal = (value: string): L7Condition => ({
  kind: 'principal',
  values: [{ kind: 'exact', value }],
  notValues: [],
});
const isSleep = principal('cluster.local/ns/default/sa/sleep');

function policy(action: L7Policy['action'], name: string, ...rules: L7Condition[][]): L7Policy {
  const source = { kind: 'AuthorizationPolicy', namespace: 'default', name };
  return {
    source,
    action,
    dryRun: false,
    rules: rules.map((conditions) => ({ clauses: conditions.map((c) => [[c]]) })),
  };
}

t.test('without policies everything is allowed', async (t) => {
  t.match(evaluateL7([], request).verdict, { kind: 'allow', policy: undefined });
});

t.test('an ALLOW policy must match once one exists', async (t) => {
  const allow = policy('allow', 'viewer', [isSleep, method('GET')]);
  t.match(evaluateL7([allow], request).verdict, { kind: 'allow', policy: 'ns[default]-policy[viewer]-rule[0]' });
  const deleting = { ...request, http: { ...request.http, method: 'DELETE' } } as L7Facts;
  t.match(evaluateL7([allow], deleting).verdict, { kind: 'deny', reason: 'rbac_access_denied_matched_policy[none]' });
  t.match(evaluateL7([policy('allow', 'nothing')], request).verdict, { kind: 'deny' }, 'no rules allow nobody');
  t.match(
    evaluateL7([policy('allow', 'all', [])], request).verdict,
    { kind: 'allow' },
    'an empty rule allows everybody',
  );
});

t.test('DENY comes before ALLOW and says which rule', async (t) => {
  const verdict = evaluateL7(
    [policy('allow', 'a', []), policy('deny', 'd', [method('PUT')], [isSleep])],
    request,
  ).verdict;
  t.same(verdict, {
    kind: 'deny',
    policy: 'ns[default]-policy[d]-rule[1]',
    reason: 'rbac_access_denied_matched_policy[ns[default]-policy[d]-rule[1]]',
  });
});

t.test('AUDIT and dry-run policies only leave a trace', async (t) => {
  const policies = [policy('audit', 'seen', []), { ...policy('deny', 'trial', []), dryRun: true }];
  const { verdict, audited } = evaluateL7(policies, request);
  t.match(verdict, { kind: 'allow' });
  t.same(audited, ['ns[default]-policy[seen]-rule[0]', 'ns[default]-policy[trial]-rule[0]']);
  t.match(evaluateL7([{ ...policy('allow', 'trial'), dryRun: true }], request).verdict, { kind: 'allow' });
});

t.test('a missing attribute fails a positive condition and satisfies a negative one', async (t) => {
  const header = (values: TextMatch[], notValues: TextMatch[]): L7Condition => ({
    kind: 'header',
    name: 'absent',
    values,
    notValues,
  });
  t.match(evaluateL7([policy('allow', 'p', [header([text('x')], [])])], request).verdict, { kind: 'deny' });
  t.match(evaluateL7([policy('allow', 'p', [header([], [text('x')])])], request).verdict, { kind: 'allow' });
  const anonymous = { ...request, principal: undefined };
  t.match(evaluateL7([policy('allow', 'p', [isSleep])], anonymous).verdict, { kind: 'deny' });
  const notSleep: L7Condition = {
    kind: 'principal',
    values: [],
    notValues: [{ kind: 'exact', value: 'cluster.local/ns/default/sa/sleep' }],
  };
  t.match(evaluateL7([policy('deny', 'p', [notSleep])], anonymous).verdict, { kind: 'deny' });
});

t.test('repeated header values are matched joined by comma', async (t) => {
  const joined: L7Condition = { kind: 'header', name: 'x-token', values: [text('a,b')], notValues: [] };
  t.match(evaluateL7([policy('allow', 'p', [joined])], request).verdict, { kind: 'allow' });
});

t.test('a repeated header evades no DENY, and gets nobody past an ALLOW or an exception of it', async (t) => {
  const token = (fields: Partial<Extract<L7Condition, { kind: 'header' }>>): L7Condition => ({
    kind: 'header',
    name: 'x-token',
    values: [],
    notValues: [],
    ...fields,
  });
  const kind = (action: L7Policy['action'], condition: L7Condition) =>
    evaluateL7([policy(action, 'p', [condition])], request).verdict.kind;
  t.equal(kind('deny', token({ values: [text('b')] })), 'deny', 'the second of its values');
  t.equal(kind('deny', token({ notValues: [text('a')] })), 'deny', 'one good value excuses no other');
  t.equal(kind('allow', token({ values: [text('a')] })), 'deny', 'one good value is not all of them');
  t.equal(kind('allow', token({ notValues: [text('b')] })), 'deny');
  t.equal(kind('allow', token({ values: [text('a'), text('b')] })), 'allow', 'each of them is good');
  t.equal(kind('deny', token({ notValues: [text('a'), text('b')] })), 'allow', 'each of them is excepted');
  const beginsWithA = { kind: 'prefix', value: 'a', ignoreCase: false } as const;
  t.equal(kind('allow', token({ values: [beginsWithA] })), 'deny', 'the list begins so, its second value does not');
  t.equal(kind('deny', token({ notValues: [beginsWithA] })), 'deny');
});

t.test('addresses and ports are those the client addressed', async (t) => {
  const block = parseCidr('10.96.0.0/16');
  if (block === undefined) throw new Error('test block');
  const conditions: L7Condition[] = [
    { kind: 'destination-ip', values: [block], notValues: [] },
    { kind: 'destination-port', values: [9080], notValues: [] },
    { kind: 'source-ip', values: [], notValues: [block] },
  ];
  t.match(evaluateL7([policy('allow', 'p', conditions)], request).verdict, { kind: 'allow' });
});

t.test('on plain TCP an HTTP condition voids an ALLOW and widens a DENY', async (t) => {
  t.match(evaluateL7([policy('allow', 'p', [isSleep, method('GET')])], connection).verdict, { kind: 'deny' });
  t.match(evaluateL7([policy('allow', 'p', [isSleep])], connection).verdict, { kind: 'allow' });
  t.match(evaluateL7([policy('deny', 'p', [isSleep, method('GET')])], connection).verdict, { kind: 'deny' });
  t.match(evaluateL7([policy('deny', 'p', [method('GET')])], connection).verdict, { kind: 'deny' });
});

t.test('evaluation agrees with a slow oracle', async () => {
  const condition = fc.constantFrom<L7Condition>(isSleep, principal('x'), method('GET'), method('PUT'));
  const action = fc.constantFrom<L7Policy['action']>('allow', 'deny', 'audit');
  const rules = fc.array(
    fc.array(fc.array(fc.array(condition, { maxLength: 2 }), { maxLength: 2 }), { maxLength: 2 }),
    { maxLength: 3 },
  );
  const policies = fc.array(fc.record({ action, rules, dryRun: fc.boolean() }), { maxLength: 4 });
  fc.assert(
    fc.property(policies, (drawn) => {
      const list = drawn.map(
        ({ action, rules, dryRun }, i): L7Policy => ({
          ...policy(action, `p${i}`),
          dryRun,
          rules: rules.map((clauses) => ({ clauses })),
        }),
      );
      const holds = (c: L7Condition) =>
        c === isSleep || (c.kind === 'method' && c.values.some((v) => v.kind === 'exact' && v.value === 'GET'));
      const hits = (p: L7Policy) =>
        p.rules.some((r) => r.clauses.every((sets) => sets.some((set) => set.every(holds))));
      const live = list.filter((p) => !p.dryRun);
      const denies = live.some((p) => p.action === 'deny' && hits(p));
      const allows = live.filter((p) => p.action === 'allow');
      const expected = denies || (allows.length > 0 && !allows.some(hits)) ? 'deny' : 'allow';
      return evaluateL7(list, request).verdict.kind === expected;
    }),
    { numRuns: 1000 },
  );
});
