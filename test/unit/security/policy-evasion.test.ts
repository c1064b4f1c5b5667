/** Spellings of one request that must not slip past a policy. */
import t from 'tap';
import { parseTarget } from '../../../src/http/request-target.ts';
import { evaluateL7, type L7Facts } from '../../../src/policy/l7.ts';
import type { L7Policy, TextMatch } from '../../../src/route/model.ts';

const hosts = (...values: string[]): TextMatch[] =>
  values.map((value) => ({ kind: 'exact', value, ignoreCase: true }) as const);

function policy(action: L7Policy['action'], values: TextMatch[], notValues: TextMatch[]): L7Policy {
  return {
    source: { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'hosts' },
    action,
    dryRun: false,
    rules: [{ clauses: [[[{ kind: 'host', values, notValues }]]] }],
  };
}

function verdict(which: L7Policy, host: string): string {
  const facts: L7Facts = {
    principal: undefined,
    sourceIp: '10.0.0.1',
    remoteIp: '10.0.0.1',
    destinationIp: '10.0.0.2',
    destinationPort: 80,
    http: { method: 'GET', path: '/', host, headers: [] },
  };
  return evaluateL7([which], facts).verdict.kind;
}

t.test('a port or a final dot does not evade a DENY by host', async (t) => {
  const deny = policy('deny', hosts('admin.shop'), []);
  for (const host of ['admin.shop', 'ADMIN.shop', 'admin.shop:80', 'admin.shop.', 'admin.shop.:80']) {
    t.equal(verdict(deny, host), 'deny', host);
  }
  t.equal(verdict(deny, 'shop'), 'allow');
  const onlyPublic = policy('deny', [], hosts('public.shop'));
  t.equal(verdict(onlyPublic, 'public.shop:80'), 'deny', 'an exception must be written as it is sent');
});

t.test('a port or a final dot does not evade an exception of an ALLOW', async (t) => {
  const allow = policy('allow', [], hosts('admin.shop'));
  for (const host of ['admin.shop', 'admin.shop:80', 'admin.shop.', 'admin.shop.:80']) {
    t.equal(verdict(allow, host), 'deny', host);
  }
  t.equal(verdict(policy('allow', hosts('public.shop'), []), 'public.shop:80'), 'deny', 'admits only as written');
});

t.test('an absolute-form target names an authority, or is refused', async (t) => {
  for (const target of ['http://user@evil/', 'http:///', 'http://', 'http://a:b:c/', 'https://a\\b/', 'http://a,b/x']) {
    t.equal(parseTarget(target).kind, 'rejected', target);
  }
  t.match(parseTarget('http://a:80/b/../c?d'), { kind: 'target', authority: 'a:80', path: '/c', query: '?d' });
});
