/** Turn by turn (bench/measure.ts): who is measured when, at what rate, and what a failure costs. */
import t from 'tap';
import { measure, type Plan, type Step, type Surroundings } from '../../../bench/measure.ts';
import type { Load, Turn } from '../../../bench/model.ts';
import type { Lab } from '../../../src/lab/lab.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { loadOf, systemOf, usageOf } from './records.ts';

const none = systemOf('none', 'none');
const [a, b] = [systemOf('a', 'l4'), systemOf('b', 'l4')];

function surroundingsOf(more: Partial<Surroundings> = {}): Surroundings & { readonly steps: Step[]; clock: FakeClock } {
  const steps: Step[] = [];
  return {
    lab: {} as Lab,
    clock: new FakeClock(),
    readUsage: () => [],
    resetPeaks: () => {},
    stolenSeconds: () => 0,
    progress: (step) => steps.push(step),
    steps,
    ...more,
  } as Surroundings & { readonly steps: Step[]; clock: FakeClock };
}

const planOf = (more: Partial<Plan>): Plan => ({
  systems: [none, a, b],
  loads: [],
  seconds: 2,
  repeats: 2,
  runInSeconds: 0,
  retakes: true,
  ...more,
});

t.test('systems have their turns within each repeat, in an order that is reversed in every other one', async (t) => {
  const surroundings = surroundingsOf();
  const { measurements } = await measure(planOf({ loads: [loadOf('x')] }), [], surroundings);
  const order = surroundings.steps.map(({ system, repeat }) => `${repeat}${system.key}`);
  t.same(order, ['0none', '0a', '0b', '1b', '1a', '1none', '2none', '2a', '2b']);
  t.same(
    measurements.map(({ repeat }) => repeat),
    [1, 1, 1, 2, 2, 2],
    'the warm-up does not count',
  );
  t.same(surroundings.steps.at(-1)?.turn, surroundings.steps.at(-1)?.turns);
});

t.test('a load is run on those who serve its port in its layers, and on no proxy', async (t) => {
  const systems = [none, a, systemOf('deaf', 'l4', { serves: new Set(['http']) }), systemOf('l7', 'l7')];
  const loads = [loadOf('x', { port: 'echo', layers: ['l4'] })];
  const { measurements } = await measure(planOf({ systems, loads, repeats: 1 }), [], surroundingsOf());
  t.same(measurements.map(({ system }) => system).sort(), ['a', 'none']);
});

t.test('a turn that fails is told with its reason, and the others are measured', async (t) => {
  const run = async ({ system }: Turn) => {
    if (system.key === 'a') throw new Error('wrk is gone');
    return { units: 1, perSecond: 1, errors: 0 };
  };
  const { measurements, failures } = await measure(
    planOf({ loads: [loadOf('x', { run })], repeats: 1 }),
    [],
    surroundingsOf(),
  );
  t.same(measurements.map(({ system }) => system).sort(), ['b', 'none']);
  t.same(failures[1], { load: 'x', system: 'a', repeat: 1, reason: 'wrk is gone' });
});

t.test('a turn that does not end ends the run', async (t) => {
  const surroundings = surroundingsOf();
  const stuck = loadOf('x', { run: () => new Promise(() => {}) });
  const run = measure(planOf({ loads: [stuck] }), [], surroundings);
  surroundings.clock.advance(600_000);
  await t.rejects(run, /x on none had not ended after/);
});

t.test('figures are taken when the load says so, or else at its end, with the peak reset before', async (t) => {
  const told: string[] = [];
  const surroundings = surroundingsOf({
    readUsage: (proxies) => proxies.map(({ name }) => usageOf({ name, cpuSeconds: told.push('read') })),
    resetPeaks: () => told.push('reset'),
  });
  const system = systemOf('a', 'l4', { proxies: () => [{ name: 'p', pid: 1 }] });
  const run = async ({ sample }: Turn) => {
    sample();
    told.push('closed');
    return { units: 1, perSecond: 1, errors: 0 };
  };
  const loads = [loadOf('held', { unit: 'idle connection', run })];
  const { idle, measurements } = await measure(planOf({ systems: [system], loads, repeats: 1 }), [], surroundings);
  t.same(told, ['read', 'reset', 'read', 'read', 'closed'], 'no warm-up of connections that do nothing');
  t.equal(idle[0]?.usage[0]?.cpuSeconds, 1);
  t.equal(measurements[0]?.before[0]?.cpuSeconds, 3);
  t.equal(measurements[0]?.after[0]?.cpuSeconds, 4);
});

