/** Workers are kept, replaced and renewed: I1 and I2 of supervisor.ts, with workers of the test's own. */
import t from 'tap';
import { Supervisor } from '../../../src/app/workers/supervisor.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { FakeClock } from '../../support/fake-clock.ts';

class FakeWorker {
  readonly number: number;
  readonly pid = 1;
  readonly connections = 0;
  readonly tunnels = 0;
  taking = false;
  leaving = false;
  killed = false;

  constructor(number: number) {
    this.number = number;
  }

  leave(): void {
    this.leaving = true;
  }

  kill(): void {
    this.killed = true;
  }
}

function start(count: number) {
  const clock = new FakeClock();
  const started: FakeWorker[] = [];
  const ends: (readonly [number, boolean])[] = [];
  const supervisor = new Supervisor<FakeWorker>({
    count,
    clock,
    random: { next: () => 0.5 },
    logger: silentLogger,
    start: (number) => {
      const worker = new FakeWorker(number);
      started.push(worker);
      return worker;
    },
    onEnd: ({ number }, asked) => void ends.push([number, asked]),
  });
  const at = (index: number) => started[index] as FakeWorker;
  const live = () => supervisor.workers.map(({ number }) => number);
  return { clock, started, ends, supervisor, at, live };
}

t.test('what is missing is started, and no more', async (t) => {
  const { supervisor, live } = start(3);
  supervisor.start(1);
  t.same(live(), [1]);
  supervisor.start(3);
  t.same(live(), [1, 2, 3]);
});

t.test('a worker that ends unasked is replaced, later each time', async (t) => {
  const { clock, supervisor, at, live, ends } = start(2);
  supervisor.start(2);
  supervisor.ended(at(0), 'SIGKILL');
  t.same(ends, [[1, false]]);
  t.equal(clock.nextInMs, 100);
  clock.advance(100);
  t.same(live(), [2, 3]);
  supervisor.ended(at(2), 'SIGKILL');
  t.equal(clock.nextInMs, 200);
  clock.advance(200);
  clock.advance(61_000);
  supervisor.ended(at(3), 'SIGKILL');
  t.equal(clock.nextInMs, 100, 'it was sound for a minute');
});

t.test('a renewal takes one away once another serves, one by one', async (t) => {
  const { supervisor, at, live, ends } = start(2);
  supervisor.start(2);
  supervisor.renew();
  supervisor.renew();
  t.same(live(), [1, 2, 3]);
  t.notOk(at(0).leaving, 'its successor does not serve yet');
  supervisor.ready(at(2));
  t.ok(at(0).leaving);
  t.same(live(), [1, 2, 3, 4]);
  t.notOk(at(1).leaving);
  supervisor.ended(at(0), 'exit code 0');
  supervisor.ready(at(3));
  t.ok(at(1).leaving);
  supervisor.ended(at(1), 'exit code 0');
  t.same(live(), [3, 4]);
  t.same(ends, [
    [1, true],
    [2, true],
  ]);
});

t.test('a successor that cannot start ends the renewal, and the old ones stay', async (t) => {
  const { clock, supervisor, at, live } = start(2);
  supervisor.start(2);
  supervisor.renew();
  supervisor.ended(at(2), 'exit code 1');
  t.same(live(), [1, 2]);
  t.notOk(at(0).leaving);
  t.equal(clock.pending, 0, 'nothing is missing');
  supervisor.renew();
  t.same(live(), [1, 2, 4], 'it may be tried again');
});

t.test('stopping lets all leave and starts nobody', async (t) => {
  const { clock, supervisor, at } = start(2);
  supervisor.start(2);
  let stopped = false;
  const done = supervisor.stop().then(() => {
    stopped = true;
  });
  t.ok(at(0).leaving && at(1).leaving);
  supervisor.ended(at(0), 'exit code 0');
  t.notOk(stopped);
  supervisor.kill();
  t.ok(at(1).killed);
  supervisor.ended(at(1), 'SIGKILL');
  await done;
  t.equal(clock.pending, 0);
  await start(1).supervisor.stop();
});
