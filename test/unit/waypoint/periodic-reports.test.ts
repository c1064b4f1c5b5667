/** What is reported regularly: each by its interval, until it ends, and with no timer when nothing is left. */
import t from 'tap';
import { silentLogger } from '../../../src/base/logger.ts';
import { PeriodicReports } from '../../../src/waypoint/telemetry/periodic-reports.ts';
import { FakeClock } from '../../support/fake-clock.ts';

t.test('each has its interval, and ends', async (t) => {
  const clock = new FakeClock();
  const reports = new PeriodicReports(clock, silentLogger);
  const told: string[] = [];
  const endFast = reports.add(1_000, () => told.push('fast'));
  const endOther = reports.add(1_000, () => told.push('other'));
  const endSlow = reports.add(5_000, () => told.push('slow'));
  await clock.advanceAsync(999);
  t.same(told, []);
  await clock.advanceAsync(1);
  t.same(told, ['fast', 'other']);
  endOther();
  for (let i = 0; i < 4; i++) await clock.advanceAsync(1_000);
  t.same(told.slice(2).sort(), ['fast', 'fast', 'fast', 'fast', 'slow']);
  endFast();
  endSlow();
  await clock.advanceAsync(60_000);
  t.equal(told.length, 7, 'nothing more is told');
  reports.add(1_000, () => told.push('again'));
  await clock.advanceAsync(1_000);
  t.equal(told.at(-1), 'again');
});

t.test('one that ends while it is its turn, or begins another, does no harm', async (t) => {
  const clock = new FakeClock();
  const reports = new PeriodicReports(clock, silentLogger);
  let count = 0;
  const end = reports.add(1_000, () => {
    count++;
    end();
    reports.add(1_000, () => count++);
  });
  await clock.advanceAsync(1_000);
  await clock.advanceAsync(1_000);
  t.ok(count >= 2 && count <= 4);
});