const rates: Record<string, number> = { none: 9000, a: 1000, b: 700, w: 400, v: 300 };
const pace = loadOf('requests-32', {
  run: async ({ system }) => ({ units: 1, perSecond: rates[system.key] ?? 0, errors: 0 }),
});

function paced(sent: Map<string, number>): Load {
  return loadOf('paced', {
    fixedRate: true,
    run: async ({ system, ratePerSecond }) => {
      sent.set(system.key, ratePerSecond);
      return { units: 1, perSecond: ratePerSecond, errors: 0 };
    },
  });
}

t.test('a fixed rate is half of what the slowest of the layer reached in the same run', async (t) => {
  const sent = new Map<string, number>();
  const systems = [none, a, b, systemOf('w', 'l7'), systemOf('v', 'l7')];
  const measured = await measure(planOf({ systems, loads: [paced(sent), pace] }), [pace], surroundingsOf());
  t.same(Object.fromEntries(sent), { none: 350, a: 350, b: 350, w: 150, v: 150 });
  t.same(measured.rates, { none: 350, l4: 350, l7: 150 });
});

t.test('what sets the pace is run briefly when it was not asked for, and is not reported', async (t) => {
  const sent = new Map<string, number>();
  const surroundings = surroundingsOf();
  const measured = await measure(planOf({ loads: [paced(sent)] }), [pace], surroundings);
  t.same(Object.fromEntries(sent), { none: 350, a: 350, b: 350 });
  t.ok(measured.measurements.every(({ load }) => load === 'paced'));
  t.equal(surroundings.steps.filter(({ load }) => load === pace).length, 6);
});

t.test('systems are run in with requests before the first turn of anything else', async (t) => {
  const ran: string[] = [];
  const run = async ({ system, seconds }: Turn) => {
    ran.push(`${system.key} ${seconds}`);
    return { units: 1, perSecond: 1, errors: 0 };
  };
  const plan = planOf({ loads: [loadOf('x', { run })], repeats: 1, runInSeconds: 30 });
  const { measurements } = await measure(plan, [{ ...pace, run }], surroundingsOf());
  const round = ['none 10', 'a 10', 'b 10'];
  t.same(ran, [...round, ...round, ...round, 'none 2', 'a 2', 'b 2', 'b 2', 'a 2', 'none 2']);
  t.ok(measurements.every(({ load, repeat }) => load === 'x' && repeat === 1));
});

t.test('without a pace nothing is sent, which is told', async (t) => {
  const sent = new Map<string, number>();
  const failing = { ...pace, run: () => Promise.reject(new Error('no wrk')) };
  const { failures } = await measure(planOf({ loads: [failing, paced(sent)] }), [failing], surroundingsOf());
  t.equal(sent.size, 0);
  t.match(failures.at(-1)?.reason, /no rate to send at/);
});

/** Turns of two seconds, in which others have these shares of the processors, one after the other and 0 thereafter. */
async function measureStolen(shares: readonly number[], more: Partial<Plan> = {}) {
  const clock = new FakeClock();
  let stolen = 0;
  let turns = 0;
  const run = async () => {
    clock.advance(2000);
    stolen += (shares[turns++] ?? 0) * 2;
    return { units: turns, perSecond: 1, errors: 0 };
  };
  const plan = planOf({ systems: [a], loads: [loadOf('x', { run })], ...more });
  const measured = await measure(plan, [], surroundingsOf({ clock, stolenSeconds: () => stolen }));
  return { measured, turns, units: measured.measurements.map(({ result }) => result.units) };
}

t.test('a turn in which others had the processors is taken again, and the quietest attempt counts', async (t) => {
  // The warm-up; the first repeat three times, the others once.
  const { measured, units } = await measureStolen([0.9, 0.5, 0.25, 0.75], { repeats: 3 });
  t.same(units, [3, 5, 6]);
  t.equal(measured.retaken, 2);
  t.equal(measured.measurements[0]?.stolenShare, 0.25);
});

t.test('a little is borne, and there is an end to taking turns again', async (t) => {
  t.same((await measureStolen([0, 0.04, 0.04])).turns, 3);
  const always = Array.from({ length: 50 }, () => 0.5);
  const noisy = await measureStolen(always, { repeats: 9 });
  t.equal(noisy.turns, 10 + 5, 'half as many again');
  t.equal(noisy.measured.measurements.length, 9);
  t.equal((await measureStolen(always, { retakes: false })).turns, 3);
});
