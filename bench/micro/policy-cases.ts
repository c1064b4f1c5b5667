/** Whether a peer may: L4 at the destination's ztunnel, L7 at a waypoint. Ten rules a policy, and no rule that matches. */
import { parseCidr } from '../../src/base/address.ts';
import { formatSpiffeId, type SpiffeId } from '../../src/base/spiffe.ts';
import type { L4Policy, PolicyMatch } from '../../src/mesh/model.ts';
import { evaluateL4, failClosed } from '../../src/policy/l4.ts';
import { ConnectionPolicies } from '../../src/policy/l7.ts';
import type { L7Connection, L7Request } from '../../src/policy/l7-conditions.ts';
import type { L7Condition, L7Policy } from '../../src/route/model.ts';
import { makeMatch, makePolicy } from '../../test/support/mesh-records.ts';
import type { Operation } from './measure.ts';
import { type MicroCase, sized } from './micro-case.ts';

const rulesPerPolicy = 10;

export const policyCases: readonly MicroCase[] = [
  ...sized('l4-policy', 'policies', { 1: 3000, 100: 8000, 1000: 50_000 }, l4Policy),
  ...sized('l7-connection', 'policies', { 1: 5000, 100: 150_000 }, l7Connection),
  ...sized('l7-policy', 'policies', { 1: 1000, 100: 2000, 1000: 3000 }, l7Policy),
];

/** DENY and ALLOW by turns; the peer is denied by none and admitted by the last alone. */
export function l4Policies(count: number): readonly L4Policy[] {
  const policies = Array.from({ length: count }, (_, p) =>
    makePolicy({
      name: `policy-${p}`,
      scope: 'namespace',
      action: p % 2 === 0 ? 'deny' : 'allow',
      rules: Array.from({ length: rulesPerPolicy }, (_, r) => [[otherMatch(p * rulesPerPolicy + r)]]),
    }),
  );
  const last = makeMatch({ namespaces: [{ kind: 'exact', value: 'caller' }] });
  return [...policies, makePolicy({ name: 'last', scope: 'namespace', rules: [[[last]]] })];
}

/** Conditions as people write them, none of which the callers of `peers` meet. */
function otherMatch(i: number): PolicyMatch {
  const cidr = parseCidr(`172.${16 + (i % 16)}.${(i >> 4) & 255}.0/24`);
  if (cidr === undefined) throw new Error('the block is well-formed');
  switch (i % 5) {
    case 0:
      return makeMatch({ principals: [{ kind: 'exact', value: `cluster.local/ns/team-${i}/sa/client` }] });
    case 1:
      return makeMatch({ namespaces: [{ kind: 'exact', value: `team-${i}` }], destinationPorts: [8080] });
    case 2:
      return makeMatch({ sourceIps: [cidr] });
    case 3:
      return makeMatch({ principals: [{ kind: 'prefix', value: `cluster.local/ns/team-${i}/` }] });
    default:
      return makeMatch({ serviceAccounts: [{ namespace: `team-${i}`, serviceAccount: 'client' }] });
  }
}

function peers(): readonly SpiffeId[] {
  return Array.from({ length: 100 }, (_, i) =>
    formatSpiffeId({ trustDomain: 'cluster.local', namespace: 'caller', serviceAccount: `account-${i}` }),
  );
}

function l4Policy(count: number): Operation {
  const inForce = { policies: l4Policies(count), missing: [] };
  const callers = peers();
  return (i) => {
    const k = i % callers.length;
    const verdict = evaluateL4(
      { peer: callers[k], sourceIp: `10.0.1.${k}`, destinationIp: '10.0.0.1', destinationPort: 8080 },
      inForce,
      failClosed,
    );
    return verdict.kind === 'allow' ? 1 : 0;
  };
}

function l7Policies(count: number): readonly L7Policy[] {
  return Array.from({ length: count }, (_, p) => ({
    source: { kind: 'AuthorizationPolicy', namespace: 'default', name: `policy-${p}` },
    action: p % 2 === 0 ? 'deny' : 'allow',
    dryRun: false,
    rules: Array.from({ length: rulesPerPolicy }, (_, r) => ({ clauses: otherClauses(p * rulesPerPolicy + r) })),
  }));
}

function connectionOf(principal: SpiffeId | undefined, k: number): L7Connection {
  const sourceIp = `10.0.1.${k}`;
  return { principal, sourceIp, remoteIp: sourceIp, destinationIp: '10.0.0.1', destinationPort: 80 };
}

function requestOf(k: number): L7Request {
  return {
    method: 'GET',
    path: `/api/items/${k}`,
    host: 'shop.example',
    headers: ['accept', '*/*', 'user-agent', 'wrk', 'x-request-id', 'd8e8fca2dc0f896fd7cb4cb0031ba249'],
  };
}

/** A connection's first request, which finds out what policies leave to be asked of its requests. */
function l7Connection(count: number): Operation {
  const policies = l7Policies(count);
  const callers = peers();
  return (i) => {
    const k = i % callers.length;
    const { verdict } = new ConnectionPolicies(policies, connectionOf(callers[k], k)).evaluate(requestOf(k));
    return verdict.kind === 'allow' ? 1 : 0;
  };
}

function l7Policy(count: number): Operation {
  const policies = l7Policies(count);
  const connections = peers().map((peer, k) => new ConnectionPolicies(policies, connectionOf(peer, k)));
  return (i) => {
    const k = i % connections.length;
    return connections[k]?.evaluate(requestOf(k)).verdict.kind === 'allow' ? 1 : 0;
  };
}

/** from: a principal, in one of five rules that of every caller; to: a method and a path. Some ask for a header too. */
function otherClauses(i: number): readonly (readonly (readonly L7Condition[])[])[] {
  const exact = (value: string) => ({ kind: 'exact', value, ignoreCase: false }) as const;
  const who =
    i % 5 === 0
      ? ({ kind: 'prefix', value: 'cluster.local/ns/caller/' } as const)
      : ({ kind: 'exact', value: `cluster.local/ns/team-${i}/sa/client` } as const);
  const from: L7Condition = { kind: 'principal', values: [who], notValues: [] };
  const to: readonly L7Condition[] = [
    { kind: 'method', values: [exact('GET')], notValues: [] },
    { kind: 'path', values: [{ kind: 'prefix', value: `/admin/${i}/`, ignoreCase: false }], notValues: [] },
  ];
  const when: L7Condition = { kind: 'header', name: 'x-team', values: [exact(`team-${i}`)], notValues: [] };
  return i % 3 === 0 ? [[[from]], [to], [[when]]] : [[[from]], [to]];
}
