/** Parts of a body through a hook, whoever answers first: I1 and I2 of part-pump.ts. */
import fc from 'fast-check';
import t from 'tap';
import { unchanged } from '../../../src/extensions/check-answer.ts';
import type { HookOutcome } from '../../../src/extensions/hook-caller.ts';
import { maxPartBytes, PartPump } from '../../../src/extensions/part-pump.ts';

interface Asked {
  readonly bytes: Uint8Array;
  readonly last: boolean;
  readonly done: (outcome: HookOutcome) => void;
}

function start() {
  const asked: Asked[] = [];
  const told: string[] = [];
  const pump = new PartPump({
    ask: (bytes, last, done) => void asked.push({ bytes, last, done }),
    part: (bytes) => void told.push(Buffer.from(bytes).toString()),
    end: () => void told.push('END'),
    refused: (details) => void told.push(`refused ${details}`),
    respond: ({ status }) => void told.push(`respond ${status}`),
  });
  return { pump, asked, told };
}

const same: HookOutcome = { kind: 'answer', answer: unchanged };
const replace = (text: string): HookOutcome => ({
  kind: 'answer',
  answer: { ...unchanged, replace: Buffer.from(text) },
});

t.test('parts leave in order, replaced or as they came, and then the end', async (t) => {
  const { pump, asked, told } = start();
  pump.push(Buffer.from('one'));
  pump.push(Buffer.from('two'));
  pump.end();
  asked[2]?.done(replace('!'));
  asked[1]?.done({ kind: 'ignored' });
  t.same(told, []);
  asked[0]?.done(replace('1'));
  t.same(told, ['1', 'two', '!', 'END']);
});

t.test('a part may vanish, and what the hook does with its bytes is not what failed bytes become', async (t) => {
  const { pump, asked, told } = start();
  pump.push(Buffer.from('keep'));
  asked[0]?.bytes.fill(0);
  asked[0]?.done({ kind: 'ignored' });
  pump.push(Buffer.from('gone'));
  asked[1]?.done(replace(''));
  t.same(told, ['keep']);
});

t.test('a refusal or a reply is the last that is heard', async (t) => {
  for (const [outcome, word] of [
    [{ kind: 'refused', details: 'x' }, 'refused x'],
    [{ kind: 'answer', answer: { ...unchanged, respond: { status: 400, headers: [], body: '' } } }, 'respond 400'],
  ] as const) {
    const { pump, asked, told } = start();
    pump.push(Buffer.from('a'));
    pump.push(Buffer.from('b'));
    asked[0]?.done(outcome);
    asked[1]?.done(same);
    pump.push(Buffer.from('c'));
    pump.end();
    t.same(told, [word]);
    t.equal(asked.length, 2);
  }
});

t.test('long chunks are cut, and the pump says when it is full', async (t) => {
  const { pump, asked } = start();
  pump.push(Buffer.alloc(4 * maxPartBytes - 1));
  t.equal(asked.length, 4);
  t.notOk(pump.full);
  pump.push(Buffer.alloc(1));
  t.ok(pump.full);
  asked[0]?.done(same);
  t.notOk(pump.full);
});

t.test('whatever the order of answers, the bytes come out as they went in', async () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { maxLength: 8 }), fc.infiniteStream(fc.nat()), (chunks, picks) => {
      const { pump, asked, told } = start();
      for (const chunk of chunks) pump.push(Buffer.from(chunk));
      pump.end();
      const open = [...asked];
      while (open.length > 0) {
        const [next] = open.splice((picks.next().value ?? 0) % open.length, 1);
        next?.done(same);
      }
      const text = told.join('');
      if (text !== `${chunks.join('')}END`) throw new Error(text);
    }),
  );
});
