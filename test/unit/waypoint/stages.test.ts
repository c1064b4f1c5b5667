/** Which stages a tunnel's requests pass. */
import t from 'tap';
import { emptyL7Model, type L7Model, type Route } from '../../../src/route/model.ts';
import type { Tunnel, WaypointServices } from '../../../src/waypoint/context.ts';
import { TunnelStages } from '../../../src/waypoint/stages/list.ts';
import { makeService } from '../../support/mesh-records.ts';

const service = makeService({ name: 'productpage' });
const own = { key: 'default/waypoint', namespace: 'default' };
const services = { own: () => own } as unknown as WaypointServices;
const tunnel = { destination: { kind: 'service', service } } as unknown as Tunnel;

const policy = {
  source: { kind: 'AuthorizationPolicy', namespace: 'default', name: 'p' },
  action: 'allow',
  dryRun: false,
  rules: [],
} as const;

const route: Route = {
  name: 'default/route/0/0',
  source: undefined,
  match: undefined,
  action: { kind: 'forward', backends: [] },
  requestHeaders: undefined,
  responseHeaders: undefined,
  rewritePath: undefined,
  rewriteHost: undefined,
  timeoutMs: undefined,
  retry: undefined,
};

/** Settings of the program apply to all: the waypoint's own protection. */
const always = new TunnelStages(services, tunnel).before(emptyL7Model).length;

t.test('what nobody configured is in no list', async (t) => {
  const stages = new TunnelStages(services, tunnel);
  t.ok(always <= 1, 'but the watch over the load');
  t.same(stages.after(emptyL7Model, undefined), []);
  t.same(stages.after(emptyL7Model, route), []);
});

t.test('lists are found once per model, and anew for another', async (t) => {
  const stages = new TunnelStages(services, tunnel);
  const first = stages.before(emptyL7Model);
  t.equal(stages.before(emptyL7Model), first);
  t.equal(stages.after(emptyL7Model, route), stages.after(emptyL7Model, route));
  const guarded: L7Model = { ...emptyL7Model, servicePolicies: new Map([[service.key, [policy]]]) };
  t.equal(stages.before(guarded).length, always + 1);
  t.equal(stages.before(emptyL7Model).length, always, 'the policy is gone with its model');
});

t.test('policies of the gateway apply to what it serves', async (t) => {
  const stages = new TunnelStages(services, tunnel);
  const guarded: L7Model = { ...emptyL7Model, gatewayPolicies: new Map([[own.key, [policy]]]) };
  t.equal(stages.before(guarded).length, always + 1);
  const elsewhere: L7Model = { ...emptyL7Model, gatewayPolicies: new Map([['default/other', [policy]]]) };
  t.equal(stages.before(elsewhere).length, always);
});
