/** The evaluation against a slow one written from the definitions alone, over random policies, connections and requests. */
import fc from 'fast-check';
import t from 'tap';
import { cidrContains, ipToBytes, parseCidr } from '../../../src/base/address.ts';
import { parseSpiffeId } from '../../../src/base/spiffe.ts';
import type { StringMatch } from '../../../src/mesh/model.ts';
import { ConnectionPolicies, evaluateL7, type L7Evaluation, type L7Facts } from '../../../src/policy/l7.ts';
import type { L7Condition, L7Policy, TextMatch } from '../../../src/route/model.ts';
import { testIdentity } from '../../support/test-ca.ts';

const peers = ['a', 'b'].map((name) => testIdentity(`spiffe://td/ns/${name}/sa/x`));
const paths = ['/', '/a', '/a/b', '/ab', '/A', ''];
const few = <T>(arbitrary: fc.Arbitrary<T>) => fc.array(arbitrary, { maxLength: 2 });
const textOf = (...values: string[]): fc.Arbitrary<TextMatch> =>
  fc.oneof(
    fc.record({
      kind: fc.constantFrom('exact', 'exact', 'prefix', 'suffix'),
      value: fc.constantFrom(...values),
      ignoreCase: fc.boolean(),
    }),
    fc.constant({ kind: 'presence' as const }),
  );
const principals: fc.Arbitrary<StringMatch> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('exact', 'exact', 'prefix', 'suffix'),
    value: fc.constantFrom('td/ns/a/sa/x', 'td/ns/b/sa/x', 'old/ns/a/sa/x', 'td/ns/a', '/sa/x', ''),
  }),
  fc.constant({ kind: 'presence' as const }),
);
const names = (...values: string[]): fc.Arbitrary<StringMatch> =>
  fc.oneof(
    fc.record({ kind: fc.constantFrom('exact', 'prefix', 'suffix'), value: fc.constantFrom(...values) }),
    fc.constant({ kind: 'presence' as const }),
  );
const block = parseCidr('10.0.0.0/31');
if (block === undefined) throw new Error('test block');
const pair = <K extends L7Condition['kind'], V>(kind: K, of: fc.Arbitrary<V>) =>
  fc.record({ kind: fc.constant(kind), values: few(of), notValues: few(of) });
const conditions = fc.oneof(
  pair('principal', principals),
  pair('principal', principals),
  pair('namespace', fc.constant<StringMatch>({ kind: 'exact', value: 'a' })),
  pair('service-account', fc.constant('a/x')),
  pair('trust-domain', names('td', 'old', 'o')),
  pair('server-name', names('a.example', 'a.', '.example')),
  pair('source-ip', fc.constant(block)),
  pair('destination-port', fc.constant(80)),
  pair('path', textOf(...paths)),
  pair('path', textOf(...paths)),
  pair('method', textOf('GET', 'PUT')),
  pair('header', textOf('1', '1,2')).map((each) => ({ ...each, name: 'x-a' })),
) as fc.Arbitrary<L7Condition>;
const policies: fc.Arbitrary<L7Policy[]> = fc.array(
  fc.record({
    source: fc.constantFrom('p', 'q', 'r').map((name) => ({ kind: 'AuthorizationPolicy', namespace: 'n', name })),
    action: fc.constantFrom('allow', 'deny', 'audit'),
    dryRun: fc.constantFrom(false, false, true),
    rules: fc.array(fc.record({ clauses: few(few(few(conditions))) }), { maxLength: 6 }),
  }),
  { maxLength: 8 },
);
const requests = fc.record({
  method: fc.constantFrom('GET', 'PUT'),
  path: fc.constantFrom(...paths),
  host: fc.constant('h'),
  headers: fc.constantFrom([], ['x-a', '1'], ['X-A', '1', 'x-a', '2']),
});
const facts: fc.Arbitrary<L7Facts> = fc.record({
  principal: fc.constantFrom(undefined, ...peers),
  otherPrincipals: fc.constantFrom(
    [],
    ['a', 'b'].map((name) => testIdentity(`spiffe://old/ns/${name}/sa/x`)).slice(0, 1),
  ),
  serverName: fc.constantFrom(undefined, 'a.example', 'b.example'),
  sourceIp: fc.constantFrom('10.0.0.1', '10.0.0.2'),
  remoteIp: fc.constant('10.0.0.1'),
  destinationIp: fc.constant('10.0.0.9'),
  destinationPort: fc.constantFrom(80, 81),
  http: fc.option(requests, { nil: undefined }),
});

t.test('evaluation agrees with the definitions, the reason and what is audited included', async () => {
  fc.assert(
    fc.property(policies, facts, (list, given) => {
      const [found, expected] = [evaluateL7(list, given), oracle(list, given)];
      return JSON.stringify(found) === JSON.stringify(expected);
    }),
    { numRuns: 5000 },
  );
});

