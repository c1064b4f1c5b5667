/** One extension's versions and threads, with threads of the test's own: I1 to I4 of running.ts. */
import t from 'tap';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import type { HookName } from '../../../src/extensions/extension.ts';
import { ExtensionMetrics } from '../../../src/extensions/metrics.ts';
import { type Lease, RunningExtension, type Thread } from '../../../src/extensions/running.ts';
import type { ThreadAnswer, ThreadEnd, ThreadOptions } from '../../../src/extensions/thread.ts';
import type { ExtensionRecord } from '../../../src/route/extension.ts';
import { extensionRecord } from '../../support/extension-record.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const record = extensionRecord({ deadlineMs: 100 });
const hooks: ReadonlySet<HookName> = new Set(['requestHeaders']);
const question = { hook: 'connection', content: {} as never } as const;

class FakeThread implements Thread {
  readonly options: ThreadOptions;
  readonly asked: number[] = [];
  readonly overs: number[] = [];
  ended = false;

  constructor(options: ThreadOptions) {
    this.options = options;
  }

  ready(): void {
    this.options.onReady(hooks, ['file:///e.ts']);
  }

  end(end: ThreadEnd): void {
    this.ended = true;
    this.options.onEnd(end, `it ${end}`, []);
  }

  ask(exchange: number, _question: unknown, done: (answer: ThreadAnswer) => void): number {
    this.asked.push(exchange);
    done({ kind: 'answer', answer: undefined });
    return this.asked.length;
  }

  cancel(): void {}

  over(exchange: number): void {
    this.overs.push(exchange);
  }

  close(): void {
    if (!this.ended) this.end('closed');
  }
}

function start(fields: Partial<ExtensionRecord> = {}) {
  const clock = new FakeClock();
  const threads: FakeThread[] = [];
  const running = new RunningExtension(
    { ...record, ...fields },
    {
      clock,
      random: { next: () => 0.5 },
      logger: silentLogger,
      metrics: new ExtensionMetrics(unscrapedMetrics),
      startThread: (options) => {
        const thread = new FakeThread(options);
        threads.push(thread);
        return thread;
      },
      locate: (module) => (module === 'missing.ts' ? 'it is not there' : { moduleUrl: module, folderUrl: '/' }),
    },
  );
  const thread = (at: number) => threads[at] as FakeThread;
  const lease = () => {
    let got: { readonly lease: Lease | undefined } | undefined;
    running.lease((given) => {
      got = { lease: given };
    });
    return () => got;
  };
  return { clock, threads, thread, running, lease };
}

t.test('exchanges wait for the first version, and no longer than five seconds', async (t) => {
  const { clock, thread, running, lease } = start();
  const early = lease();
  t.equal(early(), undefined, 'not yet');
  t.notOk(running.decided);
  thread(0).ready();
  t.ok(early()?.lease);
  t.ok(running.decided);
  const other = start();
  const late = other.lease();
  other.clock.advance(5000);
  t.same(late(), { lease: undefined });
  t.equal(clock.pending, 0, 'whoever was served waits no more');
});

t.test('so many wait and no more', async (t) => {
  const { lease } = start();
  const waiting = Array.from({ length: 1024 }, lease);
  t.same(lease()(), { lease: undefined });
  t.ok(waiting.every((got) => got() === undefined));
});

t.test('a new version serves what comes; what is under way stays with the old one', async (t) => {
  const { thread, running, lease } = start();
  thread(0).ready();
  const old = lease()()?.lease as Lease;
  running.reload();
  old.ask(question, () => {});
  thread(1).ready();
  const fresh = lease()()?.lease as Lease;
  fresh.ask(question, () => {});
  old.ask(question, () => {});
  t.equal(thread(0).asked.length, 2);
  t.equal(thread(1).asked.length, 1);
  t.notOk(thread(0).ended);
  old.release();
  old.release();
  t.ok(thread(0).ended, 'with its last exchange the old thread ends');
  t.equal(thread(0).overs.length, 1, 'and was told once that it is over');
  t.equal(running.describe().draining, 0);
});

t.test('of many old threads the oldest is ended', async (t) => {
  const { thread, running, lease } = start();
  thread(0).ready();
  for (let at = 1; at <= 5; at++) {
    lease();
    running.reload();
    thread(at).ready();
  }
  t.ok(thread(0).ended);
  t.notOk(thread(1).ended);
  t.equal(running.describe().draining, 4);
});

t.test('a version that cannot be loaded replaces nothing, and a good one ends the matter', async (t) => {
  const { thread, running, lease } = start();
  thread(0).ready();
  running.reload();
  thread(1).end('unusable');
  t.match(running.describe(), { state: 'ready', generation: 1, problem: 'it unusable' });
  t.ok(lease()()?.lease);
  running.reload();
  thread(2).ready();
  t.match(running.describe(), { state: 'ready', generation: 3, problem: undefined });
});

t.test('an object with another configuration is a new version', async (t) => {
  const { thread, threads, running } = start();
  thread(0).ready();
  running.update(running.record);
  t.equal(threads.length, 1, 'the same object is no change');
  running.update({ ...record, config: { a: 1 } });
  t.same(thread(1).options.start.config, { a: 1 });
});

t.test('a thread that broke is begun again, later each time', async (t) => {
  const { clock, thread, threads, lease } = start();
  thread(0).ready();
  thread(0).end('stuck');
  t.same(lease()(), { lease: undefined }, 'nobody is there');
  t.equal(clock.nextInMs, 50);
  clock.advance(50);
  t.equal(threads.length, 2);
  thread(1).end('crashed');
  t.equal(clock.nextInMs, 100);
  clock.advance(100);
  thread(2).ready();
  clock.advance(61_000);
  thread(2).end('memory');
  t.equal(clock.nextInMs, 50, 'it was sound for a minute');
});

t.test('one that was not ready in time is tried again by itself', async (t) => {
  const { clock, thread, threads, lease } = start();
  const waiting = lease();
  thread(0).end('stuck');
  t.same(waiting(), { lease: undefined }, 'whoever waited is told');
  clock.advance(50);
  t.equal(threads.length, 2);
  thread(1).ready();
  t.ok(lease()()?.lease);
});

t.test('what cannot be read is not tried again until it changes', async (t) => {
  const { clock, thread, threads, running, lease } = start();
  thread(0).end('unusable');
  t.equal(clock.pending, 0);
  t.same(lease()(), { lease: undefined });
  running.reload();
  t.equal(threads.length, 2);
  const missing = start({ module: 'missing.ts' });
  t.equal(missing.threads.length, 0);
  t.match(missing.running.describe(), { state: 'broken', problem: 'it is not there' });
  t.match(start({ broken: 'spec is wrong' }).running.describe(), { state: 'broken', problem: 'spec is wrong' });
});

t.test('one that was taken away still serves what was decided on before, then ends', async (t) => {
  const { clock, thread, running, lease } = start();
  thread(0).ready();
  let gone = false;
  running.remove(() => {
    gone = true;
  });
  const late = lease()()?.lease as Lease;
  clock.advance(10_000);
  t.notOk(thread(0).ended);
  t.notOk(gone);
  late.release();
  t.ok(thread(0).ended);
  t.ok(gone);
});

t.test('closing wakes who waits and ends every thread', async (t) => {
  const { thread, running, lease } = start();
  const waiting = lease();
  running.close(true);
  t.same(waiting(), { lease: undefined });
  t.ok(thread(0).ended);
});
