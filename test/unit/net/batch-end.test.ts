/** What is written in a batch leaves when the batch ends, and elsewhere at the end of the turn. */
import process from 'node:process';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { atBatchEnd, inBatch } from '../../../src/net/batch-end.ts';

t.test('outside a batch it is called in the check phase, not before', async (t) => {
  const calls: string[] = [];
  atBatchEnd(() => calls.push('called'));
  await Promise.resolve();
  t.same(calls, []);
  await turn();
  t.same(calls, ['called']);
});

t.test('within one it is called when that ends, in order, once', async (t) => {
  const calls: string[] = [];
  inBatch(() => {
    atBatchEnd(() => calls.push('first'));
    atBatchEnd(() => calls.push('second'));
    calls.push('read');
  });
  t.same(calls, ['read', 'first', 'second']);
  await turn();
  t.same(calls, ['read', 'first', 'second']);
});

t.test('what is asked for at the end of a batch waits for the turn', async (t) => {
  const calls: string[] = [];
  inBatch(() => atBatchEnd(() => atBatchEnd(() => calls.push('later'))));
  t.same(calls, []);
  await turn();
  t.same(calls, ['later']);
});

t.test('a batch that throws ends as well', (t) => {
  const calls: string[] = [];
  t.throws(
    () =>
      inBatch(() => {
        atBatchEnd(() => calls.push('called'));
        throw new Error('broken');
      }),
    { message: 'broken' },
  );
  t.same(calls, ['called']);
  t.end();
});

t.test('one that throws costs the others nothing, and is an uncaught exception', async (t) => {
  const seen: string[] = [];
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.once('uncaughtException', (error) => seen.push(error.message));
  t.teardown(() => {
    for (const other of others) process.on('uncaughtException', other);
  });
  inBatch(() => {
    atBatchEnd(() => {
      throw new Error('broken');
    });
    atBatchEnd(() => seen.push('called'));
  });
  t.same(seen, ['called']);
  await turn();
  t.same(seen, ['called', 'broken']);
});