t.test('requests of one connection are each decided as if it were the only one', async () => {
  fc.assert(
    fc.property(policies, facts, fc.array(requests, { minLength: 2, maxLength: 4 }), (list, given, several) => {
      const decider = new ConnectionPolicies(list, given);
      return several.every(
        (http) => JSON.stringify(decider.evaluate(http)) === JSON.stringify(oracle(list, { ...given, http })),
      );
    }),
    { numRuns: 1000 },
  );
});

function oracle(list: readonly L7Policy[], given: L7Facts): L7Evaluation {
  const hits = list.flatMap((policy) => {
    const rule = policy.rules.findIndex(({ clauses }) =>
      clauses.every((sets) => sets.some((set) => set.every((one) => holds(one, given, policy.action !== 'allow')))),
    );
    return rule < 0 ? [] : [{ policy, name: `ns[n]-policy[${policy.source.name}]-rule[${rule}]` }];
  });
  const of = (action: string) => hits.filter(({ policy }) => policy.action === action && !policy.dryRun);
  const audited = hits.filter(({ policy }) => policy.dryRun || policy.action === 'audit').map(({ name }) => name);
  const deny = of('deny')[0]?.name;
  const allow = of('allow')[0]?.name;
  const reason = (name: string) => `rbac_access_denied_matched_policy[${name}]`;
  if (deny !== undefined) return { verdict: { kind: 'deny', policy: deny, reason: reason(deny) }, audited };
  if (allow === undefined && list.some(({ action, dryRun }) => action === 'allow' && !dryRun)) {
    return { verdict: { kind: 'deny', policy: undefined, reason: reason('none') }, audited };
  }
  return { verdict: { kind: 'allow', policy: allow }, audited };
}

function holds(
  condition: L7Condition,
  { principal, otherPrincipals = [], serverName, sourceIp, destinationPort, http }: L7Facts,
  widen: boolean,
): boolean {
  const identity = principal === undefined ? undefined : parseSpiffeId(principal);
  const ids = principal && [principal, ...otherPrincipals].map((id) => id.replace('spiffe://', ''));
  const judge = <V, S>(
    { values, notValues }: { values: readonly V[]; notValues: readonly V[] },
    subject: S | undefined,
    matches: (value: V, subject: S) => boolean,
  ) =>
    subject === undefined
      ? values.length === 0
      : (values.length === 0 || values.some((v) => matches(v, subject))) && !notValues.some((v) => matches(v, subject));
  switch (condition.kind) {
    case 'principal':
      return judge(condition, ids, (match, all) => all.some((id) => isText(match, id)));
    case 'trust-domain':
      return judge(condition, ids, (match, all) => all.some((id) => isText(match, id.split('/')[0] ?? '')));
    case 'server-name':
      return judge(condition, serverName, isText);
    case 'namespace':
      return judge(condition, identity?.namespace, isText);
    case 'service-account':
      return judge(condition, identity && `${identity.namespace}/${identity.serviceAccount}`, (v, s) => v === s);
    case 'source-ip':
      return judge(condition, ipToBytes(sourceIp), cidrContains);
    case 'destination-port':
      return judge(condition, destinationPort, (v, s) => v === s);
    case 'path':
      return http === undefined ? widen : judge(condition, http.path, isText);
    case 'method':
      return http === undefined ? widen : judge(condition, http.method, isText);
    case 'header': {
      const values = http?.headers.filter((_, i, all) => i % 2 === 1 && all[i - 1]?.toLowerCase() === 'x-a') ?? [];
      if (http === undefined) return widen;
      if (values.length === 0) return condition.values.length === 0;
      // What closes holds by any of the values or by their list; what opens by all of them or by their list.
      const is = (text: string) => (list: readonly TextMatch[]) => list.some((match) => isText(match, text));
      const any = (list: readonly TextMatch[]) => [values.join(), ...values].some((text) => is(text)(list));
      const exactly = (list: readonly TextMatch[]) => list.filter(({ kind }) => kind === 'exact');
      const all = (list: readonly TextMatch[]) =>
        is(values.join())(exactly(list)) || values.every((text) => is(text)(list));
      const [wanted, excepted] = widen ? [any, all] : [all, any];
      return (condition.values.length === 0 || wanted(condition.values)) && !excepted(condition.notValues);
    }
    default:
      throw new Error(`not drawn: ${condition.kind}`);
  }
}

function isText(match: StringMatch | TextMatch, subject: string): boolean {
  const folded = 'ignoreCase' in match && match.ignoreCase ? (s: string) => s.toLowerCase() : (s: string) => s;
  switch (match.kind) {
    case 'presence':
      return subject !== '';
    case 'exact':
      return folded(subject) === folded(match.value);
    case 'prefix':
      return folded(subject).startsWith(folded(match.value));
    case 'suffix':
      return folded(subject).endsWith(folded(match.value));
    case 'regex':
      return match.test(subject);
  }
}
