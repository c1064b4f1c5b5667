/** A body that is gathered: what its client may take of the memory for all, and for how long. */
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import t from 'tap';
import { type HeldOutcome, holdBody } from '../../../src/extensions/held-body.ts';
import { HeldMemory } from '../../../src/http/held-memory.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function hold(memory: HeldMemory, client: string, clock = new FakeClock(), maxBytes = 1000) {
  const source = new Readable({ read() {} });
  const outcomes: HeldOutcome[] = [];
  holdBody(source, { memory, client }, maxBytes, { clock, atMs: 1000 }, (outcome) => void outcomes.push(outcome));
  return { source, outcomes, clock };
}

t.test('one client has a quarter of the memory, and the others the rest', async (t) => {
  const memory = new HeldMemory(400);
  const greedy = Array.from({ length: 2 }, () => hold(memory, 'greedy'));
  for (const { source } of greedy) source.push(Buffer.alloc(50));
  await eventually('both to be held', () => memory.bytes === 100);
  const more = hold(memory, 'greedy');
  more.source.push(Buffer.alloc(1));
  await eventually('the refusal', () => more.outcomes.length === 1);
  t.equal(more.outcomes[0]?.kind, 'no-room');
  t.equal(memory.bytes, 100, 'what was refused takes nothing');
  const other = hold(memory, 'other');
  other.source.push(Buffer.alloc(100));
  other.source.push(null);
  await eventually('the other client to be served', () => other.outcomes.length === 1);
  t.equal(other.outcomes[0]?.kind, 'whole');
  for (const { source } of greedy) source.destroy();
  await eventually('the memory to be given back', () => memory.bytes === 0);
  t.ok(memory.take('greedy', 100), 'and its share with it');
});

t.test('a body that there is no room for goes on whole all the same', async (t) => {
  const { source, outcomes } = hold(new HeldMemory(40), 'c');
  source.push(Buffer.from('0123456789'));
  source.push(Buffer.from('x'));
  source.push(Buffer.from('y'));
  source.push(null);
  await eventually('the refusal', () => outcomes.length === 1);
  const [outcome] = outcomes;
  t.equal(outcome?.kind, 'no-room');
  if (outcome?.kind === 'no-room') t.equal((await buffer(outcome.rest)).toString(), '0123456789xy');
});

t.test('a client that does not send it in time holds nothing from then on', async (t) => {
  const memory = new HeldMemory(400);
  const { source, outcomes, clock } = hold(memory, 'slow');
  source.push(Buffer.alloc(10));
  await eventually('it to be held', () => memory.bytes === 10);
  clock.advance(999);
  t.same(outcomes, []);
  clock.advance(1);
  t.same(outcomes, [{ kind: 'late' }]);
  t.equal(memory.bytes, 0);
  source.destroy(new Error('it leaves'));
  t.equal(outcomes.length, 1, 'told once');
  const quick = hold(memory, 'quick');
  quick.source.push(null);
  quick.source.resume();
  await eventually('its end', () => quick.outcomes.length === 1);
  t.equal(quick.clock.pending, 0, 'no timer is left');
});
